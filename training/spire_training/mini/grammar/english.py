"""Meanings in English words."""

from __future__ import annotations

from spire_training.mini.grammar.lexicon import load_lexicon
from spire_training.mini.grammar.meaning import Clause, Phrase, Place, Sentence, Time
from spire_training.mini.grammar.text import capitalized, joined

_NUMBERS = load_lexicon().numbers["en"]

_HOURS = (
    "at {this} o'clock",
    "at a quarter past {this}",
    "at half past {this}",
    "at a quarter to {next}",
)


class English:
    """Writes meanings in English."""

    code = "en"

    def write(self, sentence: Sentence) -> str:
        """The sentence with its capital and its stop."""
        clause = sentence.clause
        if sentence.kind == "question":
            return capitalized(f"{self._asked(clause)}?")
        if sentence.kind in ("copula", "comparison"):
            text = self._being(sentence)
        else:
            text = self._clause(clause)
        if sentence.second is not None:
            link = "because" if sentence.kind == "because" else "that"
            text = joined(text, link, self._clause(sentence.second))
        return capitalized(f"{text}.")

    def _being(self, sentence: Sentence) -> str:
        subject, past = sentence.clause.subject, sentence.clause.tense == "past"
        verb = ("were" if past else "are") if subject.plural else ("was" if past else "is")
        assert sentence.quality is not None
        if sentence.other is None:
            return joined(self._phrase(subject), verb, sentence.quality.en[0])
        than = self._phrase(sentence.other)
        return joined(self._phrase(subject), verb, sentence.quality.en[1], "than", than)

    def _clause(self, clause: Clause) -> str:
        auxiliary, verb = self._verb(clause)
        return joined(
            self._phrase(clause.subject), auxiliary, self._often(clause), verb, self._rest(clause)
        )

    def _asked(self, clause: Clause) -> str:
        auxiliary, verb = self._verb(clause, split=True)
        return joined(
            auxiliary, self._phrase(clause.subject), self._often(clause), verb, self._rest(clause)
        )

    def _often(self, clause: Clause) -> str:
        return clause.frequency[0] if clause.frequency else ""

    def _rest(self, clause: Clause) -> str:
        target = self._phrase(clause.object) if clause.object else ""
        return joined(target, self._place(clause.place), self._time(clause.time))

    def _verb(self, clause: Clause, *, split: bool = False) -> tuple[str, str]:
        """Auxiliary and verb; `split` asks for an auxiliary also where a statement has none."""
        forms, third = clause.verb.en, _third(clause.subject)
        base, present, past, participle = forms
        no = "not" if clause.negated else ""
        if clause.tense in ("future", "can", "must"):
            word = "will" if clause.tense == "future" else clause.tense
            return ("cannot" if word == "can" and no else joined(word, no)), base
        if clause.tense == "perfect":
            return joined("has" if third else "have", no), participle
        if split or no:
            do = "did" if clause.tense == "past" else "does" if third else "do"
            return joined(do, no), base
        return "", past if clause.tense == "past" else present if third else base

    def _phrase(self, phrase: Phrase) -> str:
        if phrase.noun is None:
            return phrase.name or phrase.pronoun
        noun = phrase.noun.en[phrase.plural]
        quality = phrase.adjective.en[0] if phrase.adjective else ""
        words = joined(quality, noun)
        if phrase.determiner == "number":
            return joined(_number(phrase.number), words)
        if phrase.determiner == "a":
            return joined(
                "an" if words[0] in "aeiou" and not words.startswith("use") else "a", words
            )
        this = "these" if phrase.plural else "this"
        return joined(this if phrase.determiner == "this" else phrase.determiner, words)

    def _place(self, place: Place | None) -> str:
        if place is None:
            return ""
        if place.city is not None:
            return f"in {place.city[0]}"
        assert place.preposition is not None
        assert place.phrase is not None
        return joined(place.preposition[0], self._phrase(place.phrase))

    def _time(self, time: Time | None) -> str:
        if time is None:
            return ""
        if time.kind == "hour":
            following = time.number % 12 + 1
            return _HOURS[time.quarter].format(this=_number(time.number), next=_number(following))
        if time.kind == "ago":
            return f"{_number(time.number)} {time.words[0]} ago"
        return {"day": "on ", "month": "in ", "fixed": ""}[time.kind] + time.words[0]


def _third(subject: Phrase) -> bool:
    return not subject.plural and subject.pronoun not in ("they", "we")


def _number(number: int) -> str:
    if number < 20:
        return _NUMBERS.small[number]
    tens, ones = divmod(number, 10)
    return _NUMBERS.tens[tens] + (f"-{_NUMBERS.small[ones]}" if ones else "")
