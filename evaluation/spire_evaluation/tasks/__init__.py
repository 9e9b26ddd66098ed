"""The test sets of the paper, each a small declared thing: task, parts, reader.

    librispeech  asr  test-clean, test-other    LibriSpeech, text
    fleurs       asr  en                        FLEURS en_us test, raw transcription
    voxpopuli    asr  en                        VoxPopuli en test, normalised text
    flores       mt   en-de, de-en, ...         FLORES-200 devtest, both directions
    wmt23        mt   en-de, de-en, ...         sacrebleu's XML, or tower-eval's folders
    fleurs-st    st   en-de, ...                FLEURS en_us test, translations
    covost2      st   en-de, en-zh              CoVoST-2 on CommonVoice 4
    ape          ape  en-de, de-en, ...         tower-eval's NLLB-3B output on WMT23
    ner          ner  de, en, ...               tower-eval's MultiCoNER 2023

Nothing is fetched: each is read from a local folder in its published layout.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from spire_dsu.errors import ConfigError
from spire_dsu.llm.prompts import language
from spire_evaluation.config import Kind, TestConfig
from spire_evaluation.items import Item, Task, TestSet
from spire_evaluation.tasks import speech, text, tower
from spire_evaluation.tasks.shots import read_shots

_OTHERS = ("de", "es", "fr", "it", "ko", "nl", "pt", "ru", "zh")
_WMT = ("de", "ru", "zh")
Reader = Callable[[TestConfig, str, str], list[Item]]


@dataclass(frozen=True, slots=True)
class Declared:
    """A kind of test set.

    Attributes:
        task: what is asked.
        parts: the paper's.
        read: (configuration, src, tgt) -> items; of librispeech, tgt is the part.
        named: parts are names and not languages.
    """

    task: Task
    parts: tuple[str, ...]
    read: Reader
    named: bool = False


def _both(languages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"en-{code}" for code in languages) + tuple(f"{code}-en" for code in languages)


DECLARED: dict[Kind, Declared] = {
    "librispeech": Declared("asr", ("test-clean", "test-other"), speech.librispeech, named=True),
    "fleurs": Declared("asr", ("en",), speech.fleurs),
    "voxpopuli": Declared("asr", ("en",), speech.voxpopuli),
    "flores": Declared("mt", _both(_OTHERS), text.flores),
    "wmt23": Declared("mt", _both(_WMT), text.wmt23),
    "fleurs-st": Declared("st", tuple(f"en-{code}" for code in _OTHERS), speech.fleurs_st),
    "covost2": Declared("st", ("en-de", "en-zh"), speech.covost2),
    "ape": Declared("ape", _both(_WMT), tower.ape),
    "ner": Declared("ner", ("de", "en", "es", "fr", "it", "pt", "zh"), tower.ner),
}


def read_tests(config: TestConfig) -> list[TestSet]:
    """The test sets that a configuration names, one for each part.

    Raises:
        ConfigError: a part that the kind has not, or a language that is none of the ten.
        SpireError: what the reader says about its files.
    """
    declared = DECLARED[config.kind]
    return [_read(config, declared, part) for part in config.parts or declared.parts]


def _read(config: TestConfig, declared: Declared, part: str) -> TestSet:
    if declared.named:
        src = tgt = "en"
        items = declared.read(config, "en", part)
    else:
        src, _, tgt = part.partition("-")
        tgt = tgt or src
        for code in (src, tgt):
            language(code)
        paired = "-" in declared.parts[0]
        if paired != ("-" in part) or (paired and "en" not in (src, tgt)):
            raise ConfigError(f"{config.kind} has no part {part!r}: {', '.join(declared.parts)}")
        items = declared.read(config, src, tgt)
    shots = read_shots(config, src, tgt) if declared.task == "mt" else ()
    test = TestSet(f"{config.kind}/{part}", declared.task, src, tgt, tuple(items), shots)
    return dataclasses.replace(test, items=test.items[: config.limit])
