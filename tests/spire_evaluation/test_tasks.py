"""Each test set is read in its published layout: ids, references, sources, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import evaluation_layouts as layouts
import pytest
from corpus_layouts import write_lines

from spire_dsu.config import validate
from spire_dsu.errors import SpireError
from spire_evaluation.config import TestConfig
from spire_evaluation.items import TestSet
from spire_evaluation.tasks import DECLARED, read_tests


def read(kind: str, folder: Path, *parts: str, **more: Any) -> list[TestSet]:
    values = {"kind": kind, "folder": str(folder), "parts": list(parts), **more}
    return read_tests(validate(values, TestConfig, "test"))


def test_the_papers_test_sets_are_declared() -> None:
    """Section 4: the sets of tables 2 to 7, 9, 11 and 12, with their directions."""
    assert {kind: (d.task, len(d.parts)) for kind, d in DECLARED.items()} == {
        "librispeech": ("asr", 2),
        "fleurs": ("asr", 1),
        "voxpopuli": ("asr", 1),
        "flores": ("mt", 18),
        "wmt23": ("mt", 6),
        "fleurs-st": ("st", 9),
        "covost2": ("st", 2),
        "ape": ("ape", 6),
        "ner": ("ner", 7),
    }


def test_librispeech(tmp_path: Path) -> None:
    (test,) = read("librispeech", layouts.librispeech(tmp_path), "test-clean")
    assert (test.key, test.task, test.src, test.tgt) == (
        "librispeech/test-clean", "asr", "en", "en")  # fmt: skip
    assert [item.reference for item in test.items][:2] == ["A MADE UP LINE", "ANOTHER LINE"]
    assert [item.speaker for item in test.items] == ["121", "121", "237", "237"]
    assert test.items[3].speech is not None  # absent recordings are found when they are decoded


def test_fleurs_scores_the_raw_transcription(tmp_path: Path) -> None:
    (test,) = read("fleurs", layouts.fleurs(tmp_path))
    assert [(i.id, i.reference) for i in test.items] == [
        ("10", "A cat sat."), ("11", "A cat sat."), ("12", "The dog saw it."),
        ("13", "They ate fish."),
    ]  # fmt: skip


def test_voxpopuli_scores_the_normalised_text(tmp_path: Path) -> None:
    (test,) = read("voxpopuli", layouts.voxpopuli(tmp_path))
    assert [item.reference for item in test.items] == ["thank you", "well"]


def test_fleurs_st_joins_by_sentence(tmp_path: Path) -> None:
    (test,) = read("fleurs-st", layouts.fleurs(tmp_path), "en-de")
    assert [(i.id, i.source, i.reference) for i in test.items] == [
        ("10", "A cat sat.", "Eine Katze sass."),
        ("11", "A cat sat.", "Eine Katze sass."),
        ("12", "The dog saw it.", "Der Hund sah es."),
    ]
    (test,) = read("fleurs-st", tmp_path, "en-de", references=str(layouts.flores(tmp_path / "f")))
    assert [i.reference for i in test.items][2:] == ["Der Hund sah es.", "Sie assen Fisch."]
    path = tmp_path / "f/flores200_dataset/devtest/eng_Latn.devtest"
    write_lines(path, "A cat sat.", "The dog saw it.", "They ate fishes.")
    with pytest.raises(SpireError, match=r"1 of 4 sentences .* 'They ate fish.'"):
        read("fleurs-st", tmp_path, "en-de", references=str(tmp_path / "f"))


def test_covost2(tmp_path: Path) -> None:
    german, chinese = read("covost2", layouts.covost2(tmp_path))
    assert (german.key, chinese.key) == ("covost2/en-de", "covost2/en-zh")
    assert [i.reference for i in chinese.items] == ["\u732b", "\u72d7", "\u9c7c"]
    assert german.items[1].source == "The dog saw it."
    assert german.items[1].speaker == "c1"


def test_flores(tmp_path: Path) -> None:
    layouts.flores(tmp_path)
    there, back = read("flores", tmp_path, "en-de", "de-en")
    assert next((i.id, i.source, i.reference) for i in there.items) == (
        "1", "A cat sat.", "Eine Katze sass.")  # fmt: skip
    assert back.items[2].reference == "They ate fish."
    assert there.shots[0] == ("They ate fish.", "Sie assen Fisch.")  # dev's, which is reversed
    plus = tmp_path / "plus/devtest"  # as FLORES+ is written out by the authors' script
    write_lines(plus / "devtest.eng_Latn", "A cat sat.")
    write_lines(plus / "devtest.cmn_Hans", "\u732b")
    (chinese,) = read("flores", tmp_path / "plus", "en-zh")
    assert chinese.items[0].reference == "\u732b"
    assert chinese.shots == ()
    write_lines(plus / "devtest.cmn_Hans", "\u732b", "\u732b")
    with pytest.raises(SpireError, match="1 lines in en and 2 in zh"):
        read("flores", tmp_path / "plus", "en-zh")
    with pytest.raises(SpireError, match="kor_Hang"):
        read("flores", tmp_path, "en-ko")


def test_wmt23_as_sacrebleu_reads_it(tmp_path: Path) -> None:
    (test,) = read("wmt23", layouts.wmt23_xml(tmp_path), "en-de")
    assert [(i.id, i.source, i.reference) for i in test.items] == [
        ("x.1:1", "Hello.", "Hallo."), ("x.1:2", "Bye now.", "Tsch\u00fcss jetzt."),
    ]  # fmt: skip
    (tmp_path / "xml/wmttest2023.en-de.all.xml").write_text("<dataset>")
    with pytest.raises(SpireError, match="not XML"):
        read("wmt23", tmp_path, "en-de")


def test_wmt23_of_tower_eval(tmp_path: Path) -> None:
    raw = layouts.tower(tmp_path) / "TowerEval-Data-v0.1/data/raw_data"
    back, there = read("wmt23", raw, "de-en", "en-de")
    assert [(i.source, i.reference) for i in back.items] == [("Hallo.", "Hello."), ("Ja.", "Yes.")]
    assert there.items[0].reference == "Hallo."
    write_lines(raw / "mt/wmt23.de-en/test_corpus.ref", "Hello.")
    with pytest.raises(SpireError, match="2 sources but 1 references"):
        read("wmt23", raw, "de-en")


def test_post_editing(tmp_path: Path) -> None:
    (test,) = read("ape", layouts.tower(tmp_path), "en-de")
    assert [(i.source, i.draft, i.reference) for i in test.items] == [
        ("Good day.", "Guter Tag", "Guten Tag."), ("Yes.", "Jo", "Ja."),
    ]  # fmt: skip
    path = tmp_path / "TowerEval-Data-v0.1/data/raw_data/ape/nllb_3b_wmt23.en-de/test.jsonl"
    write_lines(path, '{"src": "a", "mt": "b"}')
    with pytest.raises(SpireError, match="row 1 has neither ref nor pe"):
        read("ape", tmp_path, "en-de")
    write_lines(path, '{"src": "a"}')
    with pytest.raises(SpireError, match=r"test\.jsonl:1: lacks one of src, mt"):
        read("ape", tmp_path, "en-de")


def test_entities(tmp_path: Path) -> None:
    (test,) = read("ner", layouts.tower(tmp_path), "en")
    assert test.items[1].tokens == ("In", "New", "York")
    assert test.items[1].tags == ("O", "B-Location", "I-Location")
    assert test.items[0].source == '["Ada", "slept"]'


def test_shots_of_a_file(tmp_path: Path) -> None:
    layouts.flores(tmp_path)
    rows = ['{"source": "Hi.", "text": "Hallo.", "tgt": "de"}',
            '{"source": "Hi.", "text": "Hola.", "tgt": "es"}']  # fmt: skip
    shots = write_lines(tmp_path / "shots.jsonl", *rows)
    (test,) = read("flores", tmp_path, "en-de", shots=str(shots))
    assert test.shots == (("Hi.", "Hallo."),)


@pytest.mark.parametrize(
    ("kind", "part", "message"),
    [
        ("flores", "de-fr", "no part 'de-fr'"),
        ("flores", "de", "no part 'de'"),
        ("ner", "en-de", "no part 'en-de'"),
        ("flores", "en-xx", "unknown language 'xx'"),
        ("librispeech", "test-foggy", "test-foggy"),
    ],
)
def test_parts_that_are_not_there(tmp_path: Path, kind: str, part: str, message: str) -> None:
    layouts.flores(tmp_path)
    layouts.tower(tmp_path)
    layouts.librispeech(tmp_path)
    with pytest.raises(SpireError, match=message):
        read(kind, tmp_path, part)


def test_a_limit_takes_the_first_items(tmp_path: Path) -> None:
    (test,) = read("flores", layouts.flores(tmp_path), "en-de", limit=2)
    assert [item.id for item in test.items] == ["1", "2"]


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    for code in ("eng_Latn", "deu_Latn"):
        write_lines(tmp_path / f"devtest/{code}.devtest")
    with pytest.raises(SpireError, match="flores/en-de: it has no item"):
        read("flores", tmp_path, "en-de")
