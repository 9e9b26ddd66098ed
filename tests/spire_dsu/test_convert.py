"""A manifest in, shards out: every row once, the same bytes however it was done."""

from __future__ import annotations

import io
import itertools
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from audio_makers import encode, pcm16, voice, wav
from convert_makers import ThreadEngine, make_model, make_recordings, rows_of, run, sound
from rich.console import Console
from unit_rows import tree

from spire_dsu.audio import read_audio
from spire_dsu.convert import WorkersDied, convert, main
from spire_dsu.convert.job import Spec
from spire_dsu.convert.worker import Model, load_model
from spire_dsu.discretizer import Discretizer
from spire_dsu.errors import ConfigError, ManifestError, Reason, SpireError
from spire_dsu.journal import FingerprintError, Journal, Plan
from spire_dsu.locking import LockedError
from spire_dsu.manifest import open_manifest
from spire_dsu.types import Units


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def loaded(model: Path) -> Model:
    spec = Spec(model=str(model), device="cpu", precision="exact", rows="", rows_per_shard=1)
    return load_model(spec)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recordings(tmp_path_factory.mktemp("recordings") / "audio", 22)


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, recordings: Path, model: Path, loaded: Model
) -> Path:
    """The output of one worker that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "out"
    summary = run(recordings, out, model, loaded=loaded)
    assert summary.finished
    assert (summary.rows, summary.new.rows, summary.shards) == (22, 22, 6)
    return out


def test_units_are_those_of_the_model_alone(recordings: Path, whole: Path, model: Path) -> None:
    rows = rows_of(whole)
    direct = list(Discretizer.from_pretrained(model).encode_files(sorted(recordings.iterdir())))
    assert len(rows) == len(direct) == 22
    for row, one in zip(rows, direct, strict=True):
        assert row.status is Reason.OK
        assert one.units is not None
        assert np.array_equal(row.units, one.units.ids)
        assert np.array_equal(row.durations, one.units.durations)
        assert (row.num_samples, row.num_frames) == (one.num_samples, one.units.num_frames)
    assert sum(len(row.units) for row in rows) > 100


def test_any_number_of_workers_makes_the_same_bytes(
    tmp_path: Path, recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    for workers in (2, 3, 8):
        out = tmp_path / str(workers)
        run(recordings, out, model, workers=workers, loaded=loaded)
        assert tree(out) == tree(whole)


def test_real_processes_make_the_same_bytes(
    tmp_path: Path, recordings: Path, whole: Path, model: Path
) -> None:
    summary = convert(recordings, tmp_path / "out", model=model, workers=2, rows_per_shard=4)
    assert summary.finished
    assert tree(tmp_path / "out") == tree(whole)


def test_parts_in_any_order_make_the_same_bytes(
    tmp_path: Path, recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    out = tmp_path / "out"
    for index in (2, 0, 1):
        part = {"shard_index": index, "num_shards": 3}
        summary = run(recordings, out, model, loaded=loaded, **part)
        assert summary.finished == (index == 1)
    assert summary.rows == 8
    assert tree(out) == tree(whole)


def test_parts_at_the_same_time_make_the_same_bytes(
    tmp_path: Path, recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    def one(index: int) -> None:
        run(recordings, tmp_path / "out", model, loaded=loaded, shard_index=index, num_shards=3)

    threads = [threading.Thread(target=one, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tree(tmp_path / "out") == tree(whole)


def test_a_second_run_finds_everything_done(
    recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    before = tree(whole)
    summary = run(recordings, whole, model, loaded=loaded, workers=3)
    assert (summary.finished, summary.rows, summary.new.rows) == (True, 22, 0)
    assert tree(whole) == before


def hostile(folder: Path) -> dict[str, str]:
    """Recordings and lines of a manifest, each with the status that its row must have."""
    folder.mkdir()
    good = sound(1, 0.5)
    holed = np.where(np.arange(8000) == 77, np.nan, 0.1)
    files = {
        "good.flac": (encode(good, "FLAC"), "ok"),
        "stereo.ogg": (encode(voice(0.5, 48_000, 2), "VORBIS", 48_000), "ok"),
        "empty.wav": (b"", "empty"),
        "nothing.wav": (wav(b""), "empty"),
        "page.flac": (b"<html>404</html>", "decode_error"),
        "noise.mp3": (bytes(range(256)) * 20, "decode_error"),
        "half.flac": (encode(good, "FLAC")[:4000], "truncated"),
        "half.wav": (wav(pcm16(good)[:5000], data_size=16_000), "truncated"),
        "nan.wav": (encode(holed, subtype="FLOAT"), "non_finite"),
        "399.wav": (encode(good[:399]), "too_short"),
        "400.wav": (encode(good[:400]), "ok"),
        "long.wav": (encode(np.zeros(48_000, np.float32)), "too_long"),
        "silence.wav": (encode(np.zeros(16_000, np.float32)), "ok"),
    }
    for name, (data, _) in files.items():
        (folder / name).write_bytes(data)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    lines = [{"audio_filepath": name} for name in files]
    expected = {name: status for name, (_, status) in files.items()}
    for name in ("folder.wav", "pipe.wav", "gone.wav", "a\0b.wav", "../" * 9 + "etc/none.wav"):
        lines.append({"audio_filepath": name})
        expected[name] = "missing"
    odd = (
        ("inside", "ok", {"offset": 0.1, "duration": 0.2}),
        ("behind", "bad_segment", {"offset": 9.0, "duration": 0.2}),
        ("over", "bad_segment", {"offset": 0.3, "duration": 5.0}),
        ("before", "bad_segment", {"offset": -1.0, "duration": 0.2}),
        ("none", "bad_segment", {"offset": 0.1, "duration": -0.2}),
        ("tiny", "too_short", {"offset": 0.1, "duration": 0.02}),
        ("lost its tail", "truncated", {"duration": 7.5}),
    )
    for name, status, times in odd:
        lines.append({"id": name, "audio_filepath": "good.flac", **times})
        expected[name] = status
    (folder / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return expected


def test_every_row_comes_out_once_whatever_it_is(
    tmp_path: Path, model: Path, loaded: Model
) -> None:
    expected = hostile(tmp_path / "audio")
    options = {"max_seconds": 2.0, "loaded": loaded}
    summary = run(tmp_path / "audio" / "list.jsonl", tmp_path / "out", model, workers=2, **options)
    rows = rows_of(tmp_path / "out")
    utterances = list(open_manifest(tmp_path / "audio" / "list.jsonl"))
    assert [row.id for row in rows] == [utterance.id for utterance in utterances]
    found = dict(zip(expected, (str(row.status) for row in rows), strict=True))
    assert found == expected
    assert summary.rows == len(expected)
    assert sum(summary.counts.values()) == len(expected)
    for row in rows:
        assert (row.num_frames > 0) == (row.status is Reason.OK)
        assert row.num_frames == row.durations.sum()
    assert set(summary.new.examples) == {status for status in expected.values() if status != "ok"}
    for message in summary.new.examples.values():
        assert any(extension in message for extension in (".wav", ".flac", ".mp3")), message


def test_other_settings_are_refused_by_name(
    tmp_path: Path, recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    before = tree(whole)
    with pytest.raises(FingerprintError, match="rows_per_shard was 4, is 5"):
        run(recordings, whole, model, loaded=loaded, rows_per_shard=5)
    with pytest.raises(FingerprintError, match=r"max_seconds was 21600.0, is 9.0"):
        run(recordings, whole, model, loaded=loaded, max_seconds=9.0)
    other = replace(loaded, fingerprint={**loaded.fingerprint, "codebook": "0" * 64})
    with pytest.raises(FingerprintError, match=r"codebook was '.*', is '0000"):
        run(recordings, whole, model, loaded=other)
    listed = tmp_path / "list.jsonl"
    names = sorted(recordings.iterdir(), reverse=True)
    listed.write_text("".join(json.dumps({"audio_filepath": str(name)}) + "\n" for name in names))
    with pytest.raises(FingerprintError, match="manifest was "):
        run(listed, whole, model, loaded=loaded)
    assert tree(whole) == before  # and nothing is left behind


def test_a_second_run_on_one_folder_is_refused(
    tmp_path: Path, recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    fingerprint = {"num_clusters": 60}
    with (
        Journal(tmp_path / "out", fingerprint, Plan(22, 4)),
        pytest.raises(LockedError, match=f"in use by process {os.getpid()}"),
    ):
        run(recordings, tmp_path / "out", model, loaded=loaded)


def test_what_cannot_be_is_refused_with_its_value(
    tmp_path: Path, recordings: Path, model: Path
) -> None:
    def refused(match: str, error: type[SpireError] = ConfigError, **options: object) -> None:
        with pytest.raises(error, match=match):
            convert(recordings, tmp_path / "out", **{"model": model, **options})

    refused("workers must be at least 1, got 0", workers=0)
    refused("rows_per_shard.*got 0", rows_per_shard=0)
    refused("engine 'spark'", engine="spark")
    refused("timeout_seconds.*-1", timeout_seconds=-1)
    refused("part 3 of 2 does not exist", SpireError, shard_index=3, num_shards=2)
    refused("unknown model 'nix'", SpireError, model="nix")
    with pytest.raises(ManifestError, match="no recording"):
        convert(tmp_path, tmp_path / "out", model=model)


def failing(loaded: Model, when: object) -> Model:
    """The model, with something that happens before it encodes: `when(waves)` may raise."""

    def encode_some(waves: list[np.ndarray]) -> list[Units]:
        when(waves)
        return loaded.encode(waves)

    return replace(loaded, encode=encode_some)


def test_the_row_on_which_workers_die_gets_a_reason(
    tmp_path: Path, recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    poison = read_audio(sorted(recordings.iterdir())[9])

    def when(waves: list[np.ndarray]) -> None:
        if any(np.array_equal(wave, poison) for wave in waves):
            raise RuntimeError("an illegal instruction, so to speak")

    stream = io.StringIO()
    console = Console(file=stream, width=200)
    broken = failing(loaded, when)
    run(recordings, tmp_path / "out", model, workers=2, loaded=broken, console=console)
    rows = rows_of(tmp_path / "out")
    assert [k for k, row in enumerate(rows) if row.status is not Reason.OK] == [9]
    assert rows[9].status is Reason.DECODE_ERROR
    assert stream.getvalue().count("so to speak") >= 3
    for k, (row, good) in enumerate(zip(rows, rows_of(whole), strict=True)):
        assert k == 9 or np.array_equal(row.units, good.units)


def test_a_worker_that_dies_by_accident_costs_no_row(
    tmp_path: Path, recordings: Path, whole: Path, model: Path, loaded: Model
) -> None:
    calls = itertools.count()

    def when(_: object) -> None:
        if next(calls) in (2, 4, 9):  # in shard 0, there again at another row, and in shard 1
            raise RuntimeError("someone pulled the plug")

    run(recordings, tmp_path / "out", model, loaded=failing(loaded, when))
    assert tree(tmp_path / "out") == tree(whole)


def test_workers_that_always_die_stop_the_job(
    tmp_path: Path, recordings: Path, model: Path, loaded: Model
) -> None:
    def when(_: object) -> None:
        raise RuntimeError("the driver is gone")

    with pytest.raises(WorkersDied, match="the driver is gone"):
        run(recordings, tmp_path / "out", model, loaded=failing(loaded, when))


def test_two_workers_that_disagree_are_refused(
    tmp_path: Path, recordings: Path, model: Path, loaded: Model
) -> None:
    class Different(ThreadEngine):
        def _launch(self, worker: int, spec: Spec) -> None:
            if worker:
                facts = {**loaded.fingerprint, "hardware": "another GPU"}
                self._model = replace(loaded, fingerprint=facts)
            super()._launch(worker, spec)

    with pytest.raises(SpireError, match=r"hardware: .* and 'another GPU'"):
        convert(
            recordings,
            tmp_path / "out",
            model=model,
            rows_per_shard=4,
            engine=lambda spec: Different(spec, 2, loaded),
        )


def test_nothing_leaks(tmp_path: Path, recordings: Path, model: Path, loaded: Model) -> None:
    def held() -> tuple[int, int]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    run(recordings, tmp_path / "first", model, loaded=loaded)
    before = held()
    run(recordings, tmp_path / "second", model, workers=3, loaded=loaded)
    assert held() == before


def test_the_command_says_how_it_ended(
    tmp_path: Path, recordings: Path, model: Path, loaded: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(model: Model = loaded, **options: object) -> int:
        arguments = {"manifest": recordings, "out": tmp_path / "out", "rows_per_shard": 8}
        return main(engine=lambda spec: ThreadEngine(spec, 1, model), **{**arguments, **options})

    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    assert command(failing(loaded, full)) == 28
    assert "No space left on device" in capsys.readouterr().err
    assert command() == 0
    shown = capsys.readouterr().err
    assert "22 in 3 shards" in shown
    assert "finished" in shown
    assert command(rows_per_shard=9) == 2
    assert "rows_per_shard was 8, is 9" in capsys.readouterr().err
    (tmp_path / "two.tsv").write_text(f"{recordings}\nr000.wav\t4000\ngone.wav\t4000\n")
    other = {"manifest": tmp_path / "two.tsv", "out": tmp_path / "other"}
    assert command(**other) == 1
    assert "50.00% of the rows have no units; 0.10% may" in capsys.readouterr().err
    assert command(**other, max_bad=0.5) == 0
