"""`convert`: a manifest in, a folder of shards out, whatever happens on the way."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from spire_dsu.audio import MAX_SECONDS
from spire_dsu.config import validate
from spire_dsu.convert.engine import Engine
from spire_dsu.convert.job import Check, Done, Interrupted, Spec, Target, WorkersDied
from spire_dsu.convert.local import LocalEngine
from spire_dsu.convert.progress import Display, Summary
from spire_dsu.convert.signals import Signals
from spire_dsu.errors import ConfigError, SpireError
from spire_dsu.journal import Journal, Plan
from spire_dsu.locking import LockedError, lock_folder, remove_folder
from spire_dsu.manifest import Manifest, open_manifest
from spire_dsu.shards import MANIFEST, totals
from spire_dsu.storage import DISK, explain

ROWS = ".manifest"
"""Where the manifest's rows are kept while a conversion is not finished, in the output folder."""

INTERRUPTED, DISK_FULL, DISK_FAILED, WORKERS_DIED = 75, 28, 74, 70

Launcher = Callable[[Spec], Engine]


def convert(
    manifest: str | os.PathLike[str] | Manifest,
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = "mini",
    engine: str | Launcher = "local",
    workers: int | None = None,
    rows_per_shard: int = 4096,
    shard_index: int = 0,
    num_shards: int = 1,
    device: str = "auto",
    precision: str = "auto",
    form: str | None = None,
    columns: Mapping[str, str] | None = None,
    max_seconds: float = MAX_SECONDS,
    timeout_seconds: float = 60.0,
    decoders: int | None = None,
    console: Console | None = None,
) -> Summary:
    """Converts every row of a manifest; goes on where an earlier run of the same was stopped.

    Args:
        manifest: whatever `open_manifest` reads, or what it returned.
        out: the output folder; see `spire_dsu.shards`.
        model: a preset, a model folder or a hub id.
        engine: "local": processes of this machine; "ray": actors of the Ray cluster that
            RAY_ADDRESS names, or of one made here; or what makes an `Engine`.
        workers: how many; None: one for each GPU, or for each core where there is none.
        rows_per_shard: a shard takes so many rows of the manifest, the last one what is left.
        shard_index, num_shards: this run makes part `shard_index` of `num_shards`; runs of the
            other parts share `out`, and the last one to end writes `manifest.json`.
        device, precision: as for `Discretizer.from_pretrained`.
        form, columns: as for `open_manifest`.
        max_seconds: longer recordings and segments become rows with the reason `too_long`.
        timeout_seconds: for decoding one recording.
        decoders: decoding processes of each worker; None: one on a CPU, up to 16 beside a GPU.
        console: where progress is shown; None: nowhere.

    Returns:
        What is committed, of this part.

    Raises:
        SpireError: the manifest, the model or a setting cannot be used, the folder holds another
            conversion, or another run works in it.
        Interrupted: SIGTERM or SIGINT came. What is committed stays.
        OSError: the disk failed, or is full (ENOSPC). What is committed stays.
        WorkersDied: workers die again and again.
    """
    settings: dict[str, Any] = {
        "model": _model_name(model),
        "device": device,
        "precision": precision,
        "rows_per_shard": rows_per_shard,
        "max_seconds": float(max_seconds),
        "timeout_seconds": float(timeout_seconds),
        "decoders": decoders,
    }
    spec = validate(settings, Spec, "convert")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers must be at least 1, got {workers}")
    launch = _launcher(engine, workers)
    folder = Path(out)
    with Display(console) as display, Signals() as signals:
        rows = _open_rows(manifest, folder, form, columns, display, signals.check)
        spec = spec.model_copy(update={"rows": str(rows.path.absolute())})
        try:
            with launch(spec) as running:
                part = (shard_index, num_shards)
                signals.install()  # Ray takes them
                return _run(running, rows, spec, folder, part, display, signals.check)
        finally:
            _tidy(folder)


def main(*, max_bad: float = 0.001, **arguments: Any) -> int:
    """`convert` for a command line: prints, and returns the exit status instead of raising.

    Args:
        max_bad: share of rows that may have a reason instead of units.
        **arguments: those of `convert`, without `console`.

    Returns:
        0: done; 1: done, with more rows without units than `max_bad`; 2: cannot be carried out;
        28: the disk is full; 70: workers die; 74: the disk failed; 75: interrupted, go on by the
        same command.
    """
    console = Console(stderr=True)

    def fail(status: int, text: str) -> int:
        console.print(f"spire-dsu: {text}", markup=False, highlight=False, soft_wrap=True)
        return status

    try:
        summary = convert(console=console, **arguments)
    except SpireError as error:
        return fail(2, str(error))
    except Interrupted as error:
        return fail(INTERRUPTED, str(error))
    except WorkersDied as error:
        return fail(WORKERS_DIED, str(error))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return fail(DISK_FULL if full else DISK_FAILED, explain(error, Path(arguments["out"])))
    console.print(summary.table())
    if summary.bad_share > max_bad:
        return fail(1, f"{summary.bad_share:.2%} of the rows have no units; {max_bad:.2%} may")
    return 0


def _run(
    engine: Engine,
    rows: Manifest,
    spec: Spec,
    folder: Path,
    part: tuple[int, int],
    display: Display,
    check: Check,
) -> Summary:
    plan = Plan(len(rows), spec.rows_per_shard)
    mine = plan.part(*part)
    fingerprint = {**engine.start(check).fingerprint, "manifest": rows.digest}
    with Journal(folder, fingerprint, plan, part=part) as journal:
        pending = journal.pending()
        done = sum(info.rows for k, info in journal.committed.items() if k in mine)
        display.begin(sum(len(plan.rows(k)) for k in pending), done)
        target = Target(
            folder=str(folder.absolute()),
            scratch=str(journal.scratch.absolute()),
            fingerprint=journal.fingerprint,
        )
        if pending:
            for event in engine.run(target, pending, check):
                if isinstance(event, Done):
                    journal.commit(event.info)
                display.show(event)
        shards = [info for k, info in journal.committed.items() if k in mine]
        finished = journal.finish() is not None
    new, seconds = display.tally, display.seconds
    return Summary(folder, finished, len(shards), **totals(shards), new=new, seconds=seconds)


def _launcher(engine: str | Launcher, workers: int | None) -> Launcher:
    if callable(engine):
        return engine
    if engine == "local":
        return lambda spec: LocalEngine(spec, workers)
    if engine == "ray":
        from spire_dsu.convert.cluster import RayEngine

        return lambda spec: RayEngine(spec, workers)
    raise ConfigError(f"engine {engine!r} is neither 'local' nor 'ray'")


def _model_name(model: str | os.PathLike[str]) -> str:
    """A path that is said to be one is made absolute: workers may have another current folder."""
    name = os.fspath(model)
    is_path = not isinstance(model, str) or name.startswith((".", "~", "/"))
    return str(Path(name).expanduser().absolute()) if is_path else name


def _open_rows(
    manifest: str | os.PathLike[str] | Manifest,
    folder: Path,
    form: str | None,
    columns: Mapping[str, str] | None,
    display: Display,
    check: Check,
) -> Manifest:
    """The manifest's rows, kept in the output folder until all is done: ten million take minutes to
    read, and none when a run goes on.

    Each manifest has a folder of its own there, so that no other command can replace what a run
    reads. Of several parts, one reads while the others wait.
    """
    if isinstance(manifest, Manifest):
        return manifest

    def progress(rows: int) -> None:
        check()
        display.reading(rows)

    text = os.fspath(manifest)
    facts: list[Any] = [text, os.path.realpath(text), form, sorted((columns or {}).items())]
    if os.path.isfile(text):  # noqa: PTH113  (may be "corpus:...", which is no path)
        facts.append([os.path.getsize(text), os.stat(text).st_mtime_ns])  # noqa: PTH116, PTH202
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    if not folder.exists():
        DISK.make_dir(folder)
        DISK.fsync_dir(folder.absolute().parent)
    lock = None
    while lock is None:
        check()
        try:
            lock = lock_folder(folder / ROWS, DISK)
        except LockedError:
            time.sleep(0.2)
    try:
        work = folder / ROWS / key
        return open_manifest(text, form=form, columns=columns, work=work, progress=progress)
    finally:
        os.close(lock)


def _tidy(folder: Path) -> None:
    """Removes the manifest's rows once the conversion is finished: nobody needs them."""
    if not (folder / MANIFEST).exists() or not (folder / ROWS).exists():
        return
    with contextlib.suppress(OSError, LockedError):  # what stays is removed by the next run
        lock = lock_folder(folder / ROWS, DISK)
        try:
            for path in (folder / ROWS).iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
            remove_folder(folder / ROWS, lock, DISK)
        finally:
            os.close(lock)
