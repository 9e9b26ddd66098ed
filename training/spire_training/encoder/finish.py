"""The last stage: choose the layer, fit the codebook to the float16 weights, judge, write model
folder and demo.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from spire_dsu.files import write_atomically
from spire_dsu.purity import Purity
from spire_dsu.types import SAMPLING_RATE
from spire_training.encoder import corpus
from spire_training.encoder.judge import judge, judge_mfcc, layer_scores, units_of
from spire_training.encoder.model import LayerFeatures
from spire_training.encoder.package import round_to_float16, write_model, write_results
from spire_training.encoder.stages import Report, Work

TIMINGS = "timings.jsonl"
DEMO = corpus.Line(
    voice="gmw/en-GB-x-rp+f4",  # a voice of the test split
    text="Speech becomes a neighbour of text, once it is written down as units.",
    words_per_minute=165,
    pitch=50,
)


@contextmanager
def timed(work: Work, stage: str) -> Iterator[None]:
    """Note in the work folder what a stage took, also one that failed."""
    began, used = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        row = {
            "stage": stage,
            "seconds": round(time.monotonic() - began, 1),
            "processor_seconds": round(time.process_time() - used, 1),
        }
        work.folder.mkdir(parents=True, exist_ok=True)
        with (work.folder / TIMINGS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def minutes(work: Work) -> dict[str, float]:
    """What all stages took, in minutes: by the clock, and on all cores together (without the
    processes that speak).
    """
    rows = [json.loads(row) for row in (work.folder / TIMINGS).read_text("utf-8").splitlines()]
    return {
        name: round(sum(float(row[key]) for row in rows) / 60, 1)
        for name, key in (
            ("encoder_minutes", "seconds"),
            ("encoder_processor_minutes", "processor_seconds"),
        )
    }


def finish(work: Work, out: Path, results: Path, report: Report) -> None:
    """Make the model folder `out` and the figures `results` of the last round's encoder."""
    with timed(work, "finish"):
        figures, scores = _package(work, out, report)
    figures |= minutes(work)
    write_results(results, work.settings, figures, {k: v.pnmi for k, v in scores.items()})
    report(json.dumps(figures, indent=2))


def _package(work: Work, out: Path, report: Report) -> tuple[dict[str, float], dict[int, Purity]]:
    """Write the model folder; its figures, and purity on dev by layer."""
    last = len(work.settings.rounds)
    scores = layer_scores(work, last, report)
    layer = max(scores, key=lambda candidate: scores[candidate].pnmi)
    encoder = round_to_float16(work.encoder_after(last))
    extractor = LayerFeatures(encoder, layer)
    centroids, fit = units_of(extractor, work)
    report(f"codebook of layer {layer}: {fit}")
    ours, baseline = judge(extractor, centroids, work), judge_mfcc(work, report)
    report(f"test: {ours}")
    train, test = work.split("train"), work.split("test")
    size = write_model(out, work.settings, encoder, layer, centroids, train.hours)
    figures = {
        **ours.figures("mini"),
        **baseline.figures("mfcc"),
        "pnmi_gain_over_mfcc": ours.distorted.pnmi - baseline.distorted.pnmi,
        "pnmi_gain_over_mfcc_clean": ours.clean.pnmi - baseline.clean.pnmi,
        "units_used": fit.used,
        "unit_perplexity": fit.perplexity,
        "layer": layer,
        "seed": work.settings.seed,
        "train_hours": train.hours,
        "train_voices": train.voices,
        "test_hours": test.hours,
        "test_voices": test.voices,
        **size,
    }
    return {name: round(value, 4) for name, value in figures.items()}, scores


def write_demo(folder: Path) -> Path:
    """Write the bundled recording, `demo.flac`, and what it says, `demo.json`."""
    (((samples, _, _),),) = corpus.speak_apart([[DEMO]], 1)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo.flac"
    soundfile.write(path, samples, SAMPLING_RATE, subtype="PCM_16")
    about = {
        "text": DEMO.text,
        "voice": f"espeak-ng {DEMO.voice}, a voice that training never heard",
    }
    write_atomically(folder / "demo.json", (json.dumps(about, indent=2) + "\n").encode())
    return path
