"""References and hypotheses: joined by id, and every way in which that can fail."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spire_dsu.errors import SpireError
from spire_evaluation.segments import Segment, join, read_joined, read_segments


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def row(name: str, text: str = "x", **more: object) -> dict[str, object]:
    return {"id": name, "text": text, **more}


def test_hypotheses_are_joined_by_id_in_the_order_of_the_references(tmp_path: Path) -> None:
    refs = write(tmp_path / "r.jsonl", [row("b", "B", speaker=7), row("a", "A", source="s")])
    hyps = write(tmp_path / "h.jsonl", [row("a", "1", prompt="left alone"), row("b", "2")])
    joined = read_joined(refs, hyps)
    assert [s.id for s in joined.references] == ["b", "a"]
    assert joined.hypotheses == ("2", "1")
    assert joined.references[0].speaker == "7"
    assert joined.references[1].source == "s"
    assert joined.speakers() is None  # one of them has none


def test_a_number_is_an_id(tmp_path: Path) -> None:
    joined = read_joined(
        write(tmp_path / "r.jsonl", [{"id": 3, "text": "x"}]),
        write(tmp_path / "h.jsonl", [row("3")]),
    )
    assert joined.references[0].id == "3"


def test_line_ends_inside_of_a_text_are_no_new_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text('{"id": "a", "text": "x\u2028y\u0085z"}\r\n\n', encoding="utf-8")
    assert read_segments(path) == [Segment("a", "x\u2028y\u0085z")]


def test_empty_texts_are_counted(tmp_path: Path) -> None:
    joined = read_joined(
        write(tmp_path / "r.jsonl", [row("a", ""), row("b"), row("c")]),
        write(tmp_path / "h.jsonl", [row("a", "x"), row("b", " \n"), row("c", "")]),
    )
    assert (joined.empty_references, joined.empty_hypotheses) == (1, 2)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["{"], r"h\.jsonl:1: not JSON"),
        (["[1]"], r"h\.jsonl:1: not an object but '\[1\]'"),
        (['{"text": "x"}'], r"h\.jsonl:1: id is None"),
        (['{"id": "", "text": "x"}'], r"id is ''"),
        (['{"id": true, "text": "x"}'], r"id is True"),
        (['{"id": "a"}'], r"text of id 'a' is None"),
        (['{"id": "a", "text": null}'], r"text of id 'a' is None"),
        (['{"id": "a", "text": 5}'], r"text of id 'a' is 5"),
        (['{"id": "a", "text": "x"}', '{"id": "a", "text": "y"}'], r":2: id 'a' was .* line 1"),
        (['{"id": "a", "text": "\\ud800"}'], r"cannot be written as UTF-8"),
        (['{"id": "a", "text": "x", "source": 1}'], r"source is 1"),
        (['{"id": "a", "text": "x", "tags": "O"}'], r"tags is 'O', not a list"),
        (['{"id": "a", "text": "", "tokens": ["x"], "tags": []}'], r"1 tokens but 0 tags"),
        ([""], r"no line with an id"),
        (["\x00"], r"h\.jsonl:1: not JSON"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, lines: list[str], said: str) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(SpireError, match=said):
        read_segments(path)


def test_a_missing_file_and_other_bytes_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpireError, match=r"gone\.jsonl"):
        read_segments(tmp_path / "gone.jsonl")
    (tmp_path / "x.jsonl").write_bytes(b'{"id": "a", "text": "\xff"}\n')
    with pytest.raises(SpireError, match=r"x\.jsonl:1: not UTF-8"):
        read_segments(tmp_path / "x.jsonl")


def test_ids_of_one_side_alone_are_named() -> None:
    refs = [Segment(name, "x") for name in "abcdefgh"]
    hyps = [Segment(name, "x") for name in "hz"]
    with pytest.raises(SpireError) as caught:
        join(refs, hyps, "sys")
    assert str(caught.value) == (
        "sys: 8 references but 2 hypotheses; no hypothesis for 'a', 'b', 'c', 'd', 'e' and 2 more; "
        "no reference for 'z'"
    )


@pytest.mark.parametrize("side", ["references", "sys"])
def test_an_id_that_comes_twice_is_named(side: str) -> None:
    once, twice = [Segment("a", "x")], [Segment("a", "x"), Segment("a", "y")]
    with pytest.raises(SpireError, match=re.escape(f"{side}: ids that come more than once: 'a'")):
        join(*((twice, once) if side == "references" else (once, twice)), "sys")


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=8), st.randoms())
def test_what_is_joined_is_what_was_given(pairs: list[tuple[str, str]], rng: Any) -> None:
    refs = [Segment(str(i), ref) for i, (ref, _) in enumerate(pairs)]
    hyps = [Segment(str(i), hyp) for i, (_, hyp) in enumerate(pairs)]
    rng.shuffle(hyps)
    joined = join(refs, hyps, "sys")
    assert [(s.text, h) for s, h in zip(joined.references, joined.hypotheses, strict=True)] == pairs
