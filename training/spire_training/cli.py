"""The commands of `spire-dsu train`. Each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="From shards to a speech language model: vocabulary, data, pre-training, instructions.",
)


@app.command()
def it(config: Annotated[Path, typer.Argument(help="TOML, see docs/it.md")]) -> None:
    """Instruction tuning: packed rows in, a chat model out.

    Reads a packed folder of the stage "it" and a Hugging Face folder; writes OUT/hf, losses as CSV
    and for TensorBoard, and checkpoints; started again, it goes on. Several processes: under
    torchrun or accelerate launch: `torchrun --nproc-per-node 8 -m spire_dsu.cli train it CONFIG`.

    Example: spire-dsu train it it.toml
    """
    from spire_dsu.config import load_toml
    from spire_training.it.config import ITConfig
    from spire_training.it.run import train_it

    typer.echo(train_it(load_toml(config, ITConfig)))


@app.command("extend-vocab")
def extend_vocab(
    base: Annotated[Path, typer.Argument(help="Hugging Face folder with safetensors")],
    out: Annotated[Path, typer.Argument(help="Hugging Face folder to make")],
    units: Annotated[int, typer.Option(help="K, the units of the codebook")],
    seed: Annotated[int, typer.Option(help="of the new rows")] = 0,
    form: Annotated[str, typer.Option(help="how a unit is spelled: extra_id or pua")] = "extra_id",
    chat: Annotated[bool, typer.Option("--chat", help="add ChatML's marks and template")] = False,
    layout: Annotated[
        str, typer.Option(help="released (units from 32005), append, or auto by the base's size")
    ] = "auto",
) -> None:
    """Unit tokens for a Llama-family model and its tokenizer: a folder in, a folder out.

    The new rows of both tables are drawn around the old ones; the old ones stay bit for bit. A base
    that has the units already only gets ChatML's marks.

    Example: spire-dsu train extend-vocab TowerBase-7B-v0.1 spire-base --units 5000 --seed 42
    """
    from spire_training.vocabulary.command import extend_vocab_command

    typer.echo(extend_vocab_command(base, out, units, seed, form, chat, layout))


@app.command()
def cpt(
    config: Annotated[Path, typer.Argument(help="TOML, see docs/cpt.md")],
    nproc: Annotated[int, typer.Option(min=1, help="processes to start on this machine")] = 1,
) -> None:
    """Continued pre-training on megatron-core: packed rows in, a Hugging Face folder out.

    Reads a packed folder of `train prepare` and a Llama with unit tokens; writes OUT/hf, a CSV and
    TensorBoard of losses, and checkpoints. Started again, an unfinished run goes on. Several
    machines: `torchrun ... --no-python spire-dsu train cpt CONFIG`.

    Example: spire-dsu train cpt cpt.toml --nproc 8
    """
    from spire_training.cpt.command import run

    finished = run(config, nproc)
    typer.echo("finished" if finished else "stopped in good order; the same command goes on")


@app.command("prepare")
def prepare_data(
    config: Annotated[Path, typer.Argument(help="TOML, see docs/training_data.md")],
    workers: Annotated[int, typer.Option(min=1, help="processes that render documents")] = 1,
    without: Annotated[
        list[str] | None, typer.Option(help="a source or group to leave out: an ablation")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="the folder, in place of CONFIG's")] = None,
) -> None:
    """Packed rows for pre-training or instructions, from shards, texts and instructions.

    Reads conversions (verified first), texts and a tokenizer with units; writes a packed folder
    whose manifest.json comes last. The same configuration always makes the same bytes.

    Example: spire-dsu train prepare cpt_data.toml --workers 8
    """
    from spire_training.data.command import prepare_command

    typer.echo(prepare_command(config, workers, without or (), out))


@app.command("pseudo-label")
def pseudo_label_command(
    config: Annotated[Path, typer.Argument(help="TOML, see docs/it.md")],
) -> None:
    """Translates transcripts with a language model and keeps what scores well.

    Reads shards of `convert`, or JSON lines with id and text; writes OUT/NAME.direct.jsonl and
    OUT/NAME.multi_turn.jsonl for `train prepare`, and OUT/report.json. Started again, it goes on.

    Example: spire-dsu train pseudo-label pseudo_label.toml
    """
    from spire_dsu.config import load_toml
    from spire_training.pseudo_label.run import pseudo_label
    from spire_training.pseudo_label.settings import PseudoLabelConfig

    typer.echo(pseudo_label(load_toml(config, PseudoLabelConfig)))


@app.command()
def ctc(config: Annotated[Path, typer.Argument(help="TOML, see docs/it.md")]) -> None:
    """The CTC baseline: HuBERT with three hidden layers and a projection to characters.

    Reads manifests with texts and a HuBERT; writes OUT/model, the best by character error rate,
    OUT/hyps for `eval score`, and losses. Started again, it goes on.

    Example: spire-dsu train ctc ctc.toml
    """
    from spire_dsu.config import load_toml
    from spire_training.ctc.run import train_ctc
    from spire_training.ctc.settings import CTCConfig

    typer.echo(train_ctc(load_toml(config, CTCConfig)))


@app.command()
def axolotl(
    config: Annotated[Path, typer.Argument(help="TOML of `train it`")],
    out: Annotated[Path, typer.Argument(help="YAML to write; conversations come beside it")],
    gpus: Annotated[int, typer.Option(min=1, help="that Axolotl will run on")] = 4,
) -> None:
    """The same instruction tuning for Axolotl: its YAML and the data as JSON lines.

    Axolotl itself pins other versions and lives in an environment of its own.

    Example: spire-dsu train axolotl it.toml axolotl.yml --gpus 4
    """
    from spire_dsu.config import load_toml
    from spire_training.it.axolotl import export_axolotl
    from spire_training.it.config import ITConfig

    made = export_axolotl(load_toml(config, ITConfig), out, gpus=gpus)
    typer.echo(f"{made.settings} and {made.conversations}: {made.written:,} conversations")
    if made.left_out:
        typer.echo(f"{made.left_out:,} left out: their text would get other token ids", err=True)


@app.command()
def translations(
    corpus: Annotated[str, typer.Argument(help="corpus:NAME:ROOT:SPLIT[,option=value...]")],
    out: Annotated[Path, typer.Argument(help="JSON lines to write")],
    lang: Annotated[str, typer.Option(help="language of the translations, such as de")],
    sentences: Annotated[
        str | None, typer.Option(help="FLEURS: the same split in that language, corpus:fleurs:...")
    ] = None,
) -> None:
    """The translations of a speech corpus as JSON lines {"id", "lang", "text"}, for `prepare`.

    Reads the corpus's tables, and no audio; writes one file.

    Example: spire-dsu train translations corpus:covost2:/data/cv-4/en:train st.de.jsonl --lang de
    """
    from spire_training.data.translations import write_translations

    written, without = write_translations(corpus, lang, out, sentences)
    typer.echo(f"wrote {written} translations to {out}; {without} rows have none")
