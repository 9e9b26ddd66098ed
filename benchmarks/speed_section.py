"""Writes the speed section of the README from the newest result file of each benchmark.

    python benchmarks/speed_section.py            # rewrite README.md
    python benchmarks/speed_section.py --check    # exit 1 when README.md is out of step

No figure stands in the README that is not in a file under benchmarks/results.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- speed: begin, written by benchmarks/speed_section.py -->", "<!-- speed: end -->"

# One line each: the benchmark, what it measures, and the figures worth a reader's time.
CPU_ROWS = {
    "assign": (
        "nearest centroid, exact, K=5000, D=1024",
        {"vs_torch": "torch addmm + argmin", "vs_faiss": "faiss IndexFlatL2",
         "vs_sklearn": "scikit-learn"},
    ),
    "encode": (
        "waveform to units, HuBERT-large, layer 22",
        {"exact_vs_transformers_fp32": "exact against transformers float32",
         "fast_vs_transformers_fp32": "fast against transformers float32",
         "fast_vs_transformers_bf16": "fast against transformers bfloat16",
         "vs_b0": "fast against the usual script (one file at a time, float32)"},
    ),
}  # fmt: skip
GPU_ROWS = {
    "quantize": (
        "fused assignment and run lengths, K=5000, D=1024",
        {"share_of_cublas": "share of cuBLAS's rate", "vs_best_public": "best public kernel"},
    ),
    "encode_gpu": (
        "waveform to units, HuBERT-large, layer 22",
        {"vs_b0": "the usual script", "vs_b1": "batched transformers", "vs_b2": "compiled PyTorch"},
    ),
}


def newest(bench: str) -> dict[str, Any] | None:
    """The newest result of a benchmark, or None where none was ever committed."""
    found = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(f"{bench}_*.json"))]
    found = [result for result in found if result["bench"] == bench]
    return max(found, key=lambda result: result["date"]) if found else None


def table(rows: dict[str, tuple[str, dict[str, str]]]) -> list[str]:
    lines: list[str] = []
    for bench, (what, figures) in rows.items():
        result = newest(bench)
        if result is None:
            continue
        machine = result["machine"]
        where = machine["gpu"] or f"{machine['cpu']}, {machine['cores']} cores"
        for name, peer in figures.items():
            if name in result["figures"]:
                value = result["figures"][name]
                lines.append(f"| {what} | {peer} | {value:.2f}x | {where} | {result['date']} |")
                what = ""
    header = ["| what | against | ours is faster by | machine | date |", "|---|---|---|---|---|"]
    return [*header, *lines] if lines else []


def hours() -> list[str]:
    """What the corpus of the paper takes on the GPU that was measured."""
    result = newest("encode_gpu")
    if result is None or "hours_for_42500" not in result["figures"]:
        return []
    figures = result["figures"]
    return [
        "",
        f"At {figures['rtfx']:,.0f} times real time, model only, 42,500 hours of speech take "
        f"{figures['hours_for_42500']:.1f} h on one {result['machine']['gpu']}.",
    ]


def section() -> str:
    """The text between the two marks."""
    cpu = table(CPU_ROWS) or ["No CPU figure has been measured yet."]
    gpu = table(GPU_ROWS) or ["On a GPU nothing has been measured yet."]
    gpu += hours()
    return "\n".join([BEGIN, "", *cpu, "", *gpu, "", END])


def main() -> int:
    readme = ROOT / "README.md"
    text = readme.read_text()
    start, stop = text.index(BEGIN), text.index(END) + len(END)
    fresh = text[:start] + section() + text[stop:]
    if "--check" in sys.argv[1:]:
        return int(fresh != text)
    readme.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main())
