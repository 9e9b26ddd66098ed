"""Which form a manifest has, told from its name and its first line, and which reader takes it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spire_dsu.errors import ManifestError
from spire_dsu.manifest import folder, jsonl, kaldi, lhotse, parquet, shar, tsv, webdataset
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.folder import has_audio_name
from spire_dsu.textio import Note, printable, read_lines


@dataclass(frozen=True, slots=True)
class Options:
    """What a reader may be told besides the path.

    Attributes:
        columns: our name -> the manifest's, for forms with named columns.
        keep: further columns to carry in `Utterance.extra`.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[str, ...] = ()


Reader = Callable[[str, Note, Options], Iterator[Row]]

READERS: dict[str, Reader] = {
    "folder": lambda path, note, _: folder.read_folder(path, note),
    "tsv": lambda path, note, _: tsv.read_tsv(path, note),
    "jsonl": lambda path, note, ask: jsonl.read_jsonl(path, note, ask.columns, ask.keep),
    "kaldi": lambda path, note, _: kaldi.read_kaldi(path, note),
    "lhotse": lambda path, note, _: lhotse.read_cuts(path, note),
    "shar": lambda path, note, _: shar.read_shar(path, note),
    "parquet": lambda path, note, ask: parquet.read_parquet(path, note, ask.columns, ask.keep),
    "webdataset": lambda path, note, _: webdataset.read_webdataset(path, note),
}
WITH_COLUMNS = ("jsonl", "parquet")


def form_of(path: str) -> str:
    """The form of a file or folder.

    Raises:
        ManifestError: there is none, or it has no form known here; says what was looked for.
    """
    name = printable(path)
    if not os.path.exists(path):
        raise ManifestError(f"{name}: no such file or folder")
    if os.path.isdir(path):
        return _form_of_folder(path)
    lower = name.lower()
    plain = lower.removesuffix(".gz")
    if has_audio_name(lower):
        raise ManifestError(
            f"{name}: a recording; a manifest lists recordings (or give its folder)"
        )
    if plain.endswith(".tar"):
        return "webdataset"
    if lower.endswith(".parquet"):
        return "parquet"
    if plain.endswith(".tsv"):
        return "tsv"
    if os.path.basename(plain) == "wav.scp":
        return "kaldi"
    if plain.endswith((".jsonl", ".json", ".ndjson", ".manifest")):
        return _form_of_json(path)
    raise ManifestError(f"{name}: no known form by its name; say which: {', '.join(READERS)}")


def _form_of_folder(path: str) -> str:
    names = sorted(os.listdir(path))
    if "wav.scp" in names:
        return "kaldi"
    if any(shar.is_cuts(name) for name in names) and any(shar.is_audio(name) for name in names):
        return "shar"
    tables = [name for name in names if name.lower().endswith(".parquet")]
    tars = [name for name in names if name.lower().endswith(".tar")]
    audio = [name for name in names if has_audio_name(name)]
    kinds = [kind[0] for kind in (tables, tars, audio) if kind]
    if len(kinds) > 1:
        shown = ", ".join(printable(kind) for kind in kinds)
        raise ManifestError(
            f"{printable(path)}: holds {shown}: say which form is meant, "
            "folder, parquet or webdataset"
        )
    return "parquet" if tables else "webdataset" if tars else "folder"


def _form_of_json(path: str) -> str:
    """Lhotse's lines have a recording, or sources; NeMo's have neither."""
    for _, line in read_lines(path):
        if line.lstrip().startswith("["):
            raise ManifestError(f"{printable(path)}: a JSON array; one object per line is wanted")
        head = jsonl.try_parse(line)
        return "lhotse" if head is not None and lhotse.is_lhotse(head) else "jsonl"
    return "jsonl"


def folder_of(path: str) -> str:
    """The absolute folder that relative paths of a manifest start from."""
    absolute = Path(os.path.abspath(path))
    return str(absolute if absolute.is_dir() else absolute.parent)
