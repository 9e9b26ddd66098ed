"""A vocabulary with room for speech: units become tokens of a Llama-family model.

tokens     which tokens are added, and at which ids
tokenizer  the files of the tokenizer
rows       the new rows of the embedding tables
weights    the safetensors files, table by table
extend     all of it: a Hugging Face folder in, a Hugging Face folder out
"""

from __future__ import annotations

from spire_training.vocabulary.extend import Extended, extend_vocabulary

__all__ = ["Extended", "extend_vocabulary"]
