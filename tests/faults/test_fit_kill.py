"""A fit that is killed, anywhere and again, comes to the codebook of one that is left alone."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fit_makers import make_corpus, make_encoder
from unit_rows import MULTIPLIER

TESTS = Path(__file__).resolve().parents[1]
KILLS = 5 * MULTIPLIER

# Forks a fit for each line "OUT CACHE SECONDS SIGNAL", and prints how it ended: a fork costs no new
# interpreter. SECONDS below 0: it is left alone. A child has one thread: torch's do not survive it.
SERVER = """
import os, signal, sys, time
from pathlib import Path
from rich.console import Console
import spire_dsu.fit
from spire_dsu.fit import main
corpus, encoder = sys.argv[1:]
print("ready", flush=True)
for line in sys.stdin:
    out, cache, seconds, number = line.split()
    child = os.fork()
    if not child:
        status = main(
            manifest=corpus, out=Path(out), encoder=encoder, layer=2, clusters=60, device="cpu",
            heldout=0.1, cache=cache, threads=1, save_seconds=0.0, tolerance=0.0, passes=12,
        )
        os._exit(status)
    if float(seconds) >= 0:
        time.sleep(float(seconds))
        os.kill(child, int(number))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    """Runs fits that are killed or not."""

    def __init__(self, corpus: Path, encoder: Path) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, corpus, encoder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        assert self.process.stdout is not None
        assert self._answer() == "ready"

    def fit(self, out: Path, cache: str, seconds: float = -1, number: int = 9) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{out} {cache} {seconds} {number}\n")
        self.process.stdin.flush()
        while (answer := self._answer()).lstrip("-").isdigit() is False:
            pass  # what the fit itself prints
        return int(answer)

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server is gone"
        return line.strip()

    def close(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("fit-kill")
    made = Server(make_corpus(folder / "corpus", rows=90), make_encoder(folder))
    yield made
    made.close()


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """The codebook of a fit that is left alone, and its seconds."""
    out = tmp_path_factory.mktemp("whole") / "model"
    begun = time.monotonic()
    assert server.fit(out, "memory") == 0
    return (out / "codebook.safetensors").read_bytes(), time.monotonic() - begun


@pytest.mark.parametrize("cache", ["memory", "scratch"])
def test_the_same_codebook_after_kills(
    server: Server, whole: tuple[bytes, float], tmp_path: Path, cache: str
) -> None:
    rng = random.Random(cache)
    out = tmp_path / "model"
    for kill in range(KILLS):
        number = signal.SIGTERM if kill % 3 == 2 else signal.SIGKILL
        status = server.fit(out, cache, rng.uniform(0.05, 1.1) * whole[1], number)
        assert status in (0, 75, -number), status
        if status == 0:
            break
        assert not (out / "config.json").exists() or (out / "report.json").exists()
    if not out.exists():
        assert server.fit(out, cache) == 0
    assert (out / "codebook.safetensors").read_bytes() == whole[0]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model"]
