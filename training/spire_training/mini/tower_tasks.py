"""What Tower can beside translation: drafts corrected, names found. Training and test sets.

Instructions have TowerBlocks' form and the prompts that evaluation asks with; the test sets are
written as tower-eval's raw data:

    OUT/ape/nllb_3b_wmt23.SRC-TGT/test.jsonl   src, mt, ref: drafts of the sentences of wmt23
    OUT/ner/multiconer2023.LANG/test.jsonl     input, answer: a list of words, and of word and tag
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from spire_dsu.llm import prompts
from spire_training.mini.drafts import Drafter
from spire_training.mini.grammar import Sentence, load_lexicon
from spire_training.mini.layouts import write_lines
from spire_training.mini.sentences import LANGUAGES, Source, Triple
from spire_training.mini.settings import World

FOREIGN = ("de", "es")
NO_ENTITY = 0.25
"""The share of sentences to find names in that have none."""

Row = dict[str, object]
Pair = tuple[Sentence, Triple]

_WORD = re.compile(r"[\w'-]+|[^\w\s]")


def instruction(asked: prompts.Conversation, answer: str, lang: str, task: str) -> Row:
    """One row of TowerBlocks: a question by a human and its answer."""
    turns = [
        {"from": "human", "value": "".join(str(part) for part in asked[0].parts)},
        {"from": "gpt", "value": answer},
    ]
    return {"conversations": turns, "lang": lang, "task": task}


def direction(rng: np.random.Generator) -> tuple[str, str]:
    """Source and target: English and another language, either way."""
    code = FOREIGN[rng.integers(len(FOREIGN))]
    return ("en", code) if rng.random() < 0.5 else (code, "en")


def write_tests(world: World, source: Source, wmt: Sequence[Pair], out: Path) -> None:
    """Both test sets, as far as the settings ask for them.

    Args:
        world: the settings.
        source: where new sentences come from.
        wmt: the sentences of the test set that WMT23 stands for.
        out: the world's folder.
    """
    if world.text.post_editing:
        drafter = Drafter(load_lexicon().first(world.words))
        rng = np.random.default_rng([world.seed, 6])
        for src, tgt in [pair for code in FOREIGN for pair in (("en", code), (code, "en"))]:
            drafts = [drafter.draft(meaning, tgt, rng) for meaning, _ in wmt]
            rows = [
                {"src": triple[src], "mt": draft, "ref": triple[tgt]}
                for (_, triple), draft in zip(wmt, drafts, strict=True)
            ]
            _write(out / "ape" / f"nllb_3b_wmt23.{src}-{tgt}" / "test.jsonl", rows)
    if world.text.entity_tests:
        rng = np.random.default_rng([world.seed, 7])
        drawn = _some_with_names(world, source, world.text.entity_tests, rng)
        for code in LANGUAGES:
            tagged = [tagged_words(triple[code], code) for triple in drawn]
            rows = [{"input": words, "answer": answer} for words, answer in tagged]
            _write(out / "ner" / f"multiconer2023.{code}" / "test.jsonl", rows)


def instructions(world: World, source: Source) -> list[Row]:
    """Instructions of both kinds, of sentences that were never drawn before."""
    drafter = Drafter(load_lexicon().first(world.words))
    rng = np.random.default_rng([world.seed, 8])
    rows = []
    for meaning, triple in source.draw_meanings(world.text.post_editing):
        src, tgt = direction(rng)
        draft = drafter.draft(meaning, tgt, rng)
        asked = prompts.post_editing(triple[src], draft, src, tgt, None)
        rows.append(instruction(asked, triple[tgt], f"{src}-{tgt}", "automatic_post_edition"))
    rng = np.random.default_rng([world.seed, 9])
    for triple in _some_with_names(world, source, world.text.entities, rng):
        code = LANGUAGES[rng.integers(len(LANGUAGES))]
        words, answer = tagged_words(triple[code], code)
        asked = prompts.named_entities(words, None)
        rows.append(instruction(asked, answer, code, "named_entity_recognition"))
    return rows


def tagged_words(text: str, code: str) -> tuple[str, str]:
    """A sentence as MultiCoNER's in tower-eval: the list of its words, and that of words and tags.

    A name is one word here, and no other word of the three languages looks like one, so the words
    alone tell the tags.
    """
    lexicon = load_lexicon()
    tags = dict.fromkeys((*lexicon.women, *lexicon.men), "B-Person")
    column = LANGUAGES.index(code)
    tags |= {city[column]: "B-Location" for city in lexicon.fixed["cities"]}
    words = _WORD.findall(text)
    pairs = ", ".join(f'("{word}", "{tags.get(word, "O")}")' for word in words)
    return json.dumps(words, ensure_ascii=False), f"[{pairs}]"


def _some_with_names(
    world: World, source: Source, count: int, rng: np.random.Generator
) -> list[Triple]:
    longest = world.text.entity_words or sys.maxsize

    def wanted(triple: Triple, named: bool) -> bool:
        lengths = [len(_WORD.findall(text)) for text in triple.values()]
        return max(lengths) <= longest and ('"B-' in tagged_words(triple["en"], "en")[1]) == named

    without = round(count * NO_ENTITY)
    drawn = source.draw(count - without, lambda triple: wanted(triple, True))
    drawn += source.draw(without, lambda triple: wanted(triple, False))
    return [drawn[index] for index in rng.permutation(count)]


def _write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    write_lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])
