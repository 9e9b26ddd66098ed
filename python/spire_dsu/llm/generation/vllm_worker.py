"""Answers prompts with vLLM. Run as a file by the interpreter that has vLLM, so it imports nothing
of this project, whose dependencies need not be there.

    python vllm_worker.py JOB FD

JOB is JSON: model, prompts [[id, [token, ...]], ...] and settings. Each answer is written to the
file descriptor FD as a line of JSON as soon as it is there: {"id", "tokens", "finish"}. A line
before them, {}, says that the engine is ready.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def prepare_environment(job: dict[str, Any]) -> bool:
    """Sets what vLLM reads from the environment; returns whether prompts must go one by one."""
    import torch

    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(job["kv_cache_gib"]))
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    if not job["batch_invariant"]:
        return False
    os.environ["VLLM_BATCH_INVARIANT"] = "1" if on_gpu else "0"
    import vllm.envs

    return not (on_gpu and "VLLM_BATCH_INVARIANT" in vllm.envs.environment_variables)


def answers(job: dict[str, Any], one_by_one: bool) -> Iterator[dict[str, Any]]:
    """Starts the engine, gives it every prompt, and yields {} once, then answers as they end."""
    from vllm import LLM, SamplingParams
    from vllm.sampling_params import RequestOutputKind

    limits: dict[str, Any] = {"max_num_seqs": 1} if one_by_one else {}
    if job["batch_invariant"]:
        limits["enable_prefix_caching"] = False
    engine = LLM(
        model=job["model"],
        dtype=job["dtype"],
        tensor_parallel_size=job["tensor_parallel"],
        max_model_len=job["max_model_len"],
        enforce_eager=job["eager"],
        generation_config="vllm",  # and not the folder's, which may sample
        seed=0,
        **limits,
    ).llm_engine
    yield {}
    settings = SamplingParams(
        temperature=0,
        max_tokens=job["max_new_tokens"],
        stop=job["stop"],
        stop_token_ids=job["end_tokens"],
        # Rows of the model beyond the tokenizer's last token are padding and mean nothing.
        allowed_token_ids=(
            list(range(job["num_tokens"])) if job["rows"] > job["num_tokens"] else None
        ),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
    for name, prompt in job["prompts"]:
        engine.add_request(name, {"prompt_token_ids": prompt}, settings)
    while engine.has_unfinished_requests():
        for made in engine.step():
            if made.finished:
                yield answer_of(made.request_id, made.outputs[0], job["end_tokens"])


def answer_of(name: str, output: Any, ends: list[int]) -> dict[str, Any]:
    """An answer without its end token, and why it ended."""
    tokens = list(output.token_ids)
    if output.finish_reason == "length":
        finish = "length"
    elif tokens and tokens[-1] in ends:
        tokens, finish = tokens[:-1], "end"
    else:
        finish = "stop"
    return {"id": name, "tokens": tokens, "finish": finish}


def main() -> None:
    """Reads the job, writes the answers."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with os.fdopen(int(sys.argv[2]), "w", encoding="utf-8") as pipe:
        for answer in answers(job, prepare_environment(job)):
            pipe.write(json.dumps(answer) + "\n")
            pipe.flush()


if __name__ == "__main__":
    main()
