"""The commands for a corpus, from a list to files for a trainer, as a user meets them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from audio_makers import encode
from convert_makers import sound

from spire_dsu.cli import main
from spire_dsu.shards import open_shards


@dataclass
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process: a new interpreter for each would take half of the time."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")

    def command(*words: str | Path, cwd: Path) -> Done:
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["spire-dsu", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return Done(int(ended.value.code or 0), shown.out, shown.err)

    return command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings, and a list of them whose name does not tell its form."""
    folder = tmp_path_factory.mktemp("corpus")
    for k in range(3):
        (folder / f"r{k}.flac").write_bytes(encode(sound(k, 0.5), "FLAC"))
    lines = [f"r{k}.flac\t8000\n" for k in range(3)]
    (folder / "list.txt").write_text(f"{folder}\n" + "".join(lines) + "gone.flac\t8000\n")
    return folder


def test_from_a_list_to_a_trainer(folder: Path, tmp_path: Path, run: Run) -> None:
    form = ("--form", "tsv", "--max-bad", "0.5")
    done = run("convert", folder / "list.txt", "units", *form, "--decoders", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 in 1 shards" in done.stderr
    assert "missing" in done.stderr
    rows = list(open_shards(tmp_path / "units"))
    assert [str(row.status) for row in rows] == ["ok", "ok", "ok", "missing"]
    done = run("verify", "units", cwd=tmp_path)
    assert (done.returncode, "1 shards, 4 rows" in done.stdout) == (0, True)
    done = run("inspect", "units", "--html", "units.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "missing" in (tmp_path / "units.html").read_text()
    to = ("--to", "megatron", "--path", "data/speech")
    done = run("export", "units", *to, "--first-unit-token", "7", cwd=tmp_path)
    assert "3 rows" in done.stdout
    assert "1 missing" in done.stdout
    tokens = np.fromfile(tmp_path / "data" / "speech.bin", np.uint16)
    assert np.array_equal(tokens, np.concatenate([row.units for row in rows]) + 7)
    shard = tmp_path / "units" / "units-00000.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = run("verify", "units", cwd=tmp_path)
    assert (done.returncode, "units-00000.parquet" in done.stderr) == (1, True)


def test_a_time_limit_makes_rows_with_a_reason(folder: Path, tmp_path: Path, run: Run) -> None:
    short = ("--timeout", "0.000001", "--max-bad", "1")
    done = run("convert", folder, "units", *short, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [str(row.status) for row in open_shards(tmp_path / "units")] == ["timeout"] * 3


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["convert", "list.txt", "out"], "say which"),
        (["convert", "list.txt", "out", "--form", "csv"], "unknown form 'csv'"),
        (["convert", ".", "out", "--timeout", "-3"], "-3"),
        (["convert", ".", "out", "--decoders", "0"], "0"),
        (["convert", "corpus:nix:/x:train", "out"], "nix"),
        (["verify", "nowhere"], "nowhere"),
        (["inspect", "nowhere"], "nowhere"),
        (["export", "nowhere", "--to", "km", "--path", "x"], "nowhere"),
    ],
)
def test_a_mistake_is_one_message(words: list[str], text: str, folder: Path, run: Run) -> None:
    done = run(*words, cwd=folder)
    assert done.returncode == (1 if words[0] == "verify" else 2)
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_help_says_what_is_read_and_written_with_an_example(tmp_path: Path, run: Run) -> None:
    for command in ("convert", "verify", "inspect", "export"):
        shown = " ".join(run(command, "--help", cwd=tmp_path).stdout.split())
        assert f"Example: spire-dsu {command}" in shown
        assert "Reads" in shown
        assert "writes" in shown.lower()
