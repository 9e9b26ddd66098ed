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
    """Add the time that a stage took, also one that was cut short, to the work folder."""
    began = time.monotonic()
    try:
        yield
    finally:
        work.folder.mkdir(parents=True, exist_ok=True)
        row = {"stage": stage, "seconds": round(time.monotonic() - began, 1)}
        with (work.folder / TIMINGS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def minutes_so_far(work: Work) -> float:
    """What all stages took, in minutes."""
    rows = (work.folder / TIMINGS).read_text("utf-8").splitlines()
    return sum(json.loads(row)["seconds"] for row in rows) / 60


def finish(work: Work, out: Path, results: Path, report: Report) -> None:
    """Make the model folder `out` and the figures `results` of the last round's encoder."""
    began, last = time.monotonic(), len(work.settings.rounds)
    scores = layer_scores(work, last, report)
    layer = max(scores, key=lambda candidate: scores[candidate].pnmi)
    encoder = round_to_float16(work.encoder_after(last))
    extractor = LayerFeatures(encoder, layer)
    centroids, fit = units_of(extractor, work)
    report(f"codebook of layer {layer}: {fit}")
    ours, baseline = judge(extractor, centroids, work), judge_mfcc(work, report)
    report(f"test: {ours}")
    hours = work.split("train").hours
    size = write_model(out, work.settings, encoder, layer, centroids, hours)
    gain = ours.distorted.pnmi - baseline.distorted.pnmi
    clean_gain = ours.clean.pnmi - baseline.clean.pnmi
    figures = {
        **ours.figures("mini"),
        **baseline.figures("mfcc"),
        "pnmi_gain_over_mfcc": round(gain, 4),
        "pnmi_gain_over_mfcc_clean": round(clean_gain, 4),
        "units_used": fit.used,
        "unit_perplexity": round(fit.perplexity, 1),
        "layer": layer,
        "seed": work.settings.seed,
        "train_hours": round(hours, 2),
        "train_voices": len({u.voice for u in work.split("train").utterances}),
        "test_hours": round(work.split("test").hours, 2),
        "test_voices": len({u.voice for u in work.split("test").utterances}),
        "minutes": round(minutes_so_far(work) + (time.monotonic() - began) / 60, 1),
        **size,
    }
    write_results(results, work.settings, figures, {k: v.pnmi for k, v in scores.items()})
    report(json.dumps(figures, indent=2))


def write_demo(folder: Path) -> Path:
    """Write the bundled recording, `demo.flac`, and what it says, `demo.json`."""
    ((samples, _, _),) = corpus.speak([DEMO])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "demo.flac"
    soundfile.write(path, samples, SAMPLING_RATE, subtype="PCM_16")
    about = {
        "text": DEMO.text,
        "voice": f"espeak-ng {DEMO.voice}, a voice that training never heard",
    }
    write_atomically(folder / "demo.json", (json.dumps(about, indent=2) + "\n").encode())
    return path
