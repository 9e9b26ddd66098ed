"""From shards and texts to packed rows: `train prepare` beside the loop that one would write with
transformers and datasets.

    python benchmarks/bench_packing.py [--utterances 4000] [--repeats 2]

The loop writes units as text, tokenizes with `Dataset.map` in one process or in two, shuffles,
joins the documents and cuts them every 4,096 tokens (as run_clm does), and saves. It neither
verifies, selects, marks nor isolates, and its documents cross the borders of rows. Both use the
same tokenizer (BPE of about 32,000 pieces, 5,000 units), and must have made the same documents,
token by token. Seconds of CPU are of all processes; they tell more than the clock where others use
the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from harness import Benchmark

from spire_dsu.config import validate
from spire_dsu.journal import Journal, Plan
from spire_dsu.llm import prompts
from spire_dsu.llm.vocabulary import FORMS
from spire_dsu.shards import open_shards, write_shard
from spire_dsu.types import Reason, UnitRow
from spire_training.data import isolation
from spire_training.data.packed import KIND, PADDING, PackedRows
from spire_training.data.prepare import prepare
from spire_training.data.settings import PrepareConfig

UNITS, LENGTH, PIECES = 5000, 4096, 32_000
Tokens = tuple[int, ...]


class Texts:
    """Made-up words whose frequencies fall as those of words do."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        parts = [a + b for a in "bcdfghjklmnpqrstvwz" for b in ("a", "e", "i", "o", "an", "er")]
        self._words = ["".join(self._rng.choice(parts, 1 + n % 4)) for n in range(30_000)]
        weights = 1 / np.arange(1, len(self._words) + 1)
        self._weights = weights / weights.sum()

    def sentence(self, low: int, high: int) -> str:
        count = int(self._rng.integers(low, high))
        return " ".join(self._words[n] for n in self._rng.choice(30_000, count, p=self._weights))

    def units(self) -> Any:
        made = self._rng.integers(0, UNITS, int(self._rng.integers(100, 500))).astype(np.uint16)
        return made[np.r_[True, made[1:] != made[:-1]]]


def make_inputs(folder: Path, utterances: int) -> None:
    texts = Texts(0)
    write_lines(folder / "text.txt", [texts.sentence(50, 400) for _ in range(utterances // 5)])
    pairs = [f"{texts.sentence(8, 40)}\t{texts.sentence(8, 40)}" for _ in range(utterances)]
    write_lines(folder / "pairs.tsv", pairs)
    rows = []
    for number in range(utterances):
        units = texts.units()
        durations = np.ones(units.size, np.uint32)
        rows.append(
            UnitRow(
                f"utt-{number}", Reason.OK, units, durations, 320 * units.size + 80, units.size,
                text=texts.sentence(8, 40), lang="en", source=f"{number}.flac",
            )
        )  # fmt: skip
    plan = Plan(utterances, 1000)
    shards = folder / "shards"
    with Journal(shards, {"num_clusters": UNITS}, plan) as journal:
        for shard in journal.pending():
            part = plan.rows(shard)
            info = write_shard(shards, shard, rows[part.start : part.stop], journal.fingerprint)
            journal.commit(info)
        journal.finish()
    make_tokenizer(folder)


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def make_tokenizer(folder: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    inner.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    inner.pre_tokenizer = pre_tokenizers.Metaspace()  # to train on words; Llama's has none
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = BpeTrainer(vocab_size=PIECES, special_tokens=special, show_progress=False)
    inner.train([str(folder / "text.txt")], trainer)
    inner.pre_tokenizer = None
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    spell = FORMS["extra_id"]
    tokenizer.add_tokens([AddedToken(spell(unit), normalized=False) for unit in range(UNITS)])
    tokenizer.save_pretrained(folder / "tokenizer")


def settings(folder: Path) -> PrepareConfig:
    files = {"pairs": [str(folder / "pairs.tsv")], "text": [str(folder / "text.txt")]}
    sources = [
        {"kind": "speech", "name": "asr", "group": "all", "shards": str(folder / "shards")},
        {"kind": "parallel", "name": "pairs", "group": "all", "files": files["pairs"],
         "languages": ["en", "de"]},
        {"kind": "monolingual", "name": "text", "group": "all", "files": files["text"],
         "language": "en"},
    ]  # fmt: skip
    data = {
        "stage": "cpt",
        "tokenizer": str(folder / "tokenizer"),
        "out": str(folder / "packed"),
        "sequence_length": LENGTH,
        "groups": {"all": {}},
        "sources": sources,
    }
    return validate(data, PrepareConfig, "bench")


def plain_texts(folder: Path) -> list[str]:
    """The documents as text, units spelled out."""
    spell = FORMS["extra_id"]
    made = []
    for row in open_shards(folder / "shards"):
        units = "".join(map(spell, row.units.tolist()))
        made.append(f"Speech:{units}\nEnglish: {row.text}")
    for line in (folder / "pairs.tsv").read_text().splitlines():
        one, other = line.split("\t")
        for turns in (
            prompts.mt_cpt(one, "en", "de", other),
            prompts.mt_cpt(other, "de", "en", one),
        ):
            made.append(" ".join(str(turn.parts[0]) for turn in turns))
    return made + (folder / "text.txt").read_text().splitlines()


def loop(folder: Path, processes: int) -> Any:
    """The script that one would write; returns the tokenized documents."""
    from datasets import Dataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    end = tokenizer.eos_token_id

    def tokenize(batch: dict[str, list[str]]) -> dict[str, Any]:
        return {"input_ids": [[*ids, end] for ids in tokenizer(batch["text"])["input_ids"]]}

    def join(batch: dict[str, list[list[int]]]) -> dict[str, Any]:
        flat = [token for ids in batch["input_ids"] for token in ids]
        return {"input_ids": [flat[at : at + LENGTH] for at in range(0, len(flat), LENGTH)]}

    texts = Dataset.from_dict({"text": plain_texts(folder)})
    workers = processes if processes > 1 else None
    documents = texts.map(tokenize, batched=True, remove_columns=["text"], num_proc=workers)
    rows = documents.shuffle(seed=0).map(join, batched=True, num_proc=workers)
    rows.save_to_disk(folder / "loop")
    return documents


def documents_of(folder: Path) -> Counter[Tokens]:
    rows = PackedRows(folder)
    found: Counter[Tokens] = Counter()
    for number in range(len(rows)):
        tokens, marks = rows[number]
        ends = np.cumsum(isolation.lengths(marks))
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            if marks[start] & KIND != PADDING:
                found[tuple(tokens[start:end].tolist())] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HF_DATASETS_CACHE"] = str(folder / "cache")
        make_inputs(folder, arguments.utterances)
        loop(folder, 1)  # imports and first calls are nobody's
        measure(folder, arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    config = settings(folder)
    results: dict[str, Any] = {}
    cpu: dict[str, list[float]] = {}

    def competitor(name: str, call: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            for leftover in ("packed", "loop", "cache"):
                shutil.rmtree(folder / leftover, ignore_errors=True)
            before = cpu_seconds()
            results[name] = call()
            cpu.setdefault(name, []).append(cpu_seconds() - before)

        return run

    bench = Benchmark(
        "packing",
        {"utterances": arguments.utterances, "length": LENGTH, "repeats": arguments.repeats},
    )
    times = bench.compare(
        "shards and texts to rows",
        {
            "prepare": competitor("prepare", lambda: prepare(config)),
            "loop, 1 process": competitor("loop, 1 process", lambda: loop(folder, 1)),
            "loop, 2 processes": competitor("loop, 2 processes", lambda: loop(folder, 2)),
        },
        repeats=arguments.repeats,
        warmup=0,
    )
    results["prepare"] = prepare(config)
    ours = documents_of(Path(config.out))
    expected = Counter(tuple(ids) for ids in loop(folder, 1)["input_ids"])
    if ours != expected:
        raise SystemExit(f"prepare and the loop differ in {len(ours - expected)} documents")
    packing = results["prepare"]["packing"]["train"]
    for name, seconds in times.items():
        short = name.replace(",", "").replace(" ", "_")
        bench.figure(f"{short}_tokens_per_second", packing["tokens"] / seconds.median)
        bench.figure(
            f"{short}_tokens_per_cpu_second", packing["tokens"] / float(np.median(cpu[name]))
        )
    for name in ("loop, 1 process", "loop, 2 processes"):
        short = name.replace(",", "").replace(" ", "_")
        bench.figure(f"speedup_over_{short}", times["prepare"].speedup_over(times[name]))
        ratio = float(np.median(cpu[name])) / float(np.median(cpu["prepare"]))
        bench.figure(f"cpu_speedup_over_{short}", ratio)
    bench.figure("tokens", packing["tokens"])
    bench.figure("fill_rate", packing["fill_rate"])
    bench.settings["cpu_seconds"] = json.loads(json.dumps(cpu))
    bench.save()


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
