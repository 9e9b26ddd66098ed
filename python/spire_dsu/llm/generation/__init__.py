"""Greedy answers of a causal language model to prompts given as token ids.

settings            what decides which answer comes out
answers             requests and answers
lines               the file of answers, which a killed run goes on with
checkpoint          what a model folder says: end tokens, padding rows, longest prompt
transformers_engine transformers' own generate, in this process
vllm_engine         vLLM in an interpreter of its own, fed by `vllm_worker`
run                 `generate`: checks, resume, one engine, the finished file
"""

from spire_dsu.llm.generation.answers import Answer, Request, read_answers
from spire_dsu.llm.generation.run import generate
from spire_dsu.llm.generation.settings import GenerationConfig, GenerationError

__all__ = [
    "Answer",
    "GenerationConfig",
    "GenerationError",
    "Request",
    "generate",
    "read_answers",
]
