"""Greedy generation by transformers, in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from spire_dsu.llm.generation.answers import Emit, Finish, Raw, Request
from spire_dsu.llm.generation.checkpoint import Checkpoint
from spire_dsu.llm.generation.settings import GenerationConfig


def answer_all(
    checkpoint: Checkpoint, requests: Sequence[Request], config: GenerationConfig, emit: Emit
) -> None:
    """Answers the longest prompts first, so that memory runs out at once or never.

    Args:
        checkpoint: the model.
        requests: none too long.
        config: see there; `batch_invariant` means one prompt at a time.
        emit: gets the answers of each batch.
    """
    model = _load(checkpoint, config)
    size = 1 if config.batch_invariant else config.batch_size
    by_length = sorted(requests, key=lambda request: -request.prompt.size)
    for start in range(0, len(by_length), size):
        emit(_answer_batch(model, checkpoint, by_length[start : start + size], config))


def _load(checkpoint: Checkpoint, config: GenerationConfig) -> Any:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers import GenerationConfig as Settings

    model: Any = AutoModelForCausalLM.from_pretrained(
        checkpoint.folder, dtype=getattr(torch, config.dtype), local_files_only=True
    )
    ends = checkpoint.end_tokens
    # In place of the folder's own settings, which may sample or punish repetition.
    model.generation_config = Settings(  # type: ignore[no-untyped-call, unused-ignore]
        do_sample=False,
        num_beams=1,
        max_new_tokens=config.max_new_tokens,
        eos_token_id=ends,
        pad_token_id=ends[0],
        suppress_tokens=list(range(checkpoint.num_tokens, checkpoint.rows)) or None,
    )
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _answer_batch(
    model: Any, checkpoint: Checkpoint, batch: Sequence[Request], config: GenerationConfig
) -> list[Raw]:
    import torch

    longest = max(request.prompt.size for request in batch)
    ids_NL = torch.full((len(batch), longest), checkpoint.end_tokens[0], dtype=torch.long)
    mask_NL = torch.zeros_like(ids_NL)
    for row, request in enumerate(batch):
        ids_NL[row, longest - request.prompt.size :] = torch.from_numpy(request.prompt)
        mask_NL[row, longest - request.prompt.size :] = 1
    with torch.inference_mode():
        made_NL = model.generate(
            ids_NL.to(model.device),
            attention_mask=mask_NL.to(model.device),
            stopping_criteria=_criteria(checkpoint, config.stop, longest),
        )
    rows = made_NL[:, longest:].tolist()
    return [
        Raw(request.id, *_ended(row, checkpoint, config))
        for request, row in zip(batch, rows, strict=True)
    ]


def _ended(
    row: list[int], checkpoint: Checkpoint, config: GenerationConfig
) -> tuple[list[int], Finish]:
    """A row of a batch up to its own end: what follows is padding while others went on."""
    decode = checkpoint.tokenizer.decode
    for at, token in enumerate(row):
        if token in checkpoint.end_tokens:
            return row[:at], "end"
        if config.stop and has_stop(decode(row[: at + 1], skip_special_tokens=True), config.stop):
            return row[: at + 1], "stop"
    return row, "length"


def has_stop(text: str, stop: Sequence[str]) -> bool:
    """Whether one of the stop texts is in a text."""
    return any(mark in text for mark in stop)


def _criteria(checkpoint: Checkpoint, stop: Sequence[str], prompt_length: int) -> Any:
    """Ends a row at a stop text; transformers' own criterion looks at the prompt as well."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class AtStopText(StoppingCriteria):  # type: ignore[misc, unused-ignore]
        def __call__(self, input_ids: Any, *_: Any, **__: Any) -> Any:
            texts = checkpoint.tokenizer.batch_decode(
                input_ids[:, prompt_length:], skip_special_tokens=True
            )
            found = [has_stop(text, stop) for text in texts]
            return torch.tensor(found, device=input_ids.device)

    return StoppingCriteriaList([AtStopText()] if stop else [])
