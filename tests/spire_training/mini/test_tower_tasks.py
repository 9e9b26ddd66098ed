"""The miniature's post-editing, names and SentencePiece model, as evaluation reads them."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mini_worlds import mini_world

from spire_dsu.errors import ConfigError
from spire_evaluation.config import TestConfig
from spire_evaluation.items import TestSet
from spire_evaluation.metrics import MetricConfig, measure
from spire_evaluation.metrics.entities import chunks
from spire_evaluation.segments import Joined, Segment
from spire_evaluation.tasks import read_tests
from spire_training.mini.drafts import RIGHT, Drafter
from spire_training.mini.grammar import Sampler, load_lexicon
from spire_training.mini.pieces import FILE, write_pieces
from spire_training.mini.sentences import LANGUAGES, WRITERS
from spire_training.mini.settings import World
from spire_training.mini.world import make_world

OLD = {"parallel": 60, "monolingual": 40, "instructions": 30, "flores": 5, "wmt": 20}
NEW = {"post_editing": 40, "entities": 40, "entity_tests": 12, "entity_words": 9, "spm_pieces": 400}
DIRECTIONS = ["en-de", "de-en", "en-es", "es-en"]


def world(**text: int) -> World:
    corpora = [{"name": "librispeech", "split": "test-clean", "rows": 1, "voices": "test"}]
    return mini_world(words=0.3, text=text, corpora=corpora)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain")
    make_world(world(**OLD), out, workers=1)
    return out


@pytest.fixture(scope="module")
def made(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is new, made over a world that stands: nothing is spoken again."""
    out = tmp_path_factory.mktemp("made")
    shutil.copytree(plain, out, dirs_exist_ok=True)
    (out / "settings.json").unlink()
    make_world(world(**OLD, **NEW), out, workers=1)
    return out


def sets_of(kind: str, folder: Path, parts: list[str]) -> list[TestSet]:
    config = {"kind": kind, "folder": str(folder), "parts": parts}
    return read_tests(TestConfig.model_validate_json(json.dumps(config)))


def rows_of(folder: Path, task: str) -> list[dict[str, Any]]:
    lines = (folder / "text" / "instructions.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["task"] == task]


def turns(row: dict[str, Any]) -> tuple[str, str]:
    asked, answered = row["conversations"]
    return asked["value"], answered["value"]


def test_what_is_added_leaves_all_else_as_it_was(plain: Path, made: Path) -> None:
    for path in sorted(plain.rglob("*")):
        if path.is_file() and path.name not in (
            "settings.json",
            "world.json",
            "instructions.jsonl",
        ):
            assert (made / path.relative_to(plain)).read_bytes() == path.read_bytes(), path
    kept = rows_of(plain, "machine_translation")
    assert len(kept) == 30
    assert sorted(map(turns, rows_of(made, "machine_translation"))) == sorted(map(turns, kept))
    assert not {path.name for path in plain.iterdir()} & {"ape", "ner", FILE}


def test_instructions_are_mixed(made: Path) -> None:
    lines = (made / "text" / "instructions.jsonl").read_text("utf-8").splitlines()
    tasks = [json.loads(line)["task"] for line in lines]
    assert Counter(tasks) == {
        "machine_translation": 30,
        "automatic_post_edition": 40,
        "named_entity_recognition": 40,
    }
    assert {"machine_translation", "named_entity_recognition"} <= set(tasks[:20])


def test_drafts_to_post_edit_are_read_by_the_evaluation(made: Path) -> None:
    translated = {test.key: test for test in sets_of("wmt23", made / "wmt23", DIRECTIONS)}
    for test in sets_of("ape", made, DIRECTIONS):
        originals = translated[test.key.replace("ape", "wmt23")].items
        assert [(i.source, i.reference) for i in test.items] == [
            (i.source, i.reference) for i in originals
        ]
        right = sum(item.draft == item.reference for item in test.items)
        assert 0 < right < len(test.items) / 2
    for row in rows_of(made, "automatic_post_edition"):
        asked, answer = turns(row)
        source, draft = re.findall(r"^(?:Source|Translation): (.+)$", asked, re.MULTILINE)
        assert row["lang"] in DIRECTIONS
        assert source != draft
        assert answer not in (source, "")


@pytest.mark.parametrize("code", LANGUAGES)
def test_one_draft_in_five_is_right_and_no_other_is_far_off(code: str) -> None:
    lexicon = load_lexicon().first(0.3)
    sampler, drafter = Sampler(load_lexicon(), 0.3), Drafter(lexicon)
    rng = np.random.default_rng(1)
    right, lost = 0, []
    for _ in range(600):
        meaning = sampler.sentence(rng)
        wanted, draft = WRITERS[code].write(meaning), drafter.draft(meaning, code, rng)
        right += draft == wanted
        words = Counter(wanted.split())
        lost.append((words - Counter(draft.split())).total() / words.total())
        assert draft[-1] == wanted[-1]
        assert next(letter for letter in draft if letter.isalpha()).isupper()
    assert abs(right / 600 - RIGHT) < 0.06
    assert 0.1 < np.mean(lost) < 0.3


def test_right_answers_to_the_entity_tests_score_full_marks(made: Path) -> None:
    found = []
    for test in sets_of("ner", made, list(LANGUAGES)):
        references = tuple(
            Segment(item.id, item.reference, tokens=item.tokens, tags=item.tags)
            for item in test.items
        )
        answers = tuple(item.reference for item in test.items)
        measured = measure("ner", Joined(references, answers), MetricConfig())
        assert measured.score == 100
        assert measured.facts["wrong_length"] == 0
        for item in test.items:
            assert json.loads(item.source or "") == list(item.tokens or ())
            assert len(item.tokens or ()) <= NEW["entity_words"]
        found.append([sorted(kind for *_, kind in chunks(item.tags or ())) for item in test.items])
    english, german, spanish = found
    assert english == german == spanish  # the same sentences in three languages
    assert sum(not kinds for kinds in english) == 3
    assert {kind for kinds in english for kind in kinds} == {"Person", "Location"}


def test_entity_tests_are_no_training_sentences(made: Path) -> None:
    (test,) = sets_of("ner", made, ["en"])
    trained = {
        "".join(line.split("\t")[0].split())
        for line in (made / "text" / "parallel.en-de.tsv").read_text("utf-8").splitlines()
    }
    asked = {turns(row)[1] for row in rows_of(made, "named_entity_recognition")}
    for item in test.items:
        assert "".join(item.tokens or ()) not in trained
        assert item.reference not in asked


def test_no_other_word_looks_like_a_name() -> None:
    """Only so can the words of a sentence alone say what is a name."""
    lexicon = load_lexicon()
    cities = {name for city in lexicon.fixed["cities"] for name in city}
    names = {*lexicon.women, *lexicon.men, *cities}
    assert len(names) == len(lexicon.women) + len(lexicon.men) + len(cities)
    words = {
        form for noun in sum(lexicon.nouns.values(), ()) for form in noun.en + noun.de + noun.es
    }
    for adjective in sum(lexicon.adjectives.values(), ()):
        words |= {*adjective.en, *adjective.de, adjective.es}
    for verb in lexicon.transitive + lexicon.intransitive + lexicon.saying:
        words |= {*verb.en, *verb.de, *verb.es}
    for kind, rows in lexicon.fixed.items():
        words |= {word for row in rows for text in row for word in text.split()} - (
            cities if kind == "cities" else set()
        )
    assert not names & {word[:1].upper() + word[1:] for word in words}


def test_spbleu_takes_the_worlds_pieces(made: Path) -> None:
    config = MetricConfig(flores_spm=made / FILE)
    german = (made / "flores" / "devtest" / "deu_Latn.devtest").read_text("utf-8").splitlines()
    references = tuple(Segment(str(i), text) for i, text in enumerate(german))
    for answers, scores in ((tuple(german), (100, 100)), (tuple(reversed(german)), (0, 60))):
        score = measure("spbleu", Joined(references, answers), config).score
        assert scores[0] <= round(score, 6) <= scores[1]


def test_too_little_text_for_so_many_pieces(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("one\ttwo\nthree\n")
    with pytest.raises(ConfigError, match="spm_pieces 5000"):
        write_pieces([text], 5000, tmp_path / FILE)
