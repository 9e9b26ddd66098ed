"""`generate`: the answers of one model to many prompts, in one file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from spire_dsu.config import fingerprint
from spire_dsu.llm.generation import transformers_engine, vllm_engine
from spire_dsu.llm.generation.answers import Answer, AnswerFile, Raw, Request
from spire_dsu.llm.generation.checkpoint import Checkpoint
from spire_dsu.llm.generation.settings import GenerationConfig, GenerationError

Progress = Callable[[int, int], None]


def generate(
    model: str | os.PathLike[str],
    requests: Iterable[Request],
    out: str | os.PathLike[str],
    config: GenerationConfig,
    *,
    progress: Progress | None = None,
) -> None:
    """Answers every prompt, greedily, into a file of JSON lines.

    A run that was killed goes on with the answers it has; a finished file is left as it is. Both
    hold exactly the requests, in their order.

    Args:
        model: a Hugging Face folder.
        requests: prompts with unique ids.
        out: the file; read it with `read_answers`.
        config: how.
        progress: called with (answers there, all requests) after every batch, and when vLLM is
            ready.

    Raises:
        GenerationError: ids repeat, a prompt is empty, too long or of another vocabulary; `out`
            holds answers made otherwise; the engine gave up.
    """
    checkpoint, wanted = Checkpoint(Path(model)), list(requests)
    check(wanted, checkpoint, config)
    file = AnswerFile(Path(out), _settings(checkpoint, config))
    missing = file.missing(wanted)
    by_id, there = {request.id: request for request in missing}, len(wanted) - len(missing)

    def emit(answers: Sequence[Raw]) -> None:
        nonlocal there
        texts = [_answer(raw, checkpoint.tokenizer, config.stop) for raw in answers]
        if texts:
            file.append((by_id[answer.id], answer) for answer in texts)
        there += len(texts)
        if progress:
            progress(there, len(wanted))

    if missing:
        engine = vllm_engine if config.engine == "vllm" else transformers_engine
        engine.answer_all(checkpoint, missing, config, emit)
    file.finish(wanted)


def check(requests: Sequence[Request], checkpoint: Checkpoint, config: GenerationConfig) -> None:
    """Everything that can be wrong with the requests, before a model is loaded.

    Raises:
        GenerationError: names the request.
    """
    longest = config.max_model_len or checkpoint.longest
    if longest > checkpoint.longest:
        raise GenerationError(
            f"max_model_len {longest} is over what {checkpoint.folder} can take, "
            f"{checkpoint.longest}"
        )
    seen: set[str] = set()
    rows = checkpoint.rows
    for request in requests:
        size = request.prompt.size
        if request.id in seen:
            raise GenerationError(f"request {request.id!r}: this id is there twice")
        if not size:
            raise GenerationError(f"request {request.id!r}: the prompt is empty")
        if size + config.max_new_tokens > longest:
            raise GenerationError(
                f"request {request.id!r}: a prompt of {size} tokens and an answer of up to "
                f"{config.max_new_tokens} do not fit the {longest} tokens of the model"
            )
        if not 0 <= int(request.prompt.min()) <= int(request.prompt.max()) < rows:
            raise GenerationError(
                f"request {request.id!r}: token {int(request.prompt.max())} is none of the "
                f"{rows} of {checkpoint.folder}"
            )
        seen.add(request.id)


def _answer(raw: Raw, tokenizer: Any, stop: Sequence[str]) -> Answer:
    """Text of the tokens, made in one place so that the engines cannot differ in it."""
    text = tokenizer.decode(raw.tokens, skip_special_tokens=True)
    ends = [at for at in (text.find(mark) for mark in stop) if at >= 0]
    return Answer(raw.id, text[: min(ends)] if ends else text, tuple(raw.tokens), raw.finish)


def _settings(checkpoint: Checkpoint, config: GenerationConfig) -> str:
    """What decides answers, besides the prompts. The engine counts: its rounding is its own."""
    text = f"{fingerprint(config)} {checkpoint.digest()}"
    return hashlib.sha256(text.encode()).hexdigest()
