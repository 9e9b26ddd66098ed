"""What becomes of answers and scores."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from spire_dsu.errors import ManifestError
from spire_dsu.llm.generation import Answer
from spire_training.pseudo_label.labels import Label, keep, sample, translations
from spire_training.pseudo_label.scorers import LengthRatio
from spire_training.pseudo_label.settings import PseudoLabelConfig, Transcripts
from spire_training.pseudo_label.transcripts import choose


def answer(name: str, text: str, finish: str = "end") -> Answer:
    return Answer(name, text, (), finish)  # type: ignore[arg-type]


def test_answers_that_are_no_line_are_refused_and_counted() -> None:
    answers = [
        answer("a", " Hallo Welt "),
        answer("b", "  \n "),
        answer("c", "Hallo\nWelt"),
        answer("d", "Hallo\u2028Welt"),
        answer("e", "Hallo Welt und", "length"),
        answer("f", ""),
        answer("g", "Hallo\n"),
    ]
    counts: Counter[str] = Counter()
    assert translations({a.id: a for a in answers}, counts) == {"a": "Hallo Welt", "g": "Hallo"}
    assert counts == {
        "translated": 2,
        "refused: empty": 2,
        "refused: newline": 2,
        "refused: length": 1,
    }


def test_scores_are_joined_by_id() -> None:
    counts: Counter[str] = Counter()
    texts = {"a": "eins", "b": "zwei", "c": "drei"}
    kept = keep(texts, {"c": 0.9, "b": 0.85, "a": 0.8499}, "de", 0.85, counts)
    assert kept == [Label("b", "de", "zwei", 0.85), Label("c", "de", "drei", 0.9)]
    assert counts == {"kept": 2, "dropped: score": 1}


@pytest.mark.parametrize(("there", "sizes"), [(500, (60, 40)), (100, (60, 40)), (50, (30, 20))])
def test_samples_are_disjoint_and_share_what_there_is(there: int, sizes: tuple[int, int]) -> None:
    labels = [Label(str(number), "de", "x", 1.0) for number in range(there)]
    direct, multi_turn = sample(labels, 60, 40, 0, "cv", "de")
    assert (len(direct), len(multi_turn)) == sizes
    ids = {label.id for label in direct} | {label.id for label in multi_turn}
    assert len(ids) == sum(sizes)
    assert sample(labels[::-1], 60, 40, 0, "cv", "de") == (direct, multi_turn)
    if there == 500:
        assert sample(labels, 60, 40, 1, "cv", "de") != (direct, multi_turn)
        assert sample(labels, 60, 40, 0, "cv", "fr") != (direct, multi_turn)


def test_a_choice_of_transcripts_does_not_depend_on_their_order(tmp_path: Path) -> None:
    rows = [{"id": f"u{number}", "text": f"text\n {number}"} for number in range(50)]
    rows.append({"id": "empty", "text": " \n"})
    chosen = []
    for name, order in (("one", rows), ("two", rows[::-1])):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in order))
        counts: Counter[str] = Counter()
        chosen.append(choose(Transcripts(name="cv", path=str(path), limit=7), 3, counts))
        assert counts == {
            "transcripts": 51,
            "dropped: no text": 1,
            "dropped: limit": 43,
            "chosen": 7,
        }
    assert list(chosen[0].items()) == list(chosen[1].items())
    assert all(text == f"text {name[1:]}" for name, text in chosen[0].items())


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "y"}\n')
    with pytest.raises(ManifestError, match="id 'a' is there twice"):
        choose(Transcripts(name="cv", path=str(path)), 0, Counter())
    path.write_text('{"id": "a"}\n')
    with pytest.raises(ManifestError, match=r"t\.jsonl:1: not a row with id and text"):
        choose(Transcripts(name="cv", path=str(path)), 0, Counter())


def test_lengths_alone_make_the_heuristic() -> None:
    scores = LengthRatio()([("abcd", "abc"), ("abc", "abcd"), ("abc", "abc"), ("", "")])
    assert scores == [0.75, 0.75, 1.0, 0.0]


def test_the_defaults_are_the_papers() -> None:
    config = PseudoLabelConfig(model="m", out="o", transcripts=(Transcripts(name="cv", path="p"),))
    assert (config.threshold, config.direct, config.multi_turn) == (0.85, 60_000, 60_000)
    assert config.transcripts[0].limit == 300_000
    assert len(config.languages) == 9
