"""The table of rows behind every form: any row at once, flat memory, no damage goes unseen."""

from __future__ import annotations

import copy
import fcntl
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spire_dsu.errors import ManifestError
from spire_dsu.manifest import Manifest, open_manifest
from spire_dsu.manifest.build import FILE_NAME
from spire_dsu.manifest.ids import UniqueIds
from spire_dsu.manifest.row_file import RowFile
from spire_dsu.types import Utterance

MULTIPLIER = int(os.environ.get("SPIRE_TEST_MULTIPLIER", "1"))


def write_rows(path: Path, count: int, **common: object) -> Path:
    rows = ({"audio_filepath": f"a/{n}.wav", "text": f"row {n}"} | common for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sources(manifest: Manifest) -> list[str]:
    return [row.source for row in manifest]


# --- any row at once ---


def test_any_range_of_rows_is_that_slice(tmp_path: Path) -> None:
    manifest = open_manifest(write_rows(tmp_path / "m.jsonl", 3000))
    rows = list(manifest)
    assert len(manifest) == len(rows) == 3000
    assert [row.text for row in rows] == [f"row {n}" for n in range(3000)]
    random.seed(1)
    borders = [0, 1, 1023, 1024, 1025, 2047, 2048, 2999, 3000]
    borders += random.sample(range(3000), 3)
    for start in borders:
        for stop in borders:
            if start <= stop:
                assert list(manifest.rows(start, stop)) == rows[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 4), (4, 4)])
def test_a_range_outside_is_refused(tmp_path: Path, start: int, stop: int) -> None:
    manifest = open_manifest(write_rows(tmp_path / "m.jsonl", 3))
    with pytest.raises(ManifestError, match=f"rows {start} to {stop} of a manifest of 3"):
        list(manifest.rows(start, stop))


def test_another_process_needs_only_the_path(tmp_path: Path) -> None:
    manifest = open_manifest(write_rows(tmp_path / "m.jsonl", 1500), work=tmp_path / "out")
    rebuild, arguments = manifest.__reduce__()
    assert arguments == (str(tmp_path / "out" / FILE_NAME),)
    other = copy.copy(manifest)
    assert type(other) is rebuild is Manifest
    assert list(other.rows(1400, 1500)) == list(manifest.rows(1400, 1500))


def test_a_manifest_of_its_own_cleans_up(tmp_path: Path) -> None:
    manifest = open_manifest(write_rows(tmp_path / "m.jsonl", 3))
    rows = Path(manifest.__reduce__()[1][0])
    assert rows.is_file()
    manifest.close()
    assert not rows.parent.exists()


# --- the digest ---


def test_the_digest_is_of_what_the_rows_say(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.jsonl", 5)
    digest = open_manifest(path).digest
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(path, tmp_path / "elsewhere" / "other.json"))
    assert open_manifest(moved).digest == digest
    moved.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert open_manifest(moved).digest == digest
    for change in (
        {"text": "x"},
        {"lang": "en"},
        {"speaker": "s"},
        {"duration": 1.0},
        {"offset": 0.5},
        {"audio_filepath": "b.wav"},
        {"offset": -1.0},
    ):
        other = open_manifest(write_rows(tmp_path / "n.jsonl", 5, **change))
        assert other.digest != digest, change
    lines = path.read_text().splitlines(keepends=True)
    moved.write_text("".join([lines[1], lines[0], *lines[2:]]))
    assert open_manifest(moved).digest != digest


# --- kept between runs ---


def test_rows_are_kept_until_the_manifest_changes(tmp_path: Path) -> None:
    path, work = write_rows(tmp_path / "m.jsonl", 2048), tmp_path / "out"
    calls: list[int] = []
    first = open_manifest(path, work=work, progress=calls.append)
    assert calls == [1024, 2048]
    again = open_manifest(path, work=work, progress=calls.append)
    assert (again.digest, len(calls)) == (first.digest, 2)
    assert sorted(p.name for p in work.iterdir()) == [FILE_NAME]
    open_manifest(path, work=work, keep=("more",), progress=calls.append)
    assert len(calls) == 4
    write_rows(path, 2049)
    changed = open_manifest(path, work=work)
    assert (len(changed), changed.digest != first.digest) == (2049, True)


def test_a_new_file_in_a_folder_is_seen(tmp_path: Path) -> None:
    (tmp_path / "audio" / "in").mkdir(parents=True)
    (tmp_path / "audio" / "in" / "b.wav").touch()
    work = tmp_path / "audio" / "out"  # beside the recordings, as people do
    assert sources(open_manifest(tmp_path / "audio", work=work)) == ["in/b.wav"]
    inode = (work / FILE_NAME).stat().st_ino
    open_manifest(tmp_path / "audio", work=work)
    assert (work / FILE_NAME).stat().st_ino == inode
    (tmp_path / "audio" / "in" / "a.wav").touch()
    found = sources(open_manifest(tmp_path / "audio", work=work))
    assert found == ["in/a.wav", "in/b.wav"]


def test_a_manifest_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.jsonl", 2000)

    def meddle(_: int) -> None:
        with path.open("a") as file:
            file.write('{"audio_filepath": "late.wav"}\n')

    with pytest.raises(ManifestError, match="changed while it was read"):
        open_manifest(path, work=tmp_path / "out", progress=meddle)
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_a_running_one_is_not(tmp_path: Path) -> None:
    dead, alive = tmp_path / "out/.manifest-build-dead", tmp_path / "out/.manifest-build-alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        (folder / FILE_NAME).write_bytes(b"half")
    with (alive / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        open_manifest(write_rows(tmp_path / "m.jsonl", 3), work=tmp_path / "out")
        assert {p.name for p in (tmp_path / "out").iterdir()} == {FILE_NAME, alive.name}
    open_manifest(tmp_path / "m.jsonl", work=tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {FILE_NAME}


# --- damage ---


def read_all(path: Path) -> list[Utterance]:
    """Every byte of the file is behind a checksum of what this reads."""
    rows = list(Manifest(path))
    assert list(RowFile(path).notes())
    return rows


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "m.jsonl", 1500)
    expected = list(open_manifest(path, work=tmp_path))
    file = tmp_path / FILE_NAME
    whole = file.read_bytes()
    random.seed(2)
    places = {
        0,
        len(whole) - 1,
        len(whole) - 20,
        *random.sample(range(len(whole)), 60 * MULTIPLIER),
    }
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << random.randrange(8)
        file.write_bytes(damaged)
        with pytest.raises(ManifestError):
            read_all(file)
    file.write_bytes(whole)
    assert read_all(file) == expected


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_torn_file_is_made_again(tmp_path: Path, share: float) -> None:
    path = write_rows(tmp_path / "m.jsonl", 1500)
    expected = open_manifest(path, work=tmp_path).digest
    file = tmp_path / FILE_NAME
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(ManifestError):
        Manifest(file)
    assert open_manifest(path, work=tmp_path).digest == expected


# --- ids ---


@settings(max_examples=60 * MULTIPLIER, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "a#2", "a.wav", "a.wav#2", "c"]),
            st.sampled_from([None, "a.wav", "a.flac", "b.wav", "a#2.wav", "a"]),
        ),
        max_size=30,
    )
)
def test_ids_become_unique_and_given_ones_stay(rows: list[tuple[str, str | None]]) -> None:
    given_ids = Counter(name for name, second in rows if second is None)
    with UniqueIds(Path(tempfile.gettempdir())) as ids:
        for name, _ in rows:
            ids.add(name)
        arguments = (lambda found: ((int(n), *rows[n]) for n in found), lambda row: f"row {row}")
        if any(count > 1 for count in given_ids.values()):
            with pytest.raises(ManifestError, match="duplicate id"):
                ids.resolve(*arguments)
            return
        renamed = ids.resolve(*arguments)
    final = [renamed.get(n, name) for n, (name, _) in enumerate(rows)]
    assert len(set(final)) == len(final)
    assert all(second is not None for n, (_, second) in enumerate(rows) if n in renamed)


def test_many_rows_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text('{"audio_filepath": "a.wav"}\n' * 5000 + '{"audio_filepath": "a.flac"}\n')
    names = [row.id for row in open_manifest(path)]
    assert names == ["a.wav", *(f"a.wav#{n}" for n in range(2, 5001)), "a.flac"]


# --- size ---

MEASURE = """
import resource, sys
from spire_dsu.manifest import open_manifest

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def rows(count, path):
    with open(path, "w") as file:
        file.write("audio\\n")
        file.writelines(f"{n % 1000}/{n:08d}.flac\\t16000\\n" for n in range(count))
    with open_manifest(path) as manifest:
        assert len(manifest) == count
        last = list(manifest.rows(count - 2, count))
        assert last[1].id == f"{(count - 1) % 1000}/{count - 1:08d}"

rows(50_000, sys.argv[1])
before = peak()
rows(int(sys.argv[2]), sys.argv[1])
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    count = 50_000 + 250_000 * min(MULTIPLIER, 40)
    run = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path / "m.tsv"), str(count)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    # A name kept for each row would be 15 MB at least.
    assert float(run.stdout) < 12, f"{run.stdout} MB more for {count} rows than for 50,000"
