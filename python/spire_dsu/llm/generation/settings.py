"""What decides which answer comes out of a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from spire_dsu.config import Config
from spire_dsu.errors import SpireError


class GenerationError(SpireError):
    """Answers that cannot be had: a bad request, or an engine that gave up."""


class GenerationConfig(Config):
    """How answers are generated: always greedily, one per prompt.

    Attributes:
        engine: "vllm", in an environment of its own, or "transformers", in this process.
        max_new_tokens: an answer is cut after so many tokens; 256 in the paper.
        stop: an answer ends before the first of these texts, besides at its end token.
        dtype: of weights and arithmetic.
        tensor_parallel: GPUs that share one copy of the model ("vllm" only).
        batch_invariant: an answer does not depend on what is generated beside it: vLLM's own mode
            where it has one (recent GPUs), one prompt at a time elsewhere.
        max_model_len: most tokens of prompt and answer together; None for the model's own limit.
        batch_size: prompts that go together ("transformers" only; vLLM packs by itself).
        eager: no compilation: starts sooner, runs slower ("vllm" only).
        kv_cache_gib: memory for keys and values on a machine without a GPU ("vllm" only).
    """

    engine: Literal["vllm", "transformers"] = "vllm"
    max_new_tokens: int = Field(default=256, ge=1, le=32_768)
    stop: list[Annotated[str, Field(min_length=1)]] = Field(default_factory=list)
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    batch_invariant: bool = False
    max_model_len: int | None = Field(default=None, ge=2)
    batch_size: int = Field(default=16, ge=1, le=4096)
    eager: bool = False
    kv_cache_gib: int = Field(default=4, ge=1)
