"""Tokens per second of continued pre-training on a CPU, beside a plain transformers loop.

    python benchmarks/bench_train.py [--threads 2] [--repeats 3]

The same Llama (hidden 256, 6 layers, 4,096 tokens), the same packed rows in the same order, the
same batch in the same micro-batches, documents isolated, AdamW with the same settings, the same
number of threads. The loop of transformers is what one writes: `LlamaForCausalLM` with torch's
attention and a mask per document, loss over the tokens of the whole batch, `torch.optim.AdamW`; in
bfloat16 by autocast. Ours keeps bfloat16 weights and float32 copies. Each competitor lives in a
process of its own, as what megatron-core needs on a CPU is for a whole process; they run in turns.

The losses of all updates are compared: float32 noise in float32, closely in bfloat16.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from harness import Benchmark

LENGTH, VOCABULARY, HIDDEN, FEED_FORWARD, LAYERS = 512, 4096, 256, 688, 6
SEQUENCES, MICRO = 8, 4
RATES = {"lr": 1e-3, "min_lr": 1e-4, "warmup_steps": 0}
STEPS = 1000

_open = contextlib.ExitStack()  # what a process keeps open for its updates


def prepare(folder: Path) -> None:
    """Writes the model and rows of documents of 60 to 250 tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from spire_training.data.packed import LEARNED, SPLITS, START, RowWriter, write_manifest

    torch.manual_seed(0)
    sizes = {"hidden_size": HIDDEN, "intermediate_size": FEED_FORWARD, "num_hidden_layers": LAYERS}
    config = LlamaConfig(
        vocab_size=VOCABULARY, num_attention_heads=4, max_position_embeddings=LENGTH, **sizes
    )
    LlamaForCausalLM(config).save_pretrained(folder / "base")
    rng = np.random.default_rng(0)
    data, files = folder / "data", {}
    data.mkdir()
    for split in SPLITS:
        with RowWriter(data, split, LENGTH, VOCABULARY) as writer:
            for _ in range(64):
                marks, at = np.full(LENGTH, LEARNED | 4, np.uint8), 0
                while at < LENGTH:
                    marks[at] = START | 4
                    at += int(rng.integers(60, 250))
                # Some tokens are far more frequent than others, so there is something to learn.
                tokens = (VOCABULARY * rng.random(LENGTH) ** 4).astype(np.int32)
                writer.write(tokens, marks)
        files |= writer.facts()
    rows = dict.fromkeys(SPLITS, 64)
    about = {"sequence_length": LENGTH, "rows": rows, "vocabulary": {"num_tokens": VOCABULARY}}
    write_manifest(data, {**about, "files": files})


def settings(folder: Path, precision: str) -> Any:
    """The run, as a `CptConfig`."""
    from spire_dsu.config import validate
    from spire_training.cpt.config import CptConfig

    plain = {
        "model": str(folder / "base"),
        "data": str(folder / "data"),
        "out": str(folder / "out"),
        "steps": STEPS,
        "precision": precision,
        "batch": {"sequences": SEQUENCES, "micro": MICRO},
        "optimizer": RATES,
    }
    return validate(plain, CptConfig, "bench_train")


def ours(folder: Path, precision: str) -> Callable[[int], float]:
    """One update by number -> its loss."""
    from spire_training.cpt.parallel import process_groups
    from spire_training.cpt.trainer import Trainer
    from spire_training.data.packed import PackedRows

    config = settings(folder, precision)
    _open.enter_context(process_groups(config.parallel))
    trainer = Trainer(config, PackedRows(config.data), PackedRows(config.data, "held"), 0)

    def update(step: int) -> float:
        (sums, counts), _ = trainer.forward_backward(step)
        trainer.update()
        return float(sums.sum() / counts.sum())

    return update


def plain(folder: Path, precision: str) -> Callable[[int], float]:
    """The same with transformers and torch alone."""
    import torch
    from transformers import LlamaForCausalLM

    from spire_training.cpt.data import RowOrder
    from spire_training.data.isolation import learned, mask, positions
    from spire_training.data.packed import PackedRows

    config = settings(folder, precision)
    chosen = config.optimizer
    model = LlamaForCausalLM.from_pretrained(config.model, attn_implementation="sdpa").train()
    norms = [p for p in model.parameters() if p.dim() == 1]
    groups = [
        {"params": [p for p in model.parameters() if p.dim() > 1]},
        {"params": norms, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=chosen.lr, betas=(chosen.beta1, chosen.beta2), eps=chosen.eps,
        weight_decay=chosen.weight_decay,
    )  # fmt: skip
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS, chosen.min_lr)
    rows = PackedRows(config.data)
    order = RowOrder(config.seed, len(rows))

    def update(step: int) -> float:
        read = [rows[row] for row in order.rows(step * SEQUENCES, SEQUENCES)]
        tokens = torch.from_numpy(np.stack([t for t, _ in read]).astype(np.int64))
        marks = np.stack([m for _, m in read])
        labels = tokens.masked_fill(~torch.from_numpy(learned(marks)), -100)
        number = int((labels[:, 1:] >= 0).sum())
        total = 0.0
        for some in (slice(first, first + MICRO) for first in range(0, SEQUENCES, MICRO)):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = model(
                    input_ids=tokens[some],
                    attention_mask=torch.from_numpy(mask(marks[some]))[:, None],
                    position_ids=torch.from_numpy(positions(marks[some])),
                    labels=labels[some],
                    num_items_in_batch=number,
                ).loss
            loss.backward()
            total += float(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        return total

    return update


def live(pipe: Connection, which: str, folder: Path, precision: str, threads: int) -> None:
    """A competitor's process: an update for each number that comes, until None comes."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(threads)
    update = {"ours": ours, "plain": plain}[which](folder, precision)
    while (step := pipe.recv()) is not None:
        began = time.process_time()
        loss = update(step)
        pipe.send((loss, time.process_time() - began))
    _open.close()


class Competitor:
    """The other end of a process."""

    def __init__(self, which: str, folder: Path, precision: str, threads: int) -> None:
        self.losses: list[float] = []
        self.seconds: list[float] = []  # of the processor, over all threads
        self._pipe, other = multiprocessing.Pipe()
        arguments = (other, which, folder, precision, threads)
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=live, args=arguments, daemon=True)
        self._process.start()

    def __call__(self) -> None:
        self._pipe.send(len(self.losses))
        loss, seconds = self._pipe.recv()
        self.losses.append(loss)
        self.seconds.append(seconds)

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join()


def matrix_rate(precision: str, threads: int) -> float:
    """FLOP/s of a square product of 1,024, the best of 20: what torch reaches on this machine."""
    import torch

    torch.set_num_threads(threads)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = torch.randn(2, 1024, 1024).to(dtype)
    left @ right
    times = []
    for _ in range(20):
        began = time.process_time()
        left @ right
        times.append((time.process_time() - began) / threads)
    return 2 * 1024**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    tokens = SEQUENCES * LENGTH
    per_layer = 4 * HIDDEN**2 + 3 * HIDDEN * FEED_FORWARD
    flops = 6 * (LAYERS * per_layer + HIDDEN * VOCABULARY) * tokens  # matrices alone
    about = {"length": LENGTH, "hidden": HIDDEN, "layers": LAYERS, "sequences": SEQUENCES}
    bench = Benchmark("train", settings={**about, "micro": MICRO, "threads": chosen.threads})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        for precision, tolerance in (("fp32", 1e-4), ("bf16", 2e-2)):
            runs = {
                which: Competitor(which, folder, precision, chosen.threads)
                for which in ("ours", "plain")
            }
            times = bench.compare(
                precision, runs, repeats=chosen.repeats, work=tokens, unit="tokens/s"
            )
            for run in runs.values():
                run.close()
            losses = np.array([run.losses for run in runs.values()])
            apart = float(np.abs(losses[0] - losses[1]).max())
            if apart > tolerance:
                raise SystemExit(f"{precision}: the losses are {apart} apart: {losses}")
            mine, theirs = (np.median(run.seconds[1:]) for run in runs.values())
            bench.figure(f"tokens_per_second_{precision}", tokens / times["ours"].median)
            bench.figure(f"vs_transformers_{precision}", times["ours"].speedup_over(times["plain"]))
            bench.figure(f"tokens_per_processor_second_{precision}", tokens / mine)
            bench.figure(f"vs_transformers_processor_{precision}", theirs / mine)
            share = flops / mine * chosen.threads / matrix_rate(precision, chosen.threads)
            bench.figure(f"share_of_matrix_rate_{precision}", share)
            bench.figure(f"largest_loss_difference_{precision}", apart)
    bench.save()


if __name__ == "__main__":
    main()
