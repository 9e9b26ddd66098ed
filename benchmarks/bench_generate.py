"""Greedy answers to prompts of units, beside the loop that one would write with transformers.

    python benchmarks/bench_generate.py [--prompts 64] [--new-tokens 48] [--no-vllm]

"loop" calls transformers' `generate` for one prompt after another. "transformers" is our engine in
this process (batches by length), "vllm" ours in its own interpreter. All are float32 and must give
the same tokens. The model is a random Llama (4 layers, 256 wide), so a figure says how the engines
compare on this machine and nothing about a model of 7B. vLLM's start is timed apart.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from harness import Benchmark
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from spire_dsu.llm.generation import GenerationConfig, Request, generate, read_answers
from spire_dsu.llm.generation.checkpoint import Checkpoint

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from tiny_llm import tiny_tokenizer

UNITS = 500


def make_model(folder: Path) -> Path:
    tokenizer = tiny_tokenizer(units=UNITS)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_prompts(checkpoint: Checkpoint, count: int) -> list[Request]:
    """Prompts of 40 to 240 tokens, as recordings of 2 to 12 s have."""
    rng = np.random.default_rng(0)
    return [
        Request(str(n), rng.integers(3, checkpoint.num_tokens, rng.integers(40, 240), np.int32))
        for n in range(count)
    ]


def loop(folder: Path, prompts: list[Request], new_tokens: int) -> dict[str, tuple[int, ...]]:
    checkpoint = Checkpoint(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = {}
    for request in prompts:
        ids = torch.from_numpy(request.prompt).long()[None]
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=new_tokens,
            eos_token_id=checkpoint.end_tokens,
            pad_token_id=checkpoint.end_tokens[0],
        )
        row = made[0, ids.shape[1] :].tolist()
        end = next((n for n, token in enumerate(row) if token in checkpoint.end_tokens), len(row))
        found[request.id] = tuple(row[:end])
    return found


def ours(
    folder: Path,
    prompts: list[Request],
    config: GenerationConfig,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, tuple[int, ...]]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "answers.jsonl"
        generate(folder, prompts, out, config, progress=progress)
        return {name: answer.tokens for name, answer in read_answers(out).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=48)
    parser.add_argument("--no-vllm", action="store_true")
    given = parser.parse_args()
    settings = {"prompts": given.prompts, "new_tokens": given.new_tokens, "dtype": "float32"}
    bench = Benchmark("generate", settings=settings)
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_model(Path(scratch) / "model")
        prompts = make_prompts(Checkpoint(folder), given.prompts)
        config = GenerationConfig(
            engine="transformers", dtype="float32", max_new_tokens=given.new_tokens, kv_cache_gib=1
        )
        wanted: dict[str, tuple[int, ...]] = {}
        results: dict[str, dict[str, tuple[int, ...]]] = {}

        def run_loop() -> None:
            wanted.update(loop(folder, prompts, given.new_tokens))

        def run_ours() -> None:
            results["transformers"] = ours(folder, prompts, config)

        times = bench.compare(
            f"{given.prompts} prompts", {"transformers": run_ours, "loop": run_loop},
            repeats=1, warmup=0,
        )  # fmt: skip
        tokens = sum(len(row) for row in wanted.values())
        bench.figure("loop_tokens_per_second", tokens / times["loop"].median)
        bench.figure("transformers_tokens_per_second", tokens / times["transformers"].median)
        bench.figure("transformers_vs_loop", times["transformers"].speedup_over(times["loop"]))
        if not given.no_vllm:
            vllm = config.model_copy(update={"engine": "vllm", "eager": True})
            moments = [time.perf_counter()]
            results["vllm"] = ours(
                folder, prompts, vllm, lambda *_: moments.append(time.perf_counter())
            )
            bench.figure("vllm_start_seconds", moments[1] - moments[0])
            rate = tokens / (moments[-1] - moments[1])
            bench.figure("vllm_tokens_per_second_after_start", rate)
            bench.figure("vllm_vs_loop_after_start", rate * times["loop"].median / tokens)
        for name, found in results.items():
            same = sum(found[key] == row for key, row in wanted.items())
            bench.figure(f"{name}_same_answers", same / len(wanted))
            if same < len(wanted):
                raise SystemExit(f"{name}: {len(wanted) - same} answers differ from the loop's")
    bench.save()


if __name__ == "__main__":
    main()
