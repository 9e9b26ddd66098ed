"""Which checkpoint of a run is whole, and whether a run may go on from it.

transformers writes a checkpoint file by file. It counts from the moment on that `complete.json`
stands in it, with the size and digest of every other file; a folder without it is what a killed run
left behind, and is removed.

Optimizer, schedule and random numbers are in the Trainer's own files, which are pickles inside; the
Trainer reads them with torch's restricted loader. They are this run's own output: a checkpoint is
only gone on with if each file has the digest that was written down when the run made it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spire_dsu.errors import ConfigError, ModelError
from spire_dsu.files import sha256_of_file, write_atomically

COMPLETE = "complete.json"
RUN = "run.json"
_NAME = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A whole checkpoint.

    Attributes:
        folder: where it is.
        step: steps that were done.
        processes: how many wrote it.
    """

    folder: Path
    step: int
    processes: int


def seal(folder: Path, *, step: int, processes: int) -> None:
    """Declares a checkpoint whole; its files are on disk then."""
    files = {}
    for path in _files(folder):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        files[str(path.relative_to(folder))] = {
            "bytes": path.stat().st_size,
            "sha256": sha256_of_file(path),
        }
    content = {"step": step, "processes": processes, "files": files}
    write_atomically(folder / COMPLETE, json.dumps(content, indent=1).encode())


def prune(out: Path, keep: int, best: str | None = None) -> None:
    """Removes all but the last `keep` whole checkpoints and the best, and those that are not whole.

    Args:
        out: their folder.
        keep: how many.
        best: folder of one that stays, too.
    """
    whole = {folder.name for _, folder in _sealed(out)[-keep:]} | {Path(best or "").name}
    for folder in out.glob("checkpoint-*"):
        if folder.name not in whole:
            shutil.rmtree(folder)


def last(out: Path) -> Checkpoint | None:
    """The last whole checkpoint, every byte read; None if there is none.

    Raises:
        ModelError: a file of it has changed; names the file.
    """
    found = _sealed(out)
    if not found:
        return None
    step, folder = found[-1]
    content = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
    for name, about in content["files"].items():
        path = folder / name
        if (
            not path.is_file()
            or path.stat().st_size != about["bytes"]
            or sha256_of_file(path) != about["sha256"]
        ):
            raise ModelError(
                f"{path} is not what was written: remove {folder} to go on from the checkpoint "
                "before it"
            )
    return Checkpoint(folder, step, int(content["processes"]))


def claim(out: Path, identity: dict[str, Any]) -> None:
    """Binds an output folder to one run, or checks that it is this one's.

    Args:
        out: the folder.
        identity: plain data that decides what is learned.

    Raises:
        ConfigError: the folder belongs to another run; names what differs.
    """
    path = out / RUN
    if not path.is_file():
        write_atomically(path, json.dumps(identity, indent=1, sort_keys=True).encode())
        return
    known = json.loads(path.read_text(encoding="utf-8"))
    for key in sorted(known.keys() | identity.keys()):
        if known.get(key) != identity.get(key):
            raise ConfigError(
                f"{out} belongs to another run: its {key} was {known.get(key)!r} and is now "
                f"{identity.get(key)!r}; choose another out"
            )


def digests_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that makes a Hugging Face folder what it is, by name.

    Raises:
        ModelError: there is no such folder, or it holds no `config.json`.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: not a Hugging Face model folder: it has no config.json")
    return {
        path.name: sha256_of_file(path)
        for path in sorted(folder.iterdir())
        if path.suffix in (".json", ".safetensors", ".model", ".jinja")
    }


def _sealed(out: Path) -> list[tuple[int, Path]]:
    found = []
    for folder in out.glob("checkpoint-*"):
        match = _NAME.fullmatch(folder.name)
        if match and (folder / COMPLETE).is_file():
            found.append((int(match[1]), folder))
    return sorted(found)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
