"""What a fit is asked for, what it leaves when it is killed, and what it tells at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from spire_dsu.codebook import MAX_CENTROIDS
from spire_dsu.config import Config, differing
from spire_dsu.errors import SpireError
from spire_dsu.files import write_atomically
from spire_dsu.fit.select import Selection
from spire_dsu.journal import FingerprintError
from spire_dsu.kmeans import Pass, State


class FitConfig(Config):
    """Everything that decides the codebook, beside the manifest, the encoder and its precision.

    Attributes:
        clusters: K.
        layer: whose output is clustered.
        normalize_eps: as for `ModelConfig`.
        seed: decides which rows and frames are taken, the start, and where dead centroids go.
        max_per_speaker: rows of one speaker at most; None: any number.
        hours: audio at most.
        heldout: share of the rows, and of the cache, that is measured and not fitted.
        cache_bytes: room for frames; where all do not fit, an even part of each row is taken.
        dtype: how frames are kept, "float32" or "float16".
        passes: over the frames, at most.
        tolerance: a pass that gains a smaller share ends the fit.
        max_seconds, timeout_seconds: as for `convert`.
    """

    clusters: int = Field(ge=1, le=MAX_CENTROIDS)
    layer: int = Field(ge=1, le=1000)
    normalize_eps: float | None = Field(default=1e-5, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)
    max_per_speaker: int | None = Field(default=None, ge=1)
    hours: float = Field(default=100.0, gt=0)
    heldout: float = Field(default=0.02, ge=0, le=0.5)
    cache_bytes: int = Field(default=8 << 30, ge=1)
    dtype: str = Field(default="float32", pattern="^float(32|16)$")
    passes: int = Field(default=30, ge=1)
    tolerance: float = Field(default=5e-4, ge=0, lt=1)
    max_seconds: float = Field(default=3600.0, gt=0)
    timeout_seconds: float = Field(default=60.0, gt=0)


class Extracted(Config):
    """How far the frames have come.

    Attributes:
        chunks: of rows, done.
        rows: done.
        counts: those rows by status.
        examples: the first message of each reason.
        samples: at 16 kHz, of rows with features.
        frames: that those rows have.
        fitted, heldout: frames kept.
        crc: of the frames kept, by kind.
        finished: no more rows are to come.
    """

    chunks: int = 0
    rows: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    examples: dict[str, str] = Field(default_factory=dict)
    samples: int = 0
    frames: int = 0
    fitted: int = 0
    heldout: int = 0
    crc: dict[str, int] = Field(default_factory=dict)
    finished: bool = False


class FitReport(Config):
    """`report.json` of the model folder.

    Attributes:
        fingerprint: settings, manifest, encoder, versions.
        selection: which rows were chosen.
        features: what became of them.
        passes: each with its inertia, the held-out one, and dead centroids that it moved.
        converged: the last pass gained less than the tolerance.
        inertia: mean squared distance of the fitted frames to their nearest centroids.
        heldout_inertia: of the held-out frames; null where there are none.
        used, dead: centroids with and without a fitted frame.
        perplexity: exp of the entropy of the fitted frames' units.
        pnmi, pnmi_heldout: share of the phones' entropy that the units take away (Hsu et al. 2021);
            null where no phone is known.
        phone_frames: fitted and held-out frames whose phone is known.
    """

    fingerprint: dict[str, JsonValue]
    selection: Selection
    features: Extracted
    passes: list[dict[str, JsonValue]]
    converged: bool
    inertia: float
    heldout_inertia: float | None
    used: int
    dead: int
    perplexity: float
    pnmi: float | None
    pnmi_heldout: float | None
    phone_frames: tuple[int, int]


def check_fingerprint(path: Path, now: Mapping[str, JsonValue]) -> None:
    """Notes what a fit depends on, or compares with what was noted before.

    Raises:
        FingerprintError: names each value that differs.
    """
    if not path.exists():
        write_atomically(path, json.dumps(now, indent=1, sort_keys=True).encode())
        return
    changed = differing(json.loads(path.read_bytes()), json.loads(json.dumps(now)))
    if changed:
        raise FingerprintError(
            f"{path.parent} holds an unfinished fit with other settings: {'; '.join(changed)}. "
            "Go on with the same settings, or remove that folder."
        )


def save_state(path: Path, state: State, crc: Mapping[str, int]) -> None:
    """Writes all that `load_state` needs, whole or not at all."""
    facts = {
        "crc": dict(crc),
        "part": state.part,
        "moved": state.moved,
        "history": [asdict(each) for each in state.history],
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        "centroids": state.centroids,
        "sums": state.sums,
        "counts": state.counts,
        "labels": state.labels,
    }
    write_atomically(path, save(arrays, {"state": json.dumps(facts)}))


def load_state(path: Path, crc: Mapping[str, int]) -> State:
    """The state that was saved over the same frames.

    Raises:
        FingerprintError: the frames are other ones, though all that they should depend on is equal.
        SpireError: the file is damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads(file.metadata()["state"])
            arrays = {name: np.array(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        history = [Pass(**each) for each in facts["history"]]
        state = State(**arrays, part=facts["part"], moved=facts["moved"], history=history)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise SpireError(f"{path}: damaged ({error}); remove it to begin anew") from error
    if facts["crc"] != dict(crc):
        raise FingerprintError(
            f"{path}: was fitted to other frames (checksums {facts['crc']}, now {dict(crc)}): a "
            "recording, or the arithmetic of this machine, has changed; remove it to begin anew"
        )
    return state
