"""Configurations of lm-evaluation-harness, for the benchmarks that the paper leaves to it.

Its limitations section names MMLU, ARC, Belebele and HellaSwag. They need the harness's own data
and environment, so a configuration is written and not run:

    lm-eval run --config OUT/harness/SYSTEM.yaml
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from spire_dsu.files import write_atomically
from spire_evaluation.config import AnySystem, LlmConfig

TASKS = ("mmlu", "arc_challenge", "belebele", "hellaswag")


def write_harness(systems: Sequence[AnySystem], out: Path) -> list[Path]:
    """One file for each "llm" system, with its model, precision and chat template.

    Every JSON text is YAML as well, so the files are JSON.
    """
    return [
        write_atomically(out / f"{system.name}.yaml", _text(system, out).encode())
        for system in systems
        if isinstance(system, LlmConfig)
    ]


def _text(system: LlmConfig, out: Path) -> str:
    engine = "vllm" if system.generation.engine == "vllm" else "hf"
    arguments: dict[str, object] = {
        "pretrained": str(system.model),
        "dtype": system.generation.dtype,
    }
    if engine == "vllm":
        arguments["tensor_parallel_size"] = system.generation.tensor_parallel
    settings = {
        "model": engine,
        "model_args": arguments,
        "tasks": list(TASKS),
        "batch_size": "auto",
        "apply_chat_template": system.layout == "chatml",
        "output_path": str(out / system.name),
        "log_samples": True,
        "seed": 1234,
    }
    return json.dumps(settings, indent=2) + "\n"
