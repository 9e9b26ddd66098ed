"""Commands for a corpus: `fit`, `convert`, `verify`, `inspect`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from spire_dsu.cli.options import Device, Model, Precision

if TYPE_CHECKING:
    from spire_dsu.export import Exported

Output = Annotated[Path, typer.Argument(help="The output folder of `spire-dsu convert`.")]


def fit(
    manifest: Annotated[str, typer.Argument(help="As for `spire-dsu convert`.")],
    encoder: Annotated[str, typer.Option(help="A HuBERT folder, or a hub id.")],
    out: Annotated[Path, typer.Option(help="The model folder; it appears when all is done.")],
    layer: Annotated[int, typer.Option(help="Whose output is clustered.")] = 22,
    clusters: Annotated[int, typer.Option(help="Units.")] = 5000,
    max_per_speaker: Annotated[
        int | None, typer.Option(help="Rows of one speaker. Default: any number.")
    ] = None,
    hours: Annotated[float, typer.Option(help="Audio that is used, at most.")] = 100.0,
    seed: Annotated[int, typer.Option(help="Decides all that is drawn.")] = 0,
    heldout: Annotated[float, typer.Option(help="Share of the rows measured, not fitted.")] = 0.02,
    cache: Annotated[
        Literal["memory", "scratch"], typer.Option(help="Where frames are: memory, or OUT.fit.")
    ] = "memory",
    cache_gb: Annotated[float, typer.Option(help="Room for frames; more are thinned.")] = 8.0,
    half: Annotated[bool, typer.Option("--half", help="Keep frames in float16.")] = False,
    normalize_eps: Annotated[float, typer.Option(help="fairseq 1e-5, transformers 1e-7.")] = 1e-5,
    passes: Annotated[int, typer.Option(help="Over the frames, at most.")] = 30,
    tolerance: Annotated[float, typer.Option(help="A smaller gain ends it.")] = 5e-4,
    phones: Annotated[
        Path | None, typer.Option(help="JSON lines of phone times, for PNMI.")
    ] = None,
    device: Device = "auto",
    precision: Precision = "exact",
) -> None:
    """Fits a codebook to a corpus: k-means over the features of an encoder's layer.

    Reads a list of recordings in any form, and the recordings that it chooses from it. Writes a
    model folder for --model, with report.json: inertia, usage, perplexity. Features are never
    written to disk as a corpus. The result depends on the seed and the recordings alone, not on the
    order of the list, the threads (on a CPU) or interruptions.

    Status 28: the disk is full; 75: interrupted, go on with the same command.

    Example: spire-dsu fit covost.jsonl --encoder facebook/hubert-large-ll60k --max-per-speaker 8
    --out model/
    """
    from spire_dsu.fit import main

    status = main(
        manifest=manifest,
        out=out,
        encoder=encoder,
        layer=layer,
        clusters=clusters,
        max_per_speaker=max_per_speaker,
        hours=hours,
        seed=seed,
        heldout=heldout,
        cache=cache,
        cache_bytes=int(cache_gb * 2**30),
        dtype="float16" if half else "float32",
        normalize_eps=normalize_eps,
        passes=passes,
        tolerance=tolerance,
        phones=phones,
        device=device,
        precision=precision,
    )
    raise typer.Exit(status)


def convert(
    manifest: Annotated[
        str,
        typer.Argument(
            help="Folder, .tsv, .jsonl, Kaldi, Lhotse, Parquet, tar, or corpus:NAME:..."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The output folder; an unfinished one is continued.")],
    model: Model = "mini",
    device: Device = "auto",
    precision: Precision = "auto",
    engine: Annotated[Literal["local", "ray"], typer.Option(help="Processes, or Ray.")] = "local",
    workers: Annotated[
        int | None, typer.Option(help="Default: one per GPU, or per core without one.")
    ] = None,
    rows_per_shard: Annotated[int, typer.Option(help="Manifest rows per shard.")] = 4096,
    shard_index: Annotated[int, typer.Option(help="Which part of a job array this is.")] = 0,
    num_shards: Annotated[int, typer.Option(help="How many parts the job array has.")] = 1,
    form: Annotated[
        str | None, typer.Option(help="The manifest's form, where its name does not tell.")
    ] = None,
    max_seconds: Annotated[float, typer.Option(help="Longer audio is `too_long`.")] = 21_600.0,
    timeout: Annotated[
        float, typer.Option(help="Seconds to decode one recording; beyond, it is `timeout`.")
    ] = 60.0,
    decoders: Annotated[
        int | None, typer.Option(help="Decoding processes per worker. Default: 1, more by a GPU.")
    ] = None,
    max_bad: Annotated[
        float, typer.Option(help="Share of rows without units above which the status is 1.")
    ] = 0.001,
) -> None:
    """Turns a corpus into Parquet shards of units; goes on where an earlier run was stopped.

    Reads a list of recordings in any form, and the recordings. Writes OUT/units-*.parquet, a row
    for each row of the list, `ok` or with its reason, and at last OUT/manifest.json. The bytes are
    the same for any number of workers, either engine and any interruptions.

    Status 28: the disk is full; 75: interrupted, go on with the same command.

    Example: spire-dsu convert librispeech.jsonl units/ --model spire
    """
    from spire_dsu.convert import main

    status = main(
        manifest=manifest,
        out=out,
        model=model,
        device=device,
        precision=precision,
        engine=engine,
        workers=workers,
        rows_per_shard=rows_per_shard,
        shard_index=shard_index,
        num_shards=num_shards,
        form=form,
        max_seconds=max_seconds,
        timeout_seconds=timeout,
        decoders=decoders,
        max_bad=max_bad,
    )
    raise typer.Exit(status)


def verify(out: Output) -> None:
    """Reads every byte of a conversion and names each file at fault; status 1 where there is one.

    Reads OUT and writes nothing; prints how much is good, and each problem to standard error.

    Example: spire-dsu verify units/
    """
    from spire_dsu.verify import verify as run

    found = run(out)
    for problem in found.problems:
        typer.echo(f"{problem}", err=True)
    good = f"{found.shards} shards, {found.rows} rows, {found.bytes} bytes are good"
    typer.echo(good if found.ok else f"{good}; {len(found.problems)} problems")
    raise typer.Exit(0 if found.ok else 1)


def inspect(
    out: Output,
    html: Annotated[Path | None, typer.Option(help="Also write one HTML page, offline.")] = None,
) -> None:
    """What a conversion holds: hours, units, reasons, run lengths; as tables and as a page.

    Reads OUT, and checks every byte; writes nothing but the page that --html names.

    Example: spire-dsu inspect units/ --html units.html
    """
    from spire_dsu.report import print_summary, summarize, write_html

    summary = summarize(out)
    print_summary(summary, Console())
    if html is not None:
        typer.echo(f"wrote {write_html(summary, html)}")


def export(
    out: Output,
    to: Annotated[
        Literal["megatron", "text", "km", "jsonl", "shar"], typer.Option(help="The form.")
    ],
    path: Annotated[Path, typer.Option(help="File, prefix (megatron) or folder (shar).")],
    first_unit_token: Annotated[
        int, typer.Option(help="megatron: token id of unit 0; the released one by default.")
    ] = 32_005,
    vocab_size: Annotated[
        int | None, typer.Option(help="megatron: decides between uint16 and int32.")
    ] = None,
    end_token: Annotated[
        int | None, typer.Option(help="megatron: appended to every document.")
    ] = None,
    form: Annotated[Literal["extra_id", "pua"], typer.Option(help="text: spelling.")] = "extra_id",
    frames: Annotated[
        bool, typer.Option("--frames", help="text, km, shar: one unit per frame.")
    ] = False,
    cuts: Annotated[Path | None, typer.Option(help="shar: the cuts it was made from.")] = None,
) -> None:
    """Writes a finished conversion in the form that a trainer reads, and reads it back.

    Reads OUT; writes PATH (megatron: PATH.bin and PATH.idx; shar: a folder). Rows without units
    are left out and counted.

    Example: spire-dsu export units/ --to megatron --path data/speech --vocab-size 37056
    """
    done = _export(out, to, path, first_unit_token, vocab_size, end_token, form, frames, cuts)
    for file in done.files:
        typer.echo(f"wrote {file}")
    left = ", ".join(f"{count} {status}" for status, count in done.left_out.items()) or "none"
    typer.echo(f"{done.rows} rows, {done.units} units; left out: {left}")


def _export(
    out: Path,
    to: str,
    path: Path,
    first_unit_token: int,
    vocab_size: int | None,
    end_token: int | None,
    form: str,
    frames: bool,
    cuts: Path | None,
) -> Exported:
    from spire_dsu import export as forms

    if to == "megatron":
        return forms.export_megatron(
            out,
            path,
            first_unit_token=first_unit_token,
            vocab_size=vocab_size,
            end_token=end_token,
        )
    if to == "text":
        return forms.export_text(out, path, form=form, frames=frames)
    if to == "km":
        return forms.export_km(out, path, frames=frames)
    if to == "shar":
        return forms.export_shar(out, path, cuts=cuts, frames=frames)
    return forms.export_jsonl(out, path)
