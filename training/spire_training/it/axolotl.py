"""The same run for Axolotl: its YAML, and the packed documents as a file of conversations.

The keys are those of Axolotl 0.18 (`type: sharegpt`, which the paper's authors used, is gone).
Its `chatml` template writes no beginning of sequence, and training and evaluation here do, so the
template is given as jinja.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]
from transformers import AutoTokenizer

from spire_dsu.errors import ConfigError, InputError
from spire_dsu.files import write_atomically
from spire_dsu.llm.rendering import CHAT_TEMPLATE, TURN_END, TURN_START
from spire_dsu.types import Int32
from spire_training.data import isolation
from spire_training.data.packed import KIND, PADDING, PackedRows
from spire_training.it.config import ITConfig

Messages = list[dict[str, str]]
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""How byte fallback spells a byte, which is text, whatever list of tokens it is in."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written.

    Attributes:
        settings: the YAML.
        conversations: JSON lines {"messages": [{"role", "content"}, ...]}, beside it.
        written: documents in it.
        left_out: documents whose ids Axolotl's tokenization of their text would not give.
    """

    settings: Path
    conversations: Path
    written: int
    left_out: int


def export_axolotl(config: ITConfig, out: Path, *, gpus: int) -> Export:
    """Writes the settings of a run in Axolotl's words, and its data as text.

    Args:
        config: the run; its packed folder is of the stage "it".
        out: the YAML to write.
        gpus: that Axolotl will run on; with `micro_batch` it decides the accumulation.

    Raises:
        ConfigError: `batch_rows` cannot be had on so many GPUs.
        PackedError: the packed folder is damaged.
        InputError: a document is no conversation.
    """
    if config.batch_rows % (config.micro_batch * gpus):
        raise ConfigError(
            f"batch_rows {config.batch_rows} is no multiple of micro_batch {config.micro_batch} "
            f"x {gpus} GPUs"
        )
    rows = PackedRows(config.data)
    rows.verify()
    tokenizer = AutoTokenizer.from_pretrained(config.model)
    template = with_start(tokenizer)
    conversations = out.with_suffix(".jsonl")
    counts = {"written": 0, "left_out": 0}

    def lines() -> Iterator[bytes]:
        for ids in documents(rows):
            messages = messages_of(ids, tokenizer)
            if ids_of(messages, tokenizer, template)[: ids.size] == ids.tolist():
                counts["written"] += 1
                yield json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n"
            else:
                counts["left_out"] += 1

    write_atomically(conversations, lines())
    settings = settings_of(config, conversations, template, gpus)
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100)
    write_atomically(out, text.encode())
    return Export(out, conversations, **counts)


def settings_of(config: ITConfig, data: Path, template: str, gpus: int) -> dict[str, Any]:
    """The settings in Axolotl's keys.

    Args:
        config: the run.
        data: the file of conversations.
        template: jinja.
        gpus: that it will run on.
    """
    settings: dict[str, Any] = {
        "base_model": config.model,
        "chat_template": "jinja",
        "chat_template_jinja": template,
        "datasets": [
            {
                "path": str(data),
                "ds_type": "json",
                "type": "chat_template",
                "field_messages": "messages",
                "message_property_mappings": {"role": "role", "content": "content"},
                "roles_to_train": ["assistant"],
                "train_on_eos": "turn",
            }
        ],
        "special_tokens": {"eos_token": TURN_END},
        "output_dir": config.out,
        "sequence_len": config.sequence_length,
        "sample_packing": True,
        "pad_to_sequence_len": True,
        "attn_implementation": "flash_attention_2",  # its packing isolates documents with this one
        "micro_batch_size": config.micro_batch,
        "gradient_accumulation_steps": config.batch_rows // (config.micro_batch * gpus),
        "num_epochs": config.epochs,
        "optimizer": "adamw_torch",
        "adam_beta1": config.adam_beta1,
        "adam_beta2": config.adam_beta2,
        "adam_epsilon": config.adam_epsilon,
        "max_grad_norm": config.max_grad_norm,
        "learning_rate": config.learning_rate,
        "lr_scheduler": "cosine",
        "warmup_steps": config.warmup_steps,
        "weight_decay": config.weight_decay,
        "bf16": config.precision == "bf16",
        "gradient_checkpointing": config.activation_checkpointing,
        "save_steps": config.save_steps,
        "save_total_limit": config.keep,
        "logging_steps": 1,
        "val_set_size": 0.0,
        "seed": config.seed,
    }
    if config.max_steps:
        settings["max_steps"] = config.max_steps
    return settings | _sharing(config)


def _sharing(config: ITConfig) -> dict[str, Any]:
    """How GPUs share the model."""
    if config.parallel == "deepspeed":
        return {"deepspeed": config.deepspeed}
    if config.parallel == "ddp":
        return {}
    wrapping = {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "LlamaDecoderLayer",
        "state_dict_type": "SHARDED_STATE_DICT",
        "reshard_after_forward": True,
    }
    return {"fsdp_version": 2, "fsdp_config": wrapping}


def with_start(tokenizer: Any) -> str:
    """ChatML's template, with the beginning of sequence where the tokenizer writes one."""
    starts = tokenizer("")["input_ids"] == [tokenizer.bos_token_id]
    return "{{ bos_token }}" + CHAT_TEMPLATE if starts else CHAT_TEMPLATE


def documents(rows: PackedRows) -> Iterator[Int32]:
    """int32 [L], the ids of each document, row by row, padding left out."""
    for index in range(len(rows)):
        ids, marks = rows[index]
        ends = np.cumsum(isolation.lengths(marks))
        for first, end in zip([0, *ends[:-1]], ends, strict=True):
            if (marks[first] & KIND) != PADDING:
                yield ids[first:end]


def messages_of(ids_L: Int32, tokenizer: Any) -> Messages:
    """The turns of a document in ChatML.

    Raises:
        InputError: it is none.
    """
    known = tokenizer.get_vocab()
    start, end = known[TURN_START], known[TURN_END]
    opened, closed = np.flatnonzero(ids_L == start), np.flatnonzero(ids_L == end)
    if not opened.size or opened.size != closed.size or (opened > closed).any():
        raise InputError("a packed document is no conversation in ChatML: pack it for stage 'it'")
    messages = []
    for first, last in zip(opened, closed, strict=True):
        role, _, content = _text(ids_L[first + 1 : last], tokenizer).partition("\n")
        messages.append({"role": role, "content": content})
    return messages


def _text(ids_L: Int32, tokenizer: Any) -> str:
    """The text of tokens. Llama's tokenizers put a space before each piece between two added
    tokens and decode it away at the beginning alone: so each piece is decoded by itself.
    """
    added = {
        int(token)
        for token, about in tokenizer.added_tokens_decoder.items()
        if not _BYTE.fullmatch(about.content)
    }
    text, piece = "", []
    for token in [*ids_L.tolist(), None]:
        if token is not None and token not in added:
            piece.append(token)
            continue
        text += tokenizer.decode(piece) if piece else ""
        text += tokenizer.convert_ids_to_tokens(token) if token is not None else ""
        piece = []
    return text


def ids_of(messages: Messages, tokenizer: Any, template: str) -> list[int]:
    """Token ids as Axolotl makes them: of the text that the template gives."""
    text = tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids
