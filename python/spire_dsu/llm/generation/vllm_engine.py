"""Greedy generation by vLLM, which runs in an interpreter of its own.

vLLM pins torch and transformers to versions that need not be ours, so `vllm_worker.py` is run by
the interpreter that has it, gets its prompts in a file and sends its answers through a pipe.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from spire_dsu.llm.generation.answers import Emit, Raw, Request
from spire_dsu.llm.generation.checkpoint import Checkpoint
from spire_dsu.llm.generation.settings import GenerationConfig, GenerationError

VARIABLE = "SPIRE_VLLM_PYTHON"
_WORKER = Path(__file__).with_name("vllm_worker.py")
_LOG_LINES = 12
_GOODBYE = 60.0  # seconds


def interpreter() -> Path:
    """The Python that has vLLM: $SPIRE_VLLM_PYTHON, this one, or .venv-vllm beside its own venv.

    Raises:
        GenerationError: there is none.
    """
    named = os.environ.get(VARIABLE)
    if named:
        if not os.access(named, os.X_OK):
            raise GenerationError(f"{VARIABLE}={named}: no such interpreter")
        return Path(named)
    if importlib.util.find_spec("vllm"):
        return Path(sys.executable)
    for place in (Path(sys.prefix).parent, Path.cwd()):
        python = place / ".venv-vllm" / "bin" / "python"
        if os.access(python, os.X_OK):
            return python
    raise GenerationError(
        f"vLLM is in none of ${VARIABLE}, {sys.executable} and .venv-vllm: install it, or take "
        'engine = "transformers"'
    )


def answer_all(
    checkpoint: Checkpoint, requests: Sequence[Request], config: GenerationConfig, emit: Emit
) -> None:
    """Answers the prompts in whatever order vLLM finishes them.

    Args:
        checkpoint: the model.
        requests: none too long.
        config: see there.
        emit: gets each answer; and nothing, once, when the engine is ready.

    Raises:
        GenerationError: there is no vLLM, or it gave up; holds the end of what it said.
    """
    python = interpreter()
    with tempfile.TemporaryDirectory(prefix="spire-vllm-") as scratch:
        job = Path(scratch) / "job.json"
        job.write_text(json.dumps(_job(checkpoint, requests, config)), encoding="utf-8")
        log = Path(scratch) / "log.txt"
        missing = {request.id for request in requests}
        for found in _run(python, job, log):
            emit(found)
            missing -= {raw.id for raw in found}
        if missing:
            said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
            raise GenerationError(
                f"vLLM ({python}) ended with {len(missing)} of {len(requests)} prompts "
                "unanswered; its last words:\n" + "\n".join(said)
            )


def _job(
    checkpoint: Checkpoint, requests: Sequence[Request], config: GenerationConfig
) -> dict[str, object]:
    return {
        "model": str(checkpoint.folder),
        "prompts": [[request.id, request.prompt.tolist()] for request in requests],
        "num_tokens": checkpoint.num_tokens,
        "rows": checkpoint.rows,
        "end_tokens": checkpoint.end_tokens,
        **config.model_dump(mode="json", exclude={"engine", "batch_size"}),
    }


def _run(python: Path, job: Path, log: Path) -> Iterator[list[Raw]]:
    """Runs the worker; yields an empty list when it is ready, and then each answer."""
    # A pipe of its own: vLLM logs to standard output, its engine process too.
    receiver, sender = os.pipe()
    hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
    with log.open("wb") as said, os.fdopen(receiver, encoding="utf-8") as answers:
        try:
            worker = subprocess.Popen(  # noqa: S603 - the user's own interpreter
                # -I: the folder of the worker is no place to import from, nor is ours.
                [python, "-I", _WORKER, job, str(sender)],
                pass_fds=(sender,),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env={k: v for k, v in os.environ.items() if k not in hidden},
            )
        finally:
            os.close(sender)
        try:
            for line in answers:
                sent = json.loads(line)
                yield [Raw(**sent)] if sent else []
            worker.wait(_GOODBYE)
        except subprocess.TimeoutExpired:
            pass  # every answer is here; an engine that cannot end by itself is ended
        finally:
            worker.terminate()
            worker.wait()
