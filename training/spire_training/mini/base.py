"""The language model that the miniature starts from: a Llama of random weights and its tokenizer.

    python -m spire_training.mini.base SETTINGS.toml OUT TEXT...

A TEXT is lines, or instructions in TowerBlocks' form (.jsonl), so that what they ask is short too.

It stands for the checkpoint that Tower itself began with; all that it knows it learns from the
miniature's text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from spire_dsu.config import Config, load_toml
from spire_dsu.errors import ConfigError, SpireError
from spire_dsu.llm.prompts import LANGUAGES

SPECIAL = ["<unk>", "<s>", "</s>"]
_PROMPT_WORDS = "Speech: Translate the following text from to. user assistant"


class Base(Config):
    """The shape of the Llama; names as in transformers' LlamaConfig."""

    seed: int = Field(ge=0)
    vocabulary: int = Field(ge=300)
    hidden_size: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    max_position_embeddings: int = Field(gt=0)


def make_base(settings: Base, texts: Sequence[Path], out: Path) -> None:
    """Trains the tokenizer on the texts, draws the weights, writes a Hugging Face folder.

    Raises:
        ConfigError: the texts have too few distinct pieces for the vocabulary.
    """
    tokenizer = _tokenizer(settings, texts)
    torch.manual_seed(settings.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.num_hidden_layers,
        num_attention_heads=settings.num_attention_heads,
        num_key_value_heads=settings.num_attention_heads,
        max_position_embeddings=settings.max_position_embeddings,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    weights = sum(parameter.numel() for parameter in model.parameters())
    sys.stderr.write(f"{out}: {weights / 1e6:.1f} M weights, {len(tokenizer)} tokens\n")


def _tokenizer(settings: Base, texts: Sequence[Path]) -> PreTrainedTokenizerFast:
    """Byte-pair pieces as Llama has them: a mark for each space, bytes for what is unknown."""
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))  # noqa: S106
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    inner.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    special = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocabulary, special_tokens=special, show_progress=False
    )
    inner.train_from_iterator(_words(texts), trainer)
    if inner.get_vocab_size() != settings.vocabulary:
        raise ConfigError(
            f"vocabulary {settings.vocabulary}: the texts have {inner.get_vocab_size()} pieces"
        )
    inner = _with_plain_bytes(inner)
    start, end = (inner.token_to_id(token) for token in ("<s>", "</s>"))
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", start), ("</s>", end)]
    )
    make: Any = PreTrainedTokenizerFast  # it has no types
    made: PreTrainedTokenizerFast = make(
        tokenizer_object=inner,
        bos_token="<s>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
    )
    return made


def _with_plain_bytes(inner: Tokenizer) -> Tokenizer:
    """The tokenizer with its bytes as pieces: as special tokens, decoding would leave them out."""
    plain = json.loads(inner.to_str())
    plain["added_tokens"] = [row for row in plain["added_tokens"] if row["content"] in SPECIAL]
    return Tokenizer.from_str(json.dumps(plain))


def _words(texts: Sequence[Path]) -> Iterator[str]:
    """Words and no lines: no piece of the vocabulary then crosses a space."""
    yield from [*_PROMPT_WORDS.split(), *LANGUAGES.values()] * 100
    for path in texts:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if path.suffix == ".jsonl":
                    for turn in json.loads(line)["conversations"]:
                        yield from turn["value"].split()
                else:
                    yield from line.split()


def main() -> None:
    """Entry point of `python -m spire_training.mini.base`."""
    if len(sys.argv) < 4:
        sys.stderr.write("usage: python -m spire_training.mini.base SETTINGS.toml OUT TEXT...\n")
        sys.exit(2)
    try:
        settings = load_toml(sys.argv[1], Base)
        make_base(settings, [Path(name) for name in sys.argv[3:]], Path(sys.argv[2]))
    except SpireError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
