"""The commands of `spire-dsu eval`. Each imports what it needs when it is called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from spire_evaluation.metrics import MetricConfig
    from spire_evaluation.significance import Resampling

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="From a checkpoint to numbers: predictions, scores, comparisons, one report.",
)

MetricName = Literal["wer", "cer", "spbleu", "bleu", "chrf", "ter", "comet", "cometkiwi", "ner"]
Refs = Annotated[
    Path,
    typer.Option(help="References: JSON lines with id and text (source, speaker, lang, tags)."),
]
Lang = Annotated[str | None, typer.Option(help="Language of the texts; else the references' own.")]
Norm = Annotated[
    Literal["auto", "whisper-english", "whisper-basic", "whisper-split", "none"],
    typer.Option(help="wer, cer: the text normaliser; auto goes by the language."),
]
Spm = Annotated[
    Path | None, typer.Option(help="spbleu: SentencePiece model of FLORES-200 [SPIRE_FLORES_SPM].")
]
Sha = Annotated[str | None, typer.Option(help="spbleu: SHA-256 that this model must have.")]
CometModel = Annotated[
    str | None, typer.Option(help="comet, cometkiwi: folder, checkpoint, or hub id in the cache.")
]
CometEnv = Annotated[
    Path | None, typer.Option(help="comet: environment with unbabel-comet [SPIRE_COMET_PYTHON].")
]
Batch = Annotated[int, typer.Option(help="comet, cometkiwi: segments at once.")]
Half = Annotated[Literal["fp32", "fp16"], typer.Option(help="comet, cometkiwi: fp16 needs a GPU.")]
Seed = Annotated[int, typer.Option(help="Seed of all resampling.")]
Draws = Annotated[int, typer.Option(help="Resampled test sets.")]
Level = Annotated[float, typer.Option(help="Coverage of the intervals.")]


@app.command()
def score(
    metric: Annotated[MetricName, typer.Option(help="What to compute.")],
    refs: Refs,
    hyps: Annotated[Path, typer.Option(help="Hypotheses: JSON lines with id and text.")],
    lang: Lang = None,
    normalizer: Norm = "auto",
    flores_spm: Spm = None,
    flores_sha256: Sha = None,
    comet_model: CometModel = None,
    comet_environment: CometEnv = None,
    batch_size: Batch = 16,
    precision: Half = "fp32",
    seed: Seed = 12345,
    draws: Draws = 10_000,
    level: Level = 0.95,
    per_segment: Annotated[
        Path | None, typer.Option(help="Also write the counts of each segment: JSON lines.")
    ] = None,
) -> None:
    """One score of one system: prints one JSON object whose last key is `score`.

    Reads references and hypotheses joined by id; an id that is missing, extra or twice is an error.
    wer, cer, comet and cometkiwi are fractions, the others points of 100. The object also holds
    the confidence interval (by speaker too, where all references have one), counts, empty texts,
    the signature and versions.

    Example: spire-dsu eval score --metric wer --refs refs.jsonl --hyps spire.jsonl
    """
    from spire_evaluation import scoring
    from spire_evaluation.metrics import TEXTLESS
    from spire_evaluation.segments import read_joined

    config = _config(
        lang=lang,
        normalizer=normalizer,
        flores_spm=flores_spm,
        flores_sha256=flores_sha256,
        comet_model=comet_model,
        comet_environment=comet_environment,
        comet_batch_size=batch_size,
        comet_precision=precision,
    )
    resampling = _resampling(seed, draws, level)
    joined = read_joined(refs, hyps, text_required=metric not in TEXTLESS)
    found, measured = scoring.score(metric, joined, config, resampling)
    if per_segment is not None:
        scoring.write_segments(per_segment, joined, measured)
    typer.echo(json.dumps(found, ensure_ascii=False))


@app.command()
def compare(
    metric: Annotated[
        list[str], typer.Option(help="What to compute, as for score; may be repeated.")
    ],
    refs: Refs,
    hyps: Annotated[list[str], typer.Option(help="NAME=FILE, once for each system.")],
    lang: Lang = None,
    normalizer: Norm = "auto",
    flores_spm: Spm = None,
    flores_sha256: Sha = None,
    comet_model: CometModel = None,
    comet_environment: CometEnv = None,
    batch_size: Batch = 16,
    precision: Half = "fp32",
    test: Annotated[
        Literal["own", "randomization"],
        typer.Option(help="p-values: the metric's own bootstrap, or approximate randomisation."),
    ] = "own",
    seed: Seed = 12345,
    draws: Draws = 10_000,
    level: Level = 0.95,
) -> None:
    """Every pair of systems on one test set, under the same draws: prints one JSON object.

    Each pair has its difference with an interval, the probability of improvement, a p-value, and
    the p-value corrected (Holm) over all pairs and metrics asked for. Differences are those of the
    second system less the first.

    Example: spire-dsu eval compare --metric wer --refs refs.jsonl --hyps spire=a.jsonl
    --hyps whisper=b.jsonl
    """
    from spire_evaluation import scoring
    from spire_evaluation.metrics import TEXTLESS, known_metric
    from spire_evaluation.segments import join, read_segments

    config = _config(
        lang=lang,
        normalizer=normalizer,
        flores_spm=flores_spm,
        flores_sha256=flores_sha256,
        comet_model=comet_model,
        comet_environment=comet_environment,
        comet_batch_size=batch_size,
        comet_precision=precision,
    )
    resampling = _resampling(seed, draws, level)
    metrics = [known_metric(name) for name in metric]
    files = _named(hyps)
    references = read_segments(refs, text_required=not TEXTLESS.issuperset(metrics))
    systems = {name: join(references, read_segments(file), name) for name, file in files.items()}
    found = scoring.compare(metrics, systems, config, resampling, test)
    typer.echo(json.dumps(found, ensure_ascii=False))


def _config(**values: object) -> MetricConfig:
    from spire_dsu.config import validate
    from spire_evaluation.metrics import MetricConfig

    return validate(values, MetricConfig, "options")


def _resampling(seed: int, draws: int, level: float) -> Resampling:
    from spire_dsu.config import validate
    from spire_evaluation.significance import Resampling

    return validate({"seed": seed, "draws": draws, "level": level}, Resampling, "options")


def _named(hyps: list[str]) -> dict[str, Path]:
    from spire_dsu.errors import InputError

    files: dict[str, Path] = {}
    for each in hyps:
        name, sign, file = each.partition("=")
        if not (name and sign and file):
            raise InputError(f"--hyps {each!r} is not NAME=FILE")
        if name in files:
            raise InputError(f"--hyps names system {name!r} twice")
        files[name] = Path(file)
    return files


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="What to answer, by whom: a TOML file.")],
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only the answers of this system, no scores; may be repeated."),
    ] = None,
) -> None:
    """Answers test sets with systems, scores the answers, and writes one report.

    Reads the test sets' folders and the models' that CONFIG names; fetches nothing. Writes
    OUT/predictions, OUT/scores and OUT/report.md, .html and .json. A run that was stopped goes on
    with the same command. With --only, systems answer on several GPUs or machines at a time, and
    the command without it then scores what all of them said.

    Example: spire-dsu eval run spire.toml
    """
    from spire_dsu.config import load_toml
    from spire_dsu.convert import Interrupted
    from spire_evaluation.config import RunConfig
    from spire_evaluation.run import evaluate

    settings = load_toml(config, RunConfig)
    try:
        written = evaluate(settings, only=only or (), say=lambda text: typer.echo(text, err=True))
    except Interrupted as stopped:
        typer.echo(f"spire-dsu: {stopped}", err=True)
        raise typer.Exit(75) from stopped
    typer.echo(f"wrote {written}" + ("" if only else ", and .html and .json beside it"))


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="The folder of `spire-dsu eval run`.")],
) -> None:
    """Writes report.md and report.html anew from report.json.

    Example: spire-dsu eval report results/spire
    """
    from spire_evaluation.report import render

    typer.echo(f"wrote {render(out)}, and .html beside it")


@app.command()
def answer(
    audio: Annotated[list[Path], typer.Argument(help="wav, flac, ogg, opus or mp3 files.")],
    model: Annotated[str, typer.Option(help="An instructed Spire model: folder or hub id.")],
    task: Annotated[
        str, typer.Option(help="asr, or st:LANGUAGE (st:de), from English speech.")
    ] = "asr",
    units: Annotated[str, typer.Option(help="The discretizer: preset, folder, hub id.")] = "spire",
    style: Annotated[str, typer.Option(help="White space of the prompt.")] = "spirelm",
    engine: Annotated[
        Literal["vllm", "transformers"], typer.Option(help="vllm has an environment of its own.")
    ] = "vllm",
    dtype: Annotated[
        Literal["bfloat16", "float16", "float32"], typer.Option(help="Of the model.")
    ] = "bfloat16",
    max_new_tokens: Annotated[int, typer.Option(help="An answer is cut after so many.")] = 256,
) -> None:
    """Transcribes or translates English speech with a Spire model.

    Prints a JSON line per file, in order: id, source, status, text, finish. A file that cannot be
    read has its reason as status, and the exit status is then 1.

    Example: spire-dsu eval answer talk.wav --model utter-project/SpireFull --task st:de
    """
    import dataclasses

    from spire_dsu.discretizer import Discretizer
    from spire_dsu.llm.generation import GenerationConfig
    from spire_evaluation.answer import answer_files, target_of

    target = target_of(task)
    found = answer_files(
        audio,
        model=model,
        discretizer=Discretizer.from_pretrained(units),
        target=target,
        style=style,
        config=GenerationConfig(engine=engine, dtype=dtype, max_new_tokens=max_new_tokens),
    )
    bad = False
    for each in found:
        row = {key: str(value) for key, value in dataclasses.asdict(each).items() if value}
        typer.echo(json.dumps({"text": "", **row}, ensure_ascii=False))
        bad |= each.status != "ok"
    raise typer.Exit(1 if bad else 0)
