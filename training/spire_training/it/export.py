"""The tuned model as a Hugging Face folder."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import torch

from spire_dsu.llm.rendering import CHAT_TEMPLATE, TURN_END
from spire_dsu.storage import DISK


def write_model(trainer: Any, tokenizer: Any, folder: Path, dtype: str) -> None:
    """Writes model and tokenizer; the folder gets its name when it is whole.

    Generation ends at `<|im_end|>`, in the model's settings and the tokenizer's alike.

    Args:
        trainer: transformers' Trainer, done; every process calls it, as each holds a part.
        tokenizer: of the model.
        folder: where to.
        dtype: of the weights, as torch names it.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.args.process_index == 0:
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        chosen = getattr(torch, dtype)
        weights = {name: value.to(chosen) for name, value in state.items()}
        end = tokenizer.convert_tokens_to_ids(TURN_END)
        ends = model.config.eos_token_id
        ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
        model.config.eos_token_id = end
        model.config.use_cache = True  # the Trainer turns it off, and generation would be slow
        model.generation_config.eos_token_id = [end, *(other for other in ends if other != end)]
        tokenizer.eos_token = TURN_END
        tokenizer.chat_template = CHAT_TEMPLATE
        temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
        model.save_pretrained(temporary, state_dict=weights)
        model.config.dtype = chosen  # save_pretrained has written the dtype that was trained in
        model.config.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
        _commit(temporary, folder)
    trainer.accelerator.wait_for_everyone()


def _commit(temporary: Path, folder: Path) -> None:
    for path in sorted(temporary.iterdir()):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    if folder.is_dir():
        shutil.rmtree(folder)
    DISK.rename(temporary, folder)
    DISK.fsync_dir(folder.parent)
