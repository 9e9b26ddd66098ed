"""Conversions that can be killed. A line of JSON asks for some, a line answers how they ended.

{"folder": F, "step": 7, "fault": "EIO"} fails at one call to the disk;
{"folder": F, "parts": 4, "after": 0.02, "killed": [0, 2]} runs four parts, and kills two of them.
Each runs in a process forked from this one, so that it costs a fork and no new interpreter.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from faults.failpoints import FaultyStorage
from unit_rows import convert, make_rows

ROWS = make_rows(20)
ROWS_PER_SHARD = 8
MANY_ROWS = make_rows(60)
MANY_ROWS_PER_SHARD = 3


def fork(folder: str, part: tuple[int, int], step: int = -1, fault: str = "") -> int:
    """A conversion in a process of its own; it ends with 0 finished, 3 an error, 5 not all done."""
    child = os.fork()
    if child:
        return child
    rows, size = (ROWS, ROWS_PER_SHARD) if part == (0, 1) else (MANY_ROWS, MANY_ROWS_PER_SHARD)
    try:
        disk = FaultyStorage(step, fault)
        finished = convert(Path(folder), rows, size, part=part, storage=disk)
    except OSError as error:
        if not fault:
            sys.stderr.write(f"{error!r}\n")
        os._exit(3)
    except BaseException as error:  # for the one who reads the test
        sys.stderr.write(f"{error!r}\n")
        os._exit(4)
    os._exit(0 if finished else 5)


def wait(child: int) -> int:
    """How a child ended; the negative signal where it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def side_by_side(folder: str, parts: int, after: float, killed: Sequence[int]) -> list[int]:
    """All parts at once, some of them killed after some seconds."""
    children = [fork(folder, (index, parts)) for index in range(parts)]
    time.sleep(after)
    for index in killed:
        os.kill(children[index], signal.SIGKILL)
    return [wait(child) for child in children]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:  # what is loaded at first use is loaded here
        convert(Path(scratch), ROWS, ROWS_PER_SHARD)
    for line in sys.stdin:
        asked = json.loads(line)
        many = "parts" in asked
        answer = side_by_side(**asked) if many else wait(fork(part=(0, 1), **asked))
        print(json.dumps(answer), flush=True)  # noqa: T201  (the answer)
