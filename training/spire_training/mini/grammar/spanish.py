"""Meanings in Spanish words: two genders, adjectives behind, "a" before those who live."""

from __future__ import annotations

from spire_training.mini.grammar.lexicon import Adjective, load_lexicon
from spire_training.mini.grammar.meaning import Clause, Phrase, Place, Sentence, Time
from spire_training.mini.grammar.text import capitalized, joined

_NUMBERS = load_lexicon().numbers["es"]

_ARTICLES = {"m": ("el", "los"), "f": ("la", "las")}
_THIS = {"m": ("este", "estos"), "f": ("esta", "estas")}
_PRONOUNS = {"she": "ella", "he": "él", "they": "ellos", "we": "nosotros"}
# One form for he or she, for they, for we.
_BEING = {
    ("ser", False): ("es", "son"),
    ("ser", True): ("era", "eran"),
    ("estar", False): ("está", "están"),
    ("estar", True): ("estaba", "estaban"),
}
_HAVE = ("ha", "han", "hemos")
_MODALS = {"can": ("puede", "pueden", "podemos"), "must": ("debe", "deben", "debemos")}
_FUTURE = ("á", "án", "emos")
_IRREGULAR_PLURALS = {"joven": "jóvenes", "marrón": "marrones"}
_HOURS = ("{this}", "{this} y cuarto", "{this} y media", "{next} menos cuarto")


class Spanish:
    """Writes meanings in Spanish."""

    code = "es"

    def write(self, sentence: Sentence) -> str:
        """The sentence with its capital and its stops."""
        clause = sentence.clause
        if sentence.kind == "question":
            asked = joined(self._verb(clause), self._phrase(clause.subject), self._rest(clause))
            return capitalized(f"¿{asked}?")
        if sentence.kind in ("copula", "comparison"):
            text = self._being(sentence)
        else:
            text = self._clause(clause)
        if sentence.second is not None:
            link = "porque" if sentence.kind == "because" else "que"
            text = joined(text, link, self._clause(sentence.second))
        return capitalized(f"{text}.")

    def _clause(self, clause: Clause) -> str:
        no = "no" if clause.negated else ""
        return joined(self._phrase(clause.subject), no, self._verb(clause), self._rest(clause))

    def _being(self, sentence: Sentence) -> str:
        subject, quality = sentence.clause.subject, sentence.quality
        assert quality is not None
        past = sentence.clause.tense == "past"
        verb = _BEING[quality.copula, past][subject.plural]
        said = joined(self._phrase(subject), verb)
        adjective = _agreeing(quality, _gender(subject), subject.plural)
        if sentence.other is None:
            return joined(said, adjective)
        return joined(said, "más", adjective, "que", self._phrase(sentence.other))

    def _rest(self, clause: Clause) -> str:
        target = ""
        if clause.object is not None:
            target = self._phrase(clause.object)
            if clause.object.animate:
                target = _contracted(f"a {target}")
        often = clause.frequency[2] if clause.frequency else ""
        return joined(often, target, self._place(clause.place), self._time(clause.time))

    def _verb(self, clause: Clause) -> str:
        infinitive, present, past, they_past, participle = clause.verb.es
        person = _person(clause.subject)
        if clause.tense in _MODALS:
            return joined(_MODALS[clause.tense][person], infinitive)
        if clause.tense == "future":
            return infinitive + _FUTURE[person]
        if clause.tense == "perfect":
            return joined(_HAVE[person], participle)
        if clause.tense == "past":
            we = infinitive[:-2] + ("amos" if infinitive.endswith("ar") else "imos")
            return (past, they_past, we)[person]
        we = infinitive[:-2] + {"ar": "amos", "er": "emos", "ir": "imos"}[infinitive[-2:]]
        return (present, f"{present}n", we)[person]

    def _phrase(self, phrase: Phrase) -> str:
        if phrase.noun is None:
            return phrase.name or _PRONOUNS[phrase.pronoun]
        gender, noun = phrase.noun.es_gender, phrase.noun.es[phrase.plural]
        quality = ""
        if phrase.adjective is not None:
            quality = _agreeing(phrase.adjective, gender, phrase.plural)
        return joined(_determiner(phrase, gender), noun, quality)

    def _place(self, place: Place | None) -> str:
        if place is None:
            return ""
        if place.city is not None:
            return f"en {place.city[2]}"
        assert place.preposition is not None
        assert place.phrase is not None
        return _contracted(joined(place.preposition[2], self._phrase(place.phrase)))

    def _time(self, time: Time | None) -> str:
        if time is None:
            return ""
        if time.kind == "hour":
            following = time.number % 12 + 1
            named = following if time.quarter == 3 else time.number
            words = _HOURS[time.quarter].format(this=_hour(time.number), next=_hour(following))
            return f"{'a la' if named == 1 else 'a las'} {words}"
        if time.kind == "ago":
            return f"hace {_number(time.number)} {time.words[2]}"
        return {"day": "el ", "month": "en ", "fixed": ""}[time.kind] + time.words[2]


def _person(subject: Phrase) -> int:
    if subject.pronoun == "we":
        return 2
    return 1 if subject.plural or subject.pronoun == "they" else 0


def _gender(phrase: Phrase) -> str:
    if phrase.noun is not None:
        return phrase.noun.es_gender
    return "f" if phrase.woman else "m"


def _determiner(phrase: Phrase, gender: str) -> str:
    if phrase.determiner == "number":
        return _number(phrase.number)
    if phrase.determiner == "my":
        return "mis" if phrase.plural else "mi"
    if phrase.determiner == "our":
        return f"nuestr{'o' if gender == 'm' else 'a'}{'s' if phrase.plural else ''}"
    if phrase.determiner == "a":
        return "un" if gender == "m" else "una"
    return (_THIS if phrase.determiner == "this" else _ARTICLES)[gender][phrase.plural]


def _agreeing(adjective: Adjective, gender: str, plural: bool) -> str:
    word = adjective.es
    if word.endswith("o") and gender == "f":
        word = word[:-1] + "a"
    if not plural:
        return word
    if word in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[word]
    if word.endswith("z"):
        return word[:-1] + "ces"
    return word + ("s" if word[-1] in "aeiou" else "es")


def _contracted(text: str) -> str:
    """The text with "a el" and "de el" as one word each."""
    if text.startswith("a el "):
        return "al " + text.removeprefix("a el ")
    return text.replace(" de el ", " del ", 1)


def _hour(number: int) -> str:
    return "una" if number == 1 else _number(number)


def _number(number: int) -> str:
    if number < 30:
        return _NUMBERS.small[number]
    tens, ones = divmod(number, 10)
    return _NUMBERS.tens[tens] + (f" y {_NUMBERS.small[ones]}" if ones else "")
