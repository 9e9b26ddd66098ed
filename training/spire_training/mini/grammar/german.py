"""Meanings in German words: three genders, three cases, the verb second or last."""

from __future__ import annotations

from typing import Literal

from spire_training.mini.grammar.lexicon import Adjective, load_lexicon
from spire_training.mini.grammar.meaning import Clause, Phrase, Place, Sentence, Time
from spire_training.mini.grammar.text import capitalized, joined

_NUMBERS = load_lexicon().numbers["de"]

Case = Literal["nominative", "accusative", "dative"]

_ARTICLES = {
    "nominative": {"m": "der", "f": "die", "n": "das", "p": "die"},
    "accusative": {"m": "den", "f": "die", "n": "das", "p": "die"},
    "dative": {"m": "dem", "f": "der", "n": "dem", "p": "den"},
}
# Endings of "dies-" and of "ein-", "mein-", "unser-".
_STRONG = {
    "nominative": {"m": "er", "f": "e", "n": "es", "p": "e"},
    "accusative": {"m": "en", "f": "e", "n": "es", "p": "e"},
    "dative": {"m": "em", "f": "er", "n": "em", "p": "en"},
}
_STEMS = {"this": "dies", "a": "ein", "my": "mein", "our": "unser"}
_PRONOUNS = {"she": "sie", "he": "er", "they": "sie", "we": "wir"}
_MODALS = {"future": ("wird", "werden"), "can": ("kann", "können"), "must": ("muss", "müssen")}
_HOURS = ("um {this} Uhr", "um Viertel nach {this}", "um halb {next}", "um Viertel vor {next}")


class German:
    """Writes meanings in German."""

    code = "de"

    def write(self, sentence: Sentence) -> str:
        """The sentence with its capital and its stop."""
        clause = sentence.clause
        if sentence.kind == "question":
            finite, rest = self._verb(clause)
            subject = self._phrase(clause.subject, "nominative")
            return capitalized(f"{joined(finite, subject, self._middle(clause), rest)}?")
        if sentence.kind in ("copula", "comparison"):
            text = self._being(sentence)
        else:
            finite, rest = self._verb(clause)
            subject = self._phrase(clause.subject, "nominative")
            text = joined(subject, finite, self._middle(clause), rest)
        if sentence.second is not None:
            link = "weil" if sentence.kind == "because" else "dass"
            text = f"{text}, {link} {self._subordinate(sentence.second)}"
        return capitalized(f"{text}.")

    def _subordinate(self, clause: Clause) -> str:
        finite, rest = self._verb(clause)
        subject = self._phrase(clause.subject, "nominative")
        return joined(subject, self._middle(clause), rest, finite)

    def _being(self, sentence: Sentence) -> str:
        subject, past = sentence.clause.subject, sentence.clause.tense == "past"
        verb = ("waren" if past else "sind") if subject.plural else ("war" if past else "ist")
        assert sentence.quality is not None
        said = joined(self._phrase(subject, "nominative"), verb)
        if sentence.other is None:
            return joined(said, sentence.quality.de[0])
        other = self._phrase(sentence.other, "nominative")
        return joined(said, sentence.quality.de[1], "als", other)

    def _middle(self, clause: Clause) -> str:
        """What stands between the two places of the verb."""
        case: Case = "dative" if clause.verb.dative else "accusative"
        return joined(
            clause.frequency[1] if clause.frequency else "",
            self._time(clause.time),
            self._phrase(clause.object, case) if clause.object else "",
            "nicht" if clause.negated else "",
            self._place(clause.place),
        )

    def _verb(self, clause: Clause) -> tuple[str, str]:
        """The finite verb, and what stands at the end of the clause."""
        infinitive, present, past, participle = clause.verb.de
        many = clause.subject.plural or clause.subject.pronoun in ("they", "we")
        if clause.tense in _MODALS:
            return _MODALS[clause.tense][many], infinitive
        if clause.tense == "perfect":
            return ("haben" if many else "hat"), participle
        if clause.tense == "past":
            return (past + ("n" if past.endswith("e") else "en") if many else past), ""
        return (infinitive if many else present), ""

    def _phrase(self, phrase: Phrase, case: Case) -> str:
        if phrase.noun is None:
            return phrase.name or _PRONOUNS[phrase.pronoun]
        gender = "p" if phrase.plural else phrase.noun.de_gender
        noun = phrase.noun.de[phrase.plural]
        if phrase.plural and case == "dative" and noun[-1] not in "ns":
            noun += "n"
        quality = _inflected(phrase, case, gender) if phrase.adjective else ""
        return joined(_determiner(phrase, case, gender), quality, noun)

    def _place(self, place: Place | None) -> str:
        if place is None:
            return ""
        if place.city is not None:
            return f"in {place.city[1]}"
        assert place.preposition is not None
        assert place.phrase is not None
        text = joined(place.preposition[1], self._phrase(place.phrase, "dative"))
        return "im " + text.removeprefix("in dem ") if text.startswith("in dem ") else text

    def _time(self, time: Time | None) -> str:
        if time is None:
            return ""
        if time.kind == "hour":
            following = time.number % 12 + 1
            # One o'clock is "ein Uhr", but half past twelve is "halb eins".
            this = _number(time.number, last=time.quarter > 0)
            return _HOURS[time.quarter].format(this=this, next=_number(following, last=True))
        if time.kind == "ago":
            return f"vor {_number(time.number)} {time.words[1]}"
        return {"day": "am ", "month": "im ", "fixed": ""}[time.kind] + time.words[1]


def _determiner(phrase: Phrase, case: Case, gender: str) -> str:
    if phrase.determiner == "number":
        return _number(phrase.number)
    if phrase.determiner == "the":
        return _ARTICLES[case][gender]
    stem = _STEMS[phrase.determiner]
    return stem + ("" if _bare(phrase, case, gender) else _STRONG[case][gender])


def _bare(phrase: Phrase, case: Case, gender: str) -> bool:
    """Whether "ein" and its like have no ending, so that the adjective shows the gender."""
    unmarked = (gender == "n" and case != "dative") or (gender == "m" and case == "nominative")
    return phrase.determiner in ("a", "my", "our") and unmarked


def _inflected(phrase: Phrase, case: Case, gender: str) -> str:
    assert phrase.adjective is not None
    if phrase.determiner == "number" or _bare(phrase, case, gender):
        ending = _STRONG[case][gender]
    elif gender != "p" and (case == "nominative" or (case == "accusative" and gender != "m")):
        ending = "e"
    else:
        ending = "en"
    return _stem(phrase.adjective) + ending


def _stem(adjective: Adjective) -> str:
    base = adjective.de[0]
    if base.endswith("el") or base == "teuer":  # dunkel: dunkle; teuer: teure
        return base[:-2] + base[-1]
    return base


def _number(number: int, *, last: bool = False) -> str:
    if number < 20:
        return "eins" if number == 1 and last else _NUMBERS.small[number]
    tens, ones = divmod(number, 10)
    return (f"{_NUMBERS.small[ones]}und" if ones else "") + _NUMBERS.tens[tens]
