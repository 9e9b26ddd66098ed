"""The only door for pickles: `spire-dsu import-codebook`, from a k-means file to safetensors.

A pickle can run code when Python's unpickler reads it. Here no unpickler does: a process of its
own, with nothing but the standard library and most system calls forbidden, interprets the file with
an interpreter that can call nothing (`machine.py`), and hands back numbers, which are checked
again.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from spire_dsu.codebook import check_shape, load_codebook, save_codebook
from spire_dsu.errors import ModelError

_BLOCK = 1 << 20
_LONGEST_REPORT = 1 << 16
_DTYPE = re.compile(r"[<>]f[248]")


@dataclass(frozen=True, slots=True)
class Limits:
    """What reading one file may cost.

    Attributes:
        memory_bytes: address space of the reading process; the arrays themselves stay on disk.
        cpu_seconds: its processor time.
        wall_seconds: the time it may take at all.
        file_bytes: the largest file, also after decompression, on disk in $TMPDIR.
    """

    memory_bytes: int = 512 << 20
    cpu_seconds: int = 120
    wall_seconds: float = 300.0
    file_bytes: int = 8 << 30


def import_codebook(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    trust_pickle: bool,
    limits: Limits | None = None,
) -> Path:
    """Takes the centroids out of a k-means file that scikit-learn's users saved as a pickle.

    Args:
        source: a `KMeans` or `MiniBatchKMeans` saved by `joblib.dump` (any compression) or
            `pickle.dump` (protocols 2 to 5), or an array of centroids saved so. scikit-learn is not
            needed.
        out: the codebook to write, safetensors. Same source, same bytes.
        trust_pickle: must be true: the user knows where the file comes from.
        limits: what reading may cost.

    Returns:
        The path of the codebook.

    Raises:
        ModelError: trust is not given, or the file is no k-means file; nothing of it was executed.
        OSError: `out` cannot be written.
    """
    path = Path(source)
    if not trust_pickle:
        raise ModelError(
            f"{path}: not read: a pickle can run any code when it is loaded. If you know where it "
            "comes from, say so with --trust-pickle (trust_pickle=True); even then it is read in a "
            "process of its own, which knows only what a k-means needs"
        )
    if Path(out).exists() and path.exists() and path.samefile(out):
        raise ModelError(f"{path}: would be replaced by its own codebook; name another --out")
    with _open_regular(path) as file:
        limits = limits or Limits()
        digest = _sha256(file, path, limits)
        report, centroids = _read_in_process(file, path, limits)
    metadata = {
        "source": path.name,
        "source_sha256": digest,
        "source_dtype": str(report["dtype"]),
        "made_by": f"{report['made_by']} {report['version']}".strip(),
    }
    try:
        codebook = load_codebook(centroids)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    save_codebook(out, codebook, metadata)
    return Path(out)


def _open_regular(path: Path) -> BinaryIO:
    """Opens a file that cannot block and has an end: no pipe, no device, no folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ModelError(f"{path}: is not a regular file")
    return os.fdopen(descriptor, "rb")


def _sha256(file: BinaryIO, path: Path, limits: Limits) -> str:
    size = os.fstat(file.fileno()).st_size
    if size > limits.file_bytes:
        raise ModelError(f"{path}: {size} bytes are over the limit of {limits.file_bytes}")
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()


def _read_in_process(
    file: BinaryIO, path: Path, limits: Limits
) -> tuple[dict[str, object], npt.NDArray[np.floating]]:
    """Runs the reading process and checks what it says: its report, and the centroids [K, D]."""
    allowed = {
        "memory_bytes": limits.memory_bytes,
        "cpu_seconds": limits.cpu_seconds,
        "file_bytes": limits.file_bytes,
    }
    # Nothing of the user's goes in, but where a cluster keeps Python's own library.
    environment = {k: v for k, v in os.environ.items() if k == "LD_LIBRARY_PATH"}
    with (
        tempfile.TemporaryFile() as answer,
        tempfile.TemporaryFile() as messages,
        tempfile.TemporaryFile() as scratch,
    ):
        command = [sys.executable, "-I", "-S", "-B", str(Path(__file__).with_name("__main__.py"))]
        try:
            status = subprocess.run(  # noqa: S603  # our own interpreter and file, no shell
                [*command, json.dumps(allowed), str(scratch.fileno())],
                stdin=file,
                stdout=answer,
                stderr=messages,
                pass_fds=[scratch.fileno()],
                env=environment,
                timeout=limits.wall_seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{path}: not read within {limits.wall_seconds} s") from error
        if status:
            messages.seek(0)
            raise ModelError(f"{path}: {_why_it_ended(status, messages.read(4096), limits)}")
        return _checked_answer(answer, path)


def _why_it_ended(status: int, messages: bytes, limits: Limits) -> str:
    if -status in (signal.SIGXCPU, signal.SIGKILL):
        return f"reading it was stopped: over {limits.cpu_seconds} s of processor time"
    last = messages.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
    return f"the reading process ended with status {status}: {last}"


def _checked_answer(
    answer: BinaryIO, path: Path
) -> tuple[dict[str, object], npt.NDArray[np.floating]]:
    size = answer.seek(0, os.SEEK_END)
    answer.seek(max(0, size - 8))
    length = int.from_bytes(answer.read(8), "little")
    if not 0 < length <= min(_LONGEST_REPORT, size - 8):
        raise ModelError(f"{path}: the reading process gave no report")
    answer.seek(size - 8 - length)
    report: dict[str, object] = json.loads(answer.read(length))
    if "error" in report:
        raise ModelError(f"{path}: {report['error']}")
    shape, dtype, order = report["shape"], report["dtype"], report["order"]
    if not isinstance(shape, list) or not all(type(n) is int for n in shape):
        raise ModelError(f"{path}: centroids of shape {shape!r:.80}")
    if not isinstance(dtype, str) or not _DTYPE.fullmatch(dtype) or order not in ("C", "F"):
        raise ModelError(f"{path}: centroids of type {dtype!r:.80}, order {order!r:.80}")
    check_shape(tuple(shape), str(path))  # before memory is taken for them
    wanted = math.prod(shape) * int(dtype[2])
    if wanted != size - 8 - length:
        raise ModelError(
            f"{path}: {size - 8 - length} bytes of centroids, shape {shape} has {wanted}"
        )
    answer.seek(0)
    flat: npt.NDArray[np.floating] = np.frombuffer(answer.read(wanted), dtype=dtype)
    centroids = flat.reshape(shape[::-1]).T if order == "F" else flat.reshape(shape)
    return report, centroids
