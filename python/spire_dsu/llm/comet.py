"""COMET and CometKiwi scores from unbabel-comet, which lives in an environment of its own.

The two environments exchange files: a request in JSON for `comet_worker.py`, which the other
interpreter runs, and its answer. Nothing is fetched: a model is a local folder, a checkpoint, or a
hub id that is in the local cache already.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from spire_dsu.errors import InputError, ModelError

SETTING = "SPIRE_COMET_PYTHON"
FOLDER = ".venv-comet"
WORKER = Path(__file__).with_name("comet_worker.py")

DEFAULT_MODELS = {
    "comet": "Unbabel/wmt22-comet-da",
    "cometkiwi": "Unbabel/wmt22-cometkiwi-da",
}
"""The paper's models, by metric."""

Row = Mapping[str, str]
"""`src`, `mt` and, for a model that reads it, `ref`."""


@dataclass(frozen=True, slots=True)
class CometDetails:
    """How scores were made: COMET differs between versions, precisions and checkpoints.

    Attributes:
        model: as it was asked for.
        checkpoint_sha256: digest of the weights that were read.
        model_class: unbabel-comet's class.
        device: "cpu" or the GPU's name.
        precision, batch_size: as asked for.
        python: version of the interpreter.
        versions: of unbabel-comet and what it stands on.
    """

    model: str
    checkpoint_sha256: str
    model_class: str
    device: str
    precision: str
    batch_size: int
    python: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class CometRun:
    """Scores of each list of rows, in order, and how they were made."""

    scores: list[list[float]]
    details: CometDetails


def score_comet(
    rows: Sequence[Row],
    *,
    model: Path | str,
    environment: Path | None = None,
    batch_size: int = 16,
) -> list[float]:
    """One score per row, in order; whether references are read follows from the rows.

    See `run_comet` for the arguments, the errors, and for how the scores were made.
    """
    referenceless = "ref" not in rows[0] if rows else True
    run = run_comet(
        [rows],
        model=model,
        referenceless=referenceless,
        environment=environment,
        batch_size=batch_size,
    )
    return run.scores[0]


def run_comet(
    systems: Sequence[Sequence[Row]],
    *,
    model: Path | str,
    referenceless: bool,
    environment: Path | None = None,
    batch_size: int = 16,
    precision: Literal["fp32", "fp16"] = "fp32",
) -> CometRun:
    """Scores several lists of translations with one model, which is loaded once.

    Lists are scored one after the other, so that a list's scores do not depend on the others.

    Args:
        systems: rows with `src`, `mt` and, unless `referenceless`, `ref`.
        model: a folder with checkpoints/model.ckpt and hparams.yaml, such a checkpoint, or a hub id
            in the local cache. unbabel-comet unpickles it: only what you trust.
        referenceless: whether the model must do without references.
        environment: folder or interpreter of the environment with unbabel-comet; None finds it.
        batch_size: rows at once; the last digits of a score can depend on it.
        precision: "fp16" needs a GPU.

    Raises:
        InputError: a row lacks a text.
        ModelError: no environment, no such model, or unbabel-comet failed; says why.
    """
    wanted = ("src", "mt") if referenceless else ("src", "mt", "ref")
    request = {
        "model": str(Path(model).absolute()) if Path(model).exists() else str(model),
        "systems": [[_row(row, wanted) for row in rows] for rows in systems],
        "referenceless": referenceless,
        "batch_size": batch_size,
        "precision": precision,
        "progress": sys.stderr.isatty(),
    }
    if not systems or not all(systems):
        raise InputError("COMET: no row to score")
    answer = _call(interpreter(environment), request)
    if "error" in answer:
        raise ModelError(f"COMET: {answer['error']}")
    scores = answer["scores"]
    if [len(s) for s in scores] != [len(rows) for rows in systems]:
        raise ModelError("COMET: the number of scores is not the number of rows")
    if not all(math.isfinite(score) for part in scores for score in part):
        raise ModelError(f"COMET: {model} gave a score that is no number")
    return CometRun(scores, CometDetails(model=str(model), **answer["details"]))


def interpreter(environment: Path | None = None) -> Path:
    """The Python that has unbabel-comet.

    Args:
        environment: a virtual environment or an interpreter; None: $SPIRE_COMET_PYTHON, or the
            folder .venv-comet here or beside the sources.

    Raises:
        ModelError: there is none; names where it was looked for.
    """
    setting = os.environ.get(SETTING)
    if environment is not None or setting:
        places = [Path(environment or setting or "")]
    else:
        places = [Path.cwd() / FOLDER, Path(__file__).absolute().parents[3] / FOLDER]
    for place in places:
        python = place / "bin" / "python" if place.is_dir() else place
        if python.is_file():
            return python.absolute()  # not resolved: the link is what makes the environment
    looked = " and ".join(str(place) for place in dict.fromkeys(places))
    raise ModelError(
        f"COMET needs an environment of its own, and {looked} is none: `make venv-comet` makes it, "
        f"{SETTING} names another interpreter"
    )


def _row(row: Row, wanted: Sequence[str]) -> dict[str, str]:
    missing = [key for key in wanted if not isinstance(row.get(key), str)]
    if missing:
        raise InputError(f"COMET: a row without {' and '.join(missing)}: {dict(row)!r:.200}")
    return {key: row[key] for key in wanted}


def _call(python: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="spire-comet-") as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(request), encoding="utf-8")
        # Isolated (-I): beside the worker lies this module, and its name is that of unbabel-comet.
        done = subprocess.run(  # noqa: S603 (an interpreter that the user names)
            [str(python), "-I", str(WORKER), str(asked), str(answered)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if request["progress"] else subprocess.PIPE,
            check=False,
        )
        if not answered.is_file():
            said = (done.stderr or b"").decode(errors="replace").strip().splitlines()
            raise ModelError(
                f"COMET: {python} ended with status {done.returncode} and no scores"
                + (f": {said[-1][:300]}" if said else "")
            )
        found: dict[str, Any] = json.loads(answered.read_text(encoding="utf-8"))
        return found
