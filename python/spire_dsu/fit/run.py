"""`fit`: from a manifest to a model folder; goes on where it was stopped."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import JsonValue
from rich.console import Console

from spire_dsu import _core
from spire_dsu.audio import decoder_fingerprint
from spire_dsu.codebook import load_codebook
from spire_dsu.config import ModelConfig, validate
from spire_dsu.convert.job import Check, Interrupted
from spire_dsu.convert.run import DISK_FAILED, DISK_FULL, INTERRUPTED
from spire_dsu.convert.signals import Signals
from spire_dsu.discretizer import Discretizer
from spire_dsu.errors import ConfigError, InputError, ModelError, SpireError
from spire_dsu.features import Encoder
from spire_dsu.files import sha256_of_file, write_atomically
from spire_dsu.fit.cache import NO_PHONE, Cache, Room
from spire_dsu.fit.extract import Extraction
from spire_dsu.fit.phones import PhoneTimes
from spire_dsu.fit.select import Selection, select
from spire_dsu.fit.show import Show
from spire_dsu.fit.state import (
    Extracted,
    FitConfig,
    FitReport,
    check_fingerprint,
    load_state,
    save_state,
)
from spire_dsu.kmeans import Lloyd, Schedule, State, draw_start, perplexity
from spire_dsu.locking import lock_folder, remove_folder
from spire_dsu.manifest import Manifest, open_manifest
from spire_dsu.presets import encoder_folder
from spire_dsu.purity import measure_purity
from spire_dsu.storage import DISK, explain

REPORT = "report.json"
WORK = ".fit"
"""Added to the name of the model folder: the folder of a fit that is not finished."""


def fit(
    manifest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    encoder: str | os.PathLike[str],
    layer: int = 22,
    clusters: int = 5000,
    cache: str = "memory",
    phones: str | os.PathLike[str] | None = None,
    device: str = "auto",
    precision: str = "exact",
    threads: int | None = None,
    form: str | None = None,
    columns: Mapping[str, str] | None = None,
    save_seconds: float = 60.0,
    console: Console | None = None,
    **settings: Any,
) -> FitReport:
    """Fits a codebook to the features of a manifest's audio, and writes a model folder.

    Args:
        manifest: whatever `open_manifest` reads.
        out: the model folder; it appears when all is done. Beside it, OUT.fit holds what an
            interrupted fit goes on from.
        encoder: a Hugging Face HuBERT folder, or a hub id.
        layer, clusters: layer 22 and 5,000 clusters are the paper's (section 3.1).
        cache: where frames stay meanwhile: "memory", or "scratch": a file in OUT.fit, from which an
            interrupted fit also goes on without encoding again.
        phones: phone times, as `fit.phones` says, for PNMI.
        device, precision: as for `Encoder.from_pretrained`.
        threads: on a CPU; by default OMP_NUM_THREADS, else the processors this process may use.
        form, columns: as for `open_manifest`.
        save_seconds: how often the state is saved.
        console: where progress is shown; None: nowhere.
        **settings: the other fields of `FitConfig`.

    Returns:
        What is written to `report.json` of the model folder.

    Raises:
        SpireError: the manifest, the encoder or a setting cannot be used, OUT holds something, or
            OUT.fit another fit or another process.
        Interrupted: SIGTERM or SIGINT came.
        OSError: the disk failed, or is full (ENOSPC).
    """
    config = validate({**settings, "layer": layer, "clusters": clusters}, FitConfig, "fit")
    if cache not in ("memory", "scratch"):
        raise ConfigError(f"cache {cache!r} is neither 'memory' nor 'scratch'")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads must be at least 1, got {threads}")
    final = Path(out)
    work = final.with_name(final.name + WORK)
    if final.exists() and not work.exists() and (not final.is_dir() or any(final.iterdir())):
        raise ModelError(f"{final}: exists and is not an empty folder")
    with Show(console) as show, Signals() as signals, _locked(work):
        files = encoder_folder(encoder)
        loaded = Encoder.from_pretrained(
            files,
            layer=layer,
            normalize_eps=config.normalize_eps,
            device=device,
            precision=precision,
        )
        rows = open_manifest(
            manifest,
            form=form,
            columns=columns,
            work=work / "manifest",
            progress=_each(signals.check, show.reading),
        )
        facts = _fingerprint(config, rows, loaded, phones)
        check_fingerprint(work / "fingerprint.json", facts)
        if (final / REPORT).exists():  # killed after the last step but one
            report = FitReport.model_validate_json((final / REPORT).read_bytes())
        else:
            job = _Job(config, work, show, signals.check, threads or _core.default_threads())
            job.save_seconds = save_seconds
            report = job.run(rows, loaded, cache, phones, facts)
            name = os.fspath(encoder)
            _publish(job.centroids, report, loaded, files, name, work / "model", final)
        shutil.rmtree(work, ignore_errors=True)
    return report


def main(**arguments: Any) -> int:
    """`fit` for a command line: prints, and returns the exit status instead of raising.

    Returns:
        0: done; 2: cannot be carried out; 28: the disk is full; 74: the disk failed; 75:
        interrupted, go on by the same command.
    """
    console = Console(stderr=True)

    def fail(status: int, text: str) -> int:
        console.print(f"spire-dsu: {text}", markup=False, highlight=False, soft_wrap=True)
        return status

    try:
        report = fit(console=console, **arguments)
    except SpireError as error:
        return fail(2, str(error))
    except Interrupted as error:
        return fail(INTERRUPTED, str(error))
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        folder = Path(arguments["out"]).absolute().parent
        return fail(DISK_FULL if full else DISK_FAILED, explain(error, folder))
    Console().print(_summary(report, arguments["out"]), markup=False, highlight=False)
    return 0


class _Job:
    """One fit, from the rows to the centroids."""

    def __init__(
        self, config: FitConfig, work: Path, show: Show, check: Check, threads: int
    ) -> None:
        self._config, self._work = config, work
        self._show, self._check, self._threads = show, check, threads
        self._saved = time.monotonic()
        self.save_seconds = 60.0
        self.centroids = np.empty((0, 0), np.float32)

    def run(
        self,
        rows: Manifest,
        encoder: Encoder,
        cache: str,
        phones: str | os.PathLike[str] | None,
        facts: dict[str, JsonValue],
    ) -> FitReport:
        config = self._config
        chosen, selection = select(
            rows,
            self._work / "chosen",
            seed=config.seed,
            max_per_speaker=config.max_per_speaker,
            hours=config.hours,
            heldout=config.heldout,
            check=self._check,
        )
        self._show.say(_chosen(selection))
        times = None if phones is None else PhoneTimes(phones, {row.id for row in chosen})
        room = Room.within(config.cache_bytes, config.heldout, encoder.dim, config.dtype)
        scratch = self._work / "frames" if cache == "scratch" else None
        frames = Cache(room, scratch)
        try:
            done = self._extract(chosen, encoder, frames, times, scratch)
            lloyd = self._cluster(frames, done)
            self.centroids = lloyd.state.centroids
            return _report(facts, selection, done, lloyd, frames)
        finally:
            frames.close()

    def _extract(
        self,
        chosen: Manifest,
        encoder: Encoder,
        frames: Cache,
        times: PhoneTimes | None,
        scratch: Path | None,
    ) -> Extracted:
        path = self._work / "features.json"
        done = Extracted()
        if scratch is not None and path.exists():
            done = Extracted.model_validate_json(path.read_bytes())
            frames.used = {"fitted": done.fitted, "heldout": done.heldout}
            frames.crc = dict(done.crc)
        extraction = Extraction(
            chosen, encoder, frames, self._config, times, threads=self._threads, done=done
        )

        def after_chunk() -> None:
            self._show.extracting(extraction.done, len(chosen))
            if scratch is not None and self._is_time(extraction.done.finished):
                frames.flush()
                write_atomically(path, extraction.done.model_dump_json().encode())

        if not done.finished:
            self._show.extracting(done, len(chosen))
            extraction.run(after_chunk, self._check)
        return extraction.done

    def _cluster(self, frames: Cache, done: Extracted) -> Lloyd:
        config, path = self._config, self._work / "state.safetensors"
        fitted, heldout = frames.frames("fitted"), frames.frames("heldout")
        if len(fitted) < config.clusters:
            raise InputError(
                f"{config.clusters} clusters need as many frames; the rows have {len(fitted)} "
                f"(rows by status: {done.counts})"
            )
        if path.exists():
            state = load_state(path, frames.crc)
        else:
            self._show.news("k-means: where to start")
            start = draw_start(
                fitted,
                config.clusters,
                seed=config.seed,
                threads=self._threads,
                check=self._check,
            )
            state = State.begin(start, len(fitted))
        lloyd = Lloyd(
            fitted,
            state,
            seed=config.seed,
            heldout_TD=heldout if len(heldout) else None,
            threads=self._threads,
            check=self._check,
        )

        def after_part() -> None:
            self._show.passing(lloyd.state)
            if self._is_time(False):
                save_state(path, lloyd.state, frames.crc)
            self._check()

        lloyd.run(Schedule(config.passes, config.tolerance), after_part)
        return lloyd

    def _is_time(self, now: bool) -> bool:
        """Whether the last save is long ago."""
        due = now or time.monotonic() - self._saved >= self.save_seconds
        if due:
            self._saved = time.monotonic()
        return due


def _fingerprint(
    config: FitConfig, rows: Manifest, encoder: Encoder, phones: str | os.PathLike[str] | None
) -> dict[str, JsonValue]:
    on_gpu = encoder.device.type == "cuda"
    try:
        digest = None if phones is None else sha256_of_file(phones)
    except OSError as error:
        raise InputError(f"{os.fspath(phones or '')}: cannot be read: {error.strerror}") from error
    return {
        **config.model_dump(mode="json"),
        "manifest": rows.digest,
        "encoder": encoder.digest,
        "precision": encoder.precision,
        "chunking": encoder.chunking.model_dump(mode="json"),
        "decoder": decoder_fingerprint(),
        "phones": digest,
        "torch": str(torch.__version__),
        "hardware": torch.cuda.get_device_name(encoder.device)
        if on_gpu
        else f"cpu {torch.backends.cpu.get_cpu_capability()}",
    }


def _report(
    facts: dict[str, JsonValue],
    selection: Selection,
    done: Extracted,
    lloyd: Lloyd,
    frames: Cache,
) -> FitReport:
    inertia, units = lloyd.measure(frames.frames("fitted"))
    counts = np.bincount(units, minlength=len(lloyd.state.centroids))
    phones = frames.phones("fitted")
    heldout, heldout_units = None, np.empty(0, np.int32)
    if frames.used["heldout"]:
        heldout, heldout_units = lloyd.measure(frames.frames("heldout"))
    heldout_phones = frames.phones("heldout")
    known = [int((each != NO_PHONE).sum()) for each in (phones, heldout_phones)]
    return FitReport(
        fingerprint=facts,
        selection=selection,
        features=done,
        passes=[asdict(each) for each in lloyd.state.history],
        converged=lloyd.state.history[-1].settled,
        inertia=inertia,
        heldout_inertia=heldout,
        used=int((counts > 0).sum()),
        dead=int((counts == 0).sum()),
        perplexity=perplexity(counts),
        pnmi=_pnmi(units, phones),
        pnmi_heldout=_pnmi(heldout_units, heldout_phones),
        phone_frames=(known[0], known[1]),
    )


def _pnmi(units: Any, phones: Any) -> float | None:
    known = phones != NO_PHONE
    return measure_purity(units[known], phones[known]).pnmi if known.any() else None


def _publish(
    centroids: Any,
    report: FitReport,
    encoder: Encoder,
    files: Path,
    name: str,
    folder: Path,
    final: Path,
) -> None:
    """Writes the model folder beside, and gives it its name when it is whole."""
    codebook = load_codebook(centroids)
    config = ModelConfig(
        name=final.name or "fitted",
        encoder=name,
        codebook=codebook.source,
        layer=encoder.layer,
        normalize_eps=encoder.normalize_eps,
        chunking=encoder.chunking,
        provenance={"made_by": "spire-dsu fit", "encoder": name, "report": REPORT},
    )
    shutil.rmtree(folder, ignore_errors=True)
    Discretizer(encoder, codebook, config, files).save_pretrained(folder)
    text = json.dumps(report.model_dump(mode="json"), indent=1, sort_keys=True)
    write_atomically(folder / REPORT, text.encode() + b"\n")
    DISK.rename(folder, final)
    DISK.fsync_dir(final.absolute().parent)


@contextlib.contextmanager
def _locked(work: Path) -> Iterator[None]:
    """The folder of the unfinished fit, for this process alone."""
    lock = lock_folder(work / ".tmp" / "fit", DISK)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            remove_folder(work / ".tmp" / "fit", lock, DISK)
        with contextlib.suppress(OSError):
            work.rmdir()  # only where nothing was begun
        os.close(lock)


def _each(check: Check, reading: Callable[[int], None]) -> Callable[[int], None]:
    def progress(rows: int) -> None:
        check()
        reading(rows)

    return progress


def _chosen(selection: Selection) -> str:
    return (
        f"chosen: {selection.rows:,} of {selection.manifest_rows:,} rows, "
        f"{selection.speakers:,} of {selection.manifest_speakers:,} speakers, "
        f"{selection.hours:,.2f} of {selection.manifest_hours:,.2f} h; "
        f"{selection.heldout_rows:,} rows held out, "
        f"{sum(selection.unusable.values()):,} unusable"
    )


def _summary(report: FitReport, out: Any) -> str:
    done = report.features
    bad = {status: count for status, count in done.counts.items() if status != "ok"}
    heldout = "" if report.heldout_inertia is None else f", held out {report.heldout_inertia:.5g}"
    pnmi = "" if report.pnmi is None else f", PNMI {report.pnmi:.4f}"
    return (
        f"wrote {out}: {report.used + report.dead} units from {done.fitted:,} frames; inertia "
        f"{report.inertia:.5g}{heldout}; {report.dead} dead, perplexity {report.perplexity:,.1f}"
        f"{pnmi}; rows without features: {bad or 'none'}"
    )
