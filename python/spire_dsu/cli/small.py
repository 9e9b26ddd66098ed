"""Commands for a few files: `demo`, `encode`, `import-codebook`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from spire_dsu.cli.options import Device, Model, Precision, load
from spire_dsu.errors import Reason


def demo(
    out: Annotated[Path, typer.Option(help="Folder for units.png and units.json.")] = Path("demo"),
    model: Model = "mini",
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """The bundled speech -> units: a table, a picture of the waveform with its units, and JSON.

    Example: spire-dsu demo --out demo
    """
    from spire_dsu.audio import read_audio
    from spire_dsu.demo import DEMO_AUDIO, demo_text
    from spire_dsu.plot import draw_units
    from spire_dsu.types import FRAME_SECONDS

    discretizer = load(model, device, precision)
    samples = read_audio(DEMO_AUDIO)
    units = discretizer.encode(samples)
    table = Table(title=f'"{demo_text()}"', caption=f"model {discretizer.name}")
    for column in ("unit", "start (s)", "duration (s)"):
        table.add_column(column, justify="right")
    rows = zip(units.ids.tolist(), units.starts.tolist(), units.durations.tolist(), strict=True)
    for unit, start, duration in rows:
        table.add_row(str(unit), f"{start * FRAME_SECONDS:.2f}", f"{duration * FRAME_SECONDS:.2f}")
    console = Console()
    console.print(table)
    out.mkdir(parents=True, exist_ok=True)
    draw_units(samples, units, out / "units.png", title=f'"{demo_text()}"')
    row = {
        "text": demo_text(),
        "model": discretizer.name,
        "fingerprint": discretizer.fingerprint(),
        "units": units.ids.tolist(),
        "durations": units.durations.tolist(),
        "num_frames": units.num_frames,
        "num_samples": int(samples.size),
    }
    (out / "units.json").write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
    seconds = samples.size / 16_000
    console.print(
        f"{seconds:.2f} s of speech, {units.num_frames} frames, {len(units)} units "
        f"({len(units) / seconds:.1f} per second)"
    )
    console.print(f"wrote {out / 'units.png'} and {out / 'units.json'}", soft_wrap=True)


def encode(
    audio: Annotated[list[Path], typer.Argument(help="wav, flac, ogg, opus or mp3; any rate.")],
    model: Model = "mini",
    device: Device = "auto",
    precision: Precision = "auto",
    frames: Annotated[
        bool, typer.Option("--frames", help="One unit per frame; runs are not merged.")
    ] = False,
) -> None:
    """Units of audio files: one JSON line per file on standard output, in the order given.

    A line holds id, source, status, units, durations (frames of 20 ms), num_frames and
    num_samples; a file without units has its reason as status and a message, and the exit status
    is then 1.

    Example: spire-dsu encode talk.flac call.mp3 --model spire > units.jsonl
    """
    discretizer = load(model, device, precision)
    bad = 0
    for row in discretizer.encode_files(audio, deduplicate=not frames):
        typer.echo(json.dumps(row.to_dict(), ensure_ascii=False))
        bad += row.status is not Reason.OK
    if bad:
        typer.echo(f"spire-dsu: {bad} of {len(audio)} files have no units", err=True)
        raise typer.Exit(1)


def import_codebook(
    kmeans: Annotated[Path, typer.Argument(help="A scikit-learn k-means saved by joblib.")],
    out: Annotated[Path, typer.Option(help="The codebook to write (.safetensors).")],
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="You know where the file comes from.")
    ] = False,
) -> None:
    """Takes the centroids out of a joblib or pickle k-means file into a safetensors codebook.

    A pickle can run code when it is read. This reads it in a separate process that knows only
    what a k-means needs, and only when --trust-pickle says that you trust its source.

    Example: spire-dsu import-codebook kmeans_model --trust-pickle --out codebook.safetensors
    """
    from spire_dsu.import_pickle import import_codebook as run

    typer.echo(f"wrote {run(kmeans, out, trust_pickle=trust_pickle)}")
