"""Whole conversions are killed, whole or in part; what comes out in the end is always the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from audio_makers import encode, flac_of_constants
from convert_makers import make_model, make_recordings, rows_of, sound
from unit_rows import MULTIPLIER, tree

from spire_dsu.convert import Interrupted
from spire_dsu.convert.signals import Signals
from spire_dsu.manifest import open_manifest

TESTS = Path(__file__).resolve().parents[1]
ROWS = 32
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs a conversion with what happens to it, and tells how it ended."""
    folder = tmp_path_factory.mktemp("kill")
    model = make_model(folder / "tiny")
    manifest = make_recordings(folder / "audio", ROWS - 3)
    (manifest / "bad.wav").write_bytes(b"<html>")
    (manifest / "cut.flac").write_bytes(encode(sound(1, 0.5), "FLAC")[:3000])
    (manifest / "short.wav").write_bytes(encode(sound(1, 0.01)))
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(
        [sys.executable, TESTS / "faults" / "conversions.py", model],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
    ) as process:

        def ask(out: Path, kind: str = "disturbed", **request: Any) -> dict[str, Any]:
            wanted = {"kind": kind, "manifest": str(manifest), "out": str(out), **request}
            process.stdin.write(json.dumps(wanted) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], float]:
    """The files that an undisturbed conversion leaves, and the seconds that one takes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    ended = run(out)
    assert ended["status"] == 0, ended["text"]
    assert len(rows_of(out)) == ROWS
    return tree(out), ended["seconds"]


def test_kills_at_random_times_cost_nothing(
    tmp_path: Path, run: Run, whole: tuple[dict[str, str], float]
) -> None:
    files, seconds = whole
    rng = random.Random(11)
    kills = finished = 0
    turn = 0
    while kills < 25 * MULTIPLIER:
        out = tmp_path / str(finished)
        turn += 1
        moment = rng.uniform(0, 1.1 * seconds)
        whom = rng.choice(["group", "group", "driver"])
        ended = run(out, workers=rng.randint(1, 3), signals=[[moment, signal.SIGKILL, whom]])
        assert ended["status"] in (0, -signal.SIGKILL), ended["text"]
        assert not ended["left"], f"processes outlived their {whom}"
        if ended["status"]:
            kills += 1
            seconds *= 1.05
            continue
        seconds = ended["seconds"]  # the machine may have become faster or slower meanwhile
        assert tree(out) == files, f"after {kills} kills"
        shutil.rmtree(out)
        finished += 1
    if out.exists():
        assert run(out)["status"] == 0
        assert tree(out) == files


def test_a_worker_that_is_killed_is_replaced(
    tmp_path: Path, run: Run, whole: tuple[dict[str, str], float]
) -> None:
    for turn in range(2 * MULTIPLIER):
        out = tmp_path / str(turn)
        signals = [[{"shards": count}, signal.SIGKILL, "worker"] for count in (1, 5)]
        ended = run(out, workers=3, seed=turn, signals=signals)
        assert ended["status"] == 0, ended["text"]
        assert "was killed by signal 9" in ended["text"]
        assert tree(out) == whole[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(
    tmp_path: Path, run: Run, whole: tuple[dict[str, str], float], number: int
) -> None:
    out = tmp_path / "out"
    ended = run(out, workers=2, signals=[[{"shards": 1}, number, "group"]])
    assert ended["status"] == 75, ended["text"]
    assert not ended["left"]
    name = signal.Signals(number).name
    assert f"stopped by {name}; the same command goes on" in ended["text"]
    assert not list(out.glob(".tmp/*/*"))
    assert run(out)["status"] == 0
    assert tree(out) == whole[0]


def test_a_signal_does_not_wait_for_an_encoder_that_hangs(tmp_path: Path, run: Run) -> None:
    """Of the 30 s that a scheduler gives, what takes time is killed at once."""
    out = tmp_path / "out"
    begun = {"file": ".tmp/*/begun-*"}
    ended = run(out, hangs=True, signals=[[begun, signal.SIGTERM, "driver"]])
    assert ended["status"] == 75, ended["text"]
    assert not ended["left"]


def test_a_recording_that_memory_cannot_hold_becomes_a_row_with_a_reason(
    tmp_path: Path, run: Run
) -> None:
    folder = make_recordings(tmp_path / "audio", 5)
    hour = flac_of_constants([65_535] * 880, block=65_535)
    (folder / "r002-hour.flac").write_bytes(hour)
    ended = run(tmp_path / "out", manifest=str(folder), memory_mb=160)
    assert ended["status"] == 0, ended["text"]
    statuses = {row.id: str(row.status) for row in rows_of(tmp_path / "out")}
    assert statuses.pop("r002-hour") == "too_long"
    assert set(statuses.values()) == {"ok"}
    assert len(statuses) == 5


def test_the_second_signal_ends_it_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Signals() as signals:
        signals.check()
        signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        signals.install()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with pytest.raises(Interrupted, match="SIGINT"):
            signals.check()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_full_disk_stops_it_and_room_lets_it_go_on(
    tmp_path: Path, run: Run, whole: tuple[dict[str, str], float]
) -> None:
    count = 3 * MULTIPLIER
    sizes = [24 + 48 * k // (count - 1) for k in range(count)]
    answer = run(tmp_path / "disk", "full disk", sizes=[*sizes, 4000])
    if "refused" in answer:
        pytest.skip(f"no file system can be mounted here: {answer['refused']}")
    assert answer["statuses"] == [28] * count + [0], answer["text"]
    assert answer["text"].count("MB free); what is committed is safe") == count
    assert not any(answer["problems"])
    assert answer["tree"] == whole[0]


def test_memory_does_not_grow_with_the_rows(tmp_path: Path, run: Run) -> None:
    """Twelve shards of 400 rows; the encoder is replaced by one that counts."""
    folder = tmp_path / "audio"
    folder.mkdir()
    (folder / "a.wav").write_bytes(encode(sound(1, 0.3)))
    (folder / "b.flac").write_bytes(encode(sound(2, 1.0), "FLAC"))
    lines = [
        {"audio_filepath": ("a.wav", "b.flac", "gone.wav")[k % 3], "text": f"sentence {k} " * 5}
        for k in range(12 * 400)
    ]
    (folder / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = open_manifest(folder / "list.jsonl", work=tmp_path / "work")
    answer = run(tmp_path / "out", "memory", rows=str(rows.path), shards=12)
    sizes = answer["sizes"]
    assert len(sizes) == 12, answer["text"]
    assert max(sizes[6:]) - max(sizes[:6]) < 4 << 20, sizes
