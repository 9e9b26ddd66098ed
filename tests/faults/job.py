"""A conversion that can be killed: reads (folder, step, fault) as JSON lines, answers each with how
it ended.

Each runs in a process forked from this one, so that what a kill costs is a fork and no new
interpreter.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from faults.failpoints import FaultyStorage
from unit_rows import convert, make_rows

ROWS = make_rows(20)
ROWS_PER_SHARD = 8


def run(folder: str, step: int, fault: str) -> None:
    """One conversion, in a process of its own; exit status 0 finished, 3 a documented error."""
    try:
        finished = convert(Path(folder), ROWS, ROWS_PER_SHARD, storage=FaultyStorage(step, fault))
    except OSError:
        os._exit(3)
    except BaseException as error:  # a traceback of the child, for the one who reads the test
        sys.stderr.write(f"{error!r}\n")
        os._exit(4)
    os._exit(0 if finished else 5)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:  # what is loaded at first use is loaded here
        convert(Path(folder), ROWS, ROWS_PER_SHARD)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            run(*json.loads(line))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, flush=True)  # noqa: T201  (the answer)
