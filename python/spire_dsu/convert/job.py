"""What goes between the one who hands out shards and those who make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import Field, JsonValue

from spire_dsu.audio import MAX_SECONDS
from spire_dsu.config import Config
from spire_dsu.shards import ShardInfo


class Interrupted(Exception):  # noqa: N818  (not an error: someone asked for it)
    """SIGTERM or SIGINT came; what is committed stays, and the same command goes on from there."""


class WorkersDied(RuntimeError):  # noqa: N818
    """Workers die again and again, or cannot start; the text holds what the last one said."""


class Spec(Config):
    """What a worker needs to start. All of it goes as JSON.

    Attributes:
        model: a preset, a model folder or a hub id.
        device, precision: as for `Discretizer.from_pretrained`.
        rows: the file that holds the manifest's rows.
        rows_per_shard: R.
        max_seconds: longer recordings and segments are refused.
        timeout_seconds: for decoding one recording.
        decoders: decoding processes of each worker; None: one, and more beside a GPU.
    """

    model: str
    device: str
    precision: str
    rows: str = ""
    rows_per_shard: int = Field(ge=1)
    max_seconds: float = Field(default=MAX_SECONDS, gt=0)
    timeout_seconds: float = Field(default=60.0, gt=0)
    decoders: int | None = Field(default=None, ge=1)


class Target(Config):
    """Where the shards go, known once the journal is open.

    Attributes:
        folder: the output folder.
        scratch: for temporary files, on the same file system.
        fingerprint: the journal's, which goes into every shard.
    """

    folder: str
    scratch: str
    fingerprint: dict[str, JsonValue]


class Facts(Config):
    """What a worker tells when its model is loaded.

    Attributes:
        fingerprint: what decides the units.
        devices: GPUs that it sees; none where it works on the CPU.
        memory: bytes of its resident memory.
    """

    fingerprint: dict[str, JsonValue]
    devices: int
    memory: int


class Tally(Config):
    """What became of rows so far.

    Attributes:
        samples: at 16 kHz, of those with units.
        counts: rows by status.
        examples: the first message of each reason.
    """

    samples: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    examples: dict[str, str] = Field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Progress:
    """A worker has come so far in the shard that it is on."""

    worker: int
    tally: Tally


@dataclass(frozen=True, slots=True)
class Done:
    """A worker has written a shard; it is to be committed."""

    worker: int
    info: ShardInfo
    tally: Tally


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone; its shards are made by others."""

    worker: int
    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing has come for a moment. `shards` are those that workers are on."""

    shards: tuple[int, ...]


Event = Progress | Done | Died | Waiting
Check = Callable[[], None]
"""Raises `Interrupted` once a signal has come; engines call it twice a second at least."""
