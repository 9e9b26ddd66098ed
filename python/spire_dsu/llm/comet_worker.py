"""Scores translations with unbabel-comet, in an environment of its own.

Run as a file by another interpreter, so it imports nothing of this project: COMET 2.2 pins numpy
and transformers to versions that cannot stand beside ours. Takes a request (JSON) and writes the
answer (JSON): the scores, or one sentence on what went wrong.

    python comet_worker.py REQUEST ANSWER
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("unbabel-comet", "torch", "transformers", "numpy", "pytorch-lightning")


class RequestError(Exception):
    """What was asked for cannot be done; the text is for the user."""


def checkpoint_of(model: str) -> Path:
    """The checkpoint file of a folder, a file, or a hub id that is in the local cache."""
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        found = path / "checkpoints" / "model.ckpt"
        if not found.is_file():
            raise RequestError(f"{model}: no checkpoints/model.ckpt in this folder")
        return found
    from huggingface_hub import snapshot_download

    try:  # not comet.download_model: what is not in the cache, that one tries to fetch
        return Path(snapshot_download(model, local_files_only=True), "checkpoints", "model.ckpt")
    except (OSError, ValueError) as error:
        raise RequestError(
            f"{model}: neither a file, a folder, nor a model in the local cache of the hub"
        ) from error


def sha256(path: Path) -> str:
    """Digest of the checkpoint: its name says nothing about which weights it holds."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_references(model: Any, request: dict[str, Any]) -> None:
    """A model that ignores references would pass unseen for one that reads them."""
    reads = model.requires_references() or "ref" in model.hparams.get("input_segments", ())
    if request["referenceless"] and model.requires_references():
        raise RequestError(f"{request['model']}: a model that needs references; none are given")
    if not request["referenceless"] and not reads:
        raise RequestError(f"{request['model']}: a model that reads no references")


def score(request: dict[str, Any]) -> dict[str, Any]:
    """Loads the model and scores each list of rows of the request by itself."""
    checkpoint = checkpoint_of(request["model"])
    import torch  # seconds; a model that is not there should be told at once
    from comet import load_from_checkpoint

    # unbabel-comet unpickles what it loads, and has no other format: the model must be trusted.
    model = load_from_checkpoint(str(checkpoint), local_files_only=True)
    model.eval()
    check_references(model, request)
    on_gpu = torch.cuda.is_available()
    if request["precision"] == "fp16":
        if not on_gpu:
            raise RequestError("precision fp16 needs a GPU, and torch sees none")
        model.half()
    scores = []
    for rows in request["systems"]:  # one by one: a batch must not depend on who else is scored
        made = model.predict(
            rows,
            batch_size=request["batch_size"],
            gpus=1 if on_gpu else 0,
            progress_bar=request["progress"],
        )
        scores.append([float(value) for value in made.scores])
    return {
        "scores": scores,
        "details": {
            "checkpoint_sha256": sha256(checkpoint),
            "model_class": type(model).__name__,
            "device": torch.cuda.get_device_name(0) if on_gpu else "cpu",
            "precision": request["precision"],
            "batch_size": request["batch_size"],
            "python": platform.python_version(),
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        },
    }


def main() -> None:
    """Reads the request, writes the answer; the exit status is 0 whenever there is an answer."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    try:
        answer = score(request)
    except RequestError as error:
        answer = {"error": str(error)}
    except Exception as error:
        # Whatever unbabel-comet raises over a model or a row is for the user, in one line.
        text = " ".join(str(error).split()) or type(error).__name__
        answer = {"error": f"{type(error).__name__}: {text[:500]}"}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main()
