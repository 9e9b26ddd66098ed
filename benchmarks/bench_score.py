"""Scoring two systems on one test set, beside calling jiwer and sacrebleu one by one.

    python benchmarks/bench_score.py [--sentences 1000] [--draws 1000] [--repeats 3]

Both sides end with the same answers, which are compared: the score of each system, its 95 %
interval and the p-value of the pair, from the same number of draws. "One by one" is the script that
one would write: Whisper's normaliser and jiwer for each utterance and system, and a loop over
resampled test sets; sacrebleu's corpus_score with its own bootstrap, then its own PairedTest. One
thread each; what the normaliser and the tokenizers remember of texts is forgotten before each call.
A rate is sentences of both systems per second.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import jiwer
import numpy as np
import sacrebleu
from harness import VERSIONS, Benchmark
from sacrebleu.significance import PairedTest
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from spire_evaluation.metrics import Metric, MetricConfig, normalize
from spire_evaluation.scoring import compare
from spire_evaluation.segments import Joined, Segment
from spire_evaluation.significance import Resampling

SEED = 12345
TEXT = (
    "the colour of a grey house by the sea is what mister smith paid twenty three dollars for in "
    "march and then nobody went home to see whether rain fell on hills or not so they didn't leave "
    "before noon while every child who could read wrote one line about winter"
)
WORDS = TEXT.split()


@dataclass(frozen=True)
class Answer:
    """What both sides must agree on: a system's score, half its interval, and the p-value."""

    scores: tuple[float, ...]
    halves: tuple[float, ...]
    p_value: float


def texts(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [
        " ".join(rng.choices(WORDS, k=rng.randint(8, 35))).capitalize() + "." for _ in range(count)
    ]


def spoil(references: Sequence[str], rate: float, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) if rng.random() < rate else word for word in text.split())
        for text in references
    ]


def forget() -> None:
    normalize.cleaner.cache_clear()
    Tokenizer13a.__call__.cache_clear()


def ours(
    metric: Metric, references: Sequence[str], systems: Sequence[Sequence[str]], draws: int
) -> Answer:
    forget()
    segments = tuple(Segment(str(i), text) for i, text in enumerate(references))
    named = {str(i): Joined(segments, tuple(answers)) for i, answers in enumerate(systems)}
    found = compare([metric], named, MetricConfig(), Resampling(seed=SEED, draws=draws))
    scored = [found["systems"][metric][name] for name in named]
    return Answer(
        tuple(each["score"] for each in scored),
        tuple((each["interval"]["high"] - each["interval"]["low"]) / 2 for each in scored),
        found["pairs"][0]["p_value"],
    )


def wer_one_by_one(
    references: Sequence[str], systems: Sequence[Sequence[str]], draws: int
) -> Answer:
    forget()
    clean = EnglishTextNormalizer(json.loads(normalize.SPELLINGS.read_text()))
    scores, halves, drawn = [], [], []
    for answers in systems:
        errors, words = [], []
        for reference, answer in zip(references, answers, strict=True):
            aligned = jiwer.process_words(clean(reference), clean(answer))
            errors.append(aligned.substitutions + aligned.deletions + aligned.insertions)
            words.append(len(aligned.references[0]))
        one_N, words_N = np.array(errors), np.array(words)
        rng = np.random.default_rng(SEED)
        rates = []
        for _ in range(draws):
            index_N = rng.choice(len(one_N), size=len(one_N), replace=True)
            rates.append(one_N[index_N].sum() / words_N[index_N].sum())
        drawn.append(np.array(rates))
        ordered = sorted(rates)
        halves.append((ordered[draws - 1 - draws // 40] - ordered[draws // 40]) / 2)
        scores.append(one_N.sum() / words_N.sum())
    observed = scores[1] - scores[0]
    far = np.abs(drawn[1] - drawn[0] - observed) >= abs(observed) - 1e-12
    return Answer(tuple(scores), tuple(halves), (far.sum() + 1) / (draws + 1))


def sacrebleu_one_by_one(
    make: Callable[[], sacrebleu.metrics.base.Metric],
    references: Sequence[str],
    systems: Sequence[Sequence[str]],
    draws: int,
) -> Answer:
    forget()
    os.environ["SACREBLEU_SEED"] = str(SEED)
    alone = [make().corpus_score(answers, [references], n_bootstrap=draws) for answers in systems]
    named = [(str(i), answers) for i, answers in enumerate(systems)]
    _, tested = PairedTest(named, {"m": make()}, [references], "bs", n_samples=draws)()
    (results,) = [value for name, value in tested.items() if name != "System"]
    return Answer(
        tuple(each.score for each in alone), tuple(each._ci for each in alone), results[1].p_value
    )


def check(found: Answer, wanted: Answer) -> None:
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-9)
    np.testing.assert_allclose(found.halves, wanted.halves, rtol=1e-3)  # sacrebleu sums in float32
    np.testing.assert_allclose(found.p_value, wanted.p_value, atol=2e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    VERSIONS.extend(["jiwer", "sacrebleu", "rapidfuzz"])
    bench = Benchmark("score", settings=vars(options))
    references = texts(options.sentences, 1)
    systems = [spoil(references, 0.10, 2), spoil(references, 0.11, 3)]
    peers: dict[Metric, Callable[..., Answer]] = {
        "wer": wer_one_by_one,
        "bleu": functools.partial(sacrebleu_one_by_one, sacrebleu.BLEU),
        "chrf": functools.partial(sacrebleu_one_by_one, sacrebleu.CHRF),
        "ter": functools.partial(sacrebleu_one_by_one, lambda: sacrebleu.TER(asian_support=True)),
    }
    for metric, peer in peers.items():
        work = (references, systems, options.draws)
        check(ours(metric, *work), peer(*work))
        times = bench.compare(
            f"{metric}: score, interval and paired test",
            {
                "ours": lambda m=metric, w=work: ours(m, *w),
                "one by one": lambda p=peer, w=work: p(*w),
            },
            repeats=options.repeats,
            warmup=0,
            work=2 * options.sentences,
            unit="sentences/s",
        )
        bench.figure(f"{metric}_sentences_per_s", 2 * options.sentences / times["ours"].median)
        bench.figure(f"{metric}_vs_one_by_one", times["ours"].speedup_over(times["one by one"]))
    bench.save()


if __name__ == "__main__":
    main()
