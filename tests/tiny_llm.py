"""A Llama of a few thousand weights with its tokenizer, made on the spot, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from spire_dsu.llm.rendering import CHAT_TEMPLATE
from spire_dsu.llm.vocabulary import FORMS

SENTENCES = [
    "Speech: English: hello world, this is a test of the tiny tokenizer.",
    "German: Hallo Welt, das ist ein Test. French: Spanish: Chinese: Dutch:",
    "Translate the following text from English to German.",
    "user assistant the quick brown fox jumps over the lazy dog",
]


def tiny_tokenizer(units: int = 0, form: str = "extra_id", chat: bool = True) -> Any:
    """A tokenizer built as Llama's is: BPE with byte fallback, a mark in front for each space."""
    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    inner.decoder = decoders.Sequence(
        [
            decoders.Replace("\u2581", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    inner.train_from_iterator(
        SENTENCES * 20,
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    _adds_start(tokenizer)
    spell = FORMS[form]
    tokenizer.add_tokens([AddedToken(spell(unit), normalized=False) for unit in range(units)])
    if chat:
        marks = ["<|im_end|>", "<|im_start|>"]
        tokenizer.add_tokens([AddedToken(m, normalized=False) for m in marks], special_tokens=True)
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _adds_start(tokenizer: Any) -> None:
    """Every text begins with `<s>`, as Llama's do."""
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )


def tiny_llama(
    folder: Path, *, units: int = 0, form: str = "extra_id", chat: bool = True, seed: int = 0
) -> Path:
    """Writes a random Llama (2 layers, 64 wide, heads of 32) and its tokenizer as a HF folder."""
    tokenizer = tiny_tokenizer(units, form, chat)
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.15,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
