"""Which rows are chosen: limits kept, by hash alone, whatever order the manifest has."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spire_dsu.errors import InputError
from spire_dsu.fit import select as module
from spire_dsu.fit.select import HELDOUT, Selection, select
from spire_dsu.manifest import Manifest, open_manifest
from spire_dsu.types import Utterance


def manifest_of(path: Path, rows: list[dict[str, Any]]) -> Manifest:
    path.write_text("\n".join(map(json.dumps, rows)))
    return open_manifest(path)


def rows_of(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of 1 to 9 s by 40 speakers of unequal zeal; every tenth row names none."""
    rng = random.Random(seed)
    rows = []
    for k in range(count):
        row: dict[str, Any] = {"id": f"u{k}", "audio_filepath": f"a{k // 3}.wav"}
        row |= {"offset": 10.0 * (k % 3), "duration": float(rng.randint(1, 9))}
        if k % 10:
            row["speaker"] = f"s{min(39, int(rng.expovariate(0.1)))}"
        rows.append(row)
    return rows


def choose(manifest: Manifest, folder: Path, **changes: Any) -> tuple[list[Utterance], Selection]:
    settings: dict[str, Any] = {
        "seed": 0, "max_per_speaker": None, "hours": 1e6, "heldout": 0.1, "check": lambda: None,
    }  # fmt: skip
    chosen, selection = select(manifest, folder, **{**settings, **changes})
    rows = list(chosen)
    assert len(rows) == selection.rows
    assert sum(HELDOUT in row.extra for row in rows) == selection.heldout_rows
    return rows, selection


@pytest.mark.parametrize("chunk", [65_536, 100])
def test_no_speaker_has_more_than_the_limit_and_none_less_than_it_can(
    tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    rows = rows_of(1500)
    manifest = manifest_of(tmp_path / "m.jsonl", rows)
    chosen, selection = choose(manifest, tmp_path / "chosen", max_per_speaker=8)
    before = Counter(row.get("speaker") for row in rows)
    after = Counter(row.speaker for row in chosen)
    assert after[None] == before[None] == 150
    assert {name: min(8, n) for name, n in before.items() if name} == {
        name: n for name, n in after.items() if name
    }
    assert selection.manifest_speakers == selection.speakers == len(before) - 1
    assert selection.without_speaker == 150
    assert selection.manifest_hours == pytest.approx(sum(r["duration"] for r in rows) / 3600)


def test_hours_are_kept_and_a_larger_budget_adds_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 128)
    manifest = manifest_of(tmp_path / "m.jsonl", rows_of(1200))
    before: set[str] = set()
    for hours in (0.0001, 0.1, 0.3, 5.0):
        rows, selection = choose(manifest, tmp_path / str(hours), hours=hours)
        names = {row.id for row in rows}
        assert before < names
        assert selection.hours <= max(hours, 9 / 3600)
        assert selection.hours >= min(hours, selection.manifest_hours) - 9 / 3600
        before = names


@pytest.mark.parametrize("limits", [{}, {"max_per_speaker": 4}, {"hours": 0.4},
                                    {"max_per_speaker": 6, "hours": 0.3}])  # fmt: skip
def test_the_order_of_the_manifest_does_not_matter(tmp_path: Path, limits: dict[str, Any]) -> None:
    rows = rows_of(700)
    plain, _ = choose(manifest_of(tmp_path / "a.jsonl", rows), tmp_path / "a", **limits)
    random.Random(3).shuffle(rows)
    shuffled, _ = choose(manifest_of(tmp_path / "b.jsonl", rows), tmp_path / "b", **limits)
    assert plain == shuffled
    other, _ = choose(manifest_of(tmp_path / "b.jsonl", rows), tmp_path / "c", seed=1, **limits)
    assert [row.id for row in other] != [row.id for row in plain]


def test_pieces_of_a_recording_stay_together(tmp_path: Path) -> None:
    rows, _ = choose(manifest_of(tmp_path / "m.jsonl", rows_of(300)), tmp_path / "chosen")
    places = [(row.source, row.offset) for row in rows]
    assert sum(a[0] != b[0] for a, b in itertools.pairwise(places)) == 99
    for a, b in itertools.pairwise(places):
        assert a[0] != b[0] or a[1] < b[1]


def test_a_second_call_finds_what_the_first_one_chose(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "m.jsonl", rows_of(50))
    first = choose(manifest, tmp_path / "chosen", hours=0.02)
    assert choose(manifest, tmp_path / "chosen", hours=0.02) == first


def test_unknown_lengths_count_for_ten_seconds(tmp_path: Path) -> None:
    rows = [{"id": f"u{k}", "audio_filepath": f"{k}.wav"} for k in range(100)]
    _, selection = choose(
        manifest_of(tmp_path / "m.jsonl", rows), tmp_path / "chosen", hours=100 / 3600
    )
    assert selection.rows == 10


def test_one_row_is_fitted_and_two_leave_one_to_measure(tmp_path: Path) -> None:
    for count, heldout in ((1, 0), (2, 1), (100, 10)):
        manifest = manifest_of(tmp_path / f"{count}.jsonl", rows_of(count))
        _, selection = choose(manifest, tmp_path / str(count))
        assert (selection.rows, selection.heldout_rows) == (count, heldout)


def test_rows_that_cannot_be_used_are_counted_or_refused(tmp_path: Path) -> None:
    bad = {"id": "bad", "audio_filepath": "b.wav", "duration": -2.0}
    _, selection = choose(
        manifest_of(tmp_path / "m.jsonl", [bad, *rows_of(20)]), tmp_path / "chosen"
    )
    assert selection.unusable == {"bad_segment": 1}
    assert (selection.manifest_rows, selection.rows) == (21, 20)
    with pytest.raises(InputError, match="none of 1 rows can be used"):
        choose(manifest_of(tmp_path / "b.jsonl", [bad]), tmp_path / "none")
