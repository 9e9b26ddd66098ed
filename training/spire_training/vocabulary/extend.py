"""A Hugging Face folder in, one with units in its vocabulary out."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spire_dsu.errors import ConfigError, ModelError
from spire_dsu.files import sha256_of_file
from spire_dsu.llm.rendering import TURN_END
from spire_dsu.llm.vocabulary import UnitVocabulary, VocabularyError
from spire_dsu.storage import write_file
from spire_training.vocabulary import tokenizer, weights
from spire_training.vocabulary.rows import Float64, new_rows, statistics
from spire_training.vocabulary.tokens import PAD, Addition, Form, Layout, plan

CONFIG, GENERATION, NOTE = "config.json", "generation_config.json", "extend_vocab.json"


@dataclass(frozen=True, slots=True)
class Extended:
    """What was made.

    Attributes:
        folder: the Hugging Face folder.
        vocabulary: where its units are.
        rows: rows of its tables; those from `vocabulary.num_tokens` on are padding.
        ridge: table -> what was added to each variance to factorise its covariance; 0 for nothing.
    """

    folder: Path
    vocabulary: UnitVocabulary
    rows: int
    ridge: dict[str, float]


def extend_vocabulary(
    base: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    units: int,
    seed: int = 0,
    form: Form = "extra_id",
    chat: bool = False,
    layout: Layout | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Extended:
    """Adds unit tokens to a Llama-family model and its tokenizer.

    A base that has the units already (SpireBase) only gets the marks of ChatML, in what was
    padding.

    Args:
        base: a Hugging Face folder with safetensors.
        out: the folder to make; must not exist, or be empty. It appears when it is whole.
        units: K of the codebook.
        seed: of the new rows.
        form: "extra_id" or "pua", how a unit is spelled.
        chat: adds `<|im_end|>` and `<|im_start|>` and the chat template.
        layout: "released" or "append"; None decides by the size of the base's vocabulary.
        tell: told what is done, line by line.

    Raises:
        VocabularyError: the tokenizer cannot take these tokens.
        ModelError: the base cannot be read, or its tables have no statistics.
        ConfigError: `out` is there already.
    """
    source, target = Path(base), Path(out)
    if target.exists() and any(target.iterdir()):
        raise ConfigError(f"{target}: is there already, and not empty")
    config = _json(source / CONFIG)
    known = tokenizer.known_tokens(tokenizer.read_fast(source))
    addition = plan(known, units=units, form=form, chat=chat, layout=layout, name=str(source))
    tables = _tables(source, config, addition)
    base_rows = weights.shape_of(source, *next(iter(tables.items()))[::-1])[0]
    rows = addition.rows(base_rows)
    tell(f"{len(addition.names)} new tokens from id {addition.first_id}, {rows} rows")
    new, ridge = _new_rows(source, tables, addition, rows, seed, tell)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    try:
        tokenizer.write_tokenizer(source, temporary, addition, chat)
        _write_configs(source, temporary, config, addition, rows, chat)
        weights.write_model(source, temporary, new, addition.first_id)
        vocabulary = _check(temporary, addition, units)
        note = {
            "base": {name: sha256_of_file(source / name) for name in _small_files(source)},
            "seed": seed,
            "form": form,
            "rows": rows,
            "num_tokens": vocabulary.num_tokens,
            "first_unit_token": vocabulary.first_unit_token,
            "num_units": vocabulary.num_units,
            "ridge": ridge,
        }
        write_file(temporary / NOTE, json.dumps(note, indent=2).encode() + b"\n")
        if target.exists():
            target.rmdir()
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return Extended(target, vocabulary, rows, ridge)


def _tables(source: Path, config: dict[str, Any], addition: Addition) -> dict[str, str]:
    """The tables to extend and their files: both, or the one that a tied model has."""
    files = weights.files_of(source)
    tied = bool(config.get("tie_word_embeddings", False))
    names = [weights.EMBEDDING, *([] if tied and weights.HEAD not in files else [weights.HEAD])]
    for name in names:
        if name not in files:
            raise ModelError(f"{source}: has no tensor {name}, as models of the Llama family have")
    sizes = {name: weights.shape_of(source, files[name], name)[0] for name in names}
    if len(set(sizes.values())) > 1 or min(sizes.values()) < addition.first_id:
        raise ModelError(
            f"{source}: the tokenizer knows {addition.first_id} tokens, and its tables have "
            f"{sizes} rows"
        )
    return {name: files[name] for name in names}


def _new_rows(
    source: Path,
    tables: dict[str, str],
    addition: Addition,
    rows: int,
    seed: int,
    tell: Callable[[str], None],
) -> tuple[dict[str, Float64], dict[str, float]]:
    """The rows behind the base's tokens, for each table from its own statistics."""
    new: dict[str, Float64] = {}
    ridge: dict[str, float] = {}
    tied = bool(_json(source / CONFIG).get("tie_word_embeddings", False))
    drawn = len(addition.names)
    for number, (name, file) in enumerate(tables.items()):
        if tied and new:  # a tied model that stores its table twice
            new[name] = new[weights.EMBEDDING]
            continue
        tell(f"statistics of {name}")
        old = (weights.blocks_of(source, file, name, addition.first_id) for _ in range(2))
        known = statistics(next(old), next(old), name)
        ridge[name] = known.ridge
        new[name] = new_rows(known, drawn, rows - addition.num_tokens, seed, number)
    return new, ridge


def _write_configs(
    source: Path,
    target: Path,
    config: dict[str, Any],
    addition: Addition,
    rows: int,
    chat: bool,
) -> None:
    """`config.json` and `generation_config.json`: table rows, and what ends a text."""
    changed: dict[str, Any] = {}
    ids = {name: addition.first_id + place for place, name in enumerate(addition.names)}
    known = tokenizer.known_tokens(tokenizer.read_fast(source))
    if chat:
        changed["eos_token_id"] = {**known, **ids}[TURN_END]
    if PAD in ids:
        changed["pad_token_id"] = ids[PAD]
    place = {"num_tokens": addition.num_tokens}
    content = {**config, **changed, "vocab_size": rows, "spire_vocabulary": place}
    write_file(target / CONFIG, json.dumps(content, indent=2).encode() + b"\n")
    if (source / GENERATION).is_file():
        content = {**_json(source / GENERATION), **changed}
        write_file(target / GENERATION, json.dumps(content, indent=2).encode() + b"\n")


def _check(folder: Path, addition: Addition, units: int) -> UnitVocabulary:
    """Loads the new tokenizer and finds every new token where it should be."""
    from transformers import AutoTokenizer

    made = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    vocabulary = UnitVocabulary.of(made)
    ids = made.get_vocab()
    for place, name in enumerate(addition.names):
        if ids.get(name) != addition.first_id + place:
            raise VocabularyError(f"{name!r} became token {ids.get(name)}")
    if vocabulary.num_units != units or vocabulary.num_tokens != addition.num_tokens:
        raise VocabularyError(f"the tokenizer that was made has {vocabulary}")
    return vocabulary


def _small_files(folder: Path) -> list[str]:
    names = (CONFIG, tokenizer.FAST, tokenizer.PIECES, weights.INDEX)
    return [name for name in names if (folder / name).is_file()]


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    return content
