"""`open_manifest`: any form in, one table of rows out."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from spire_dsu.corpora import open_corpus
from spire_dsu.errors import ManifestError
from spire_dsu.manifest import build
from spire_dsu.manifest.codec import Row
from spire_dsu.manifest.forms import READERS, WITH_COLUMNS, Options, folder_of, form_of
from spire_dsu.manifest.table import Manifest
from spire_dsu.textio import Note

ROWS_VERSION = 1
"""Counts changes to what a reader makes of a manifest, so that rows of an older version are read
again.
"""

SCHEMES = ("corpus:", "lhotse:")

Read = Callable[[Note], Iterable[Row]]


def open_manifest(
    path: str | os.PathLike[str],
    *,
    form: str | None = None,
    work: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    keep: tuple[str, ...] = (),
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Reads a manifest of any form and size into a table of rows; memory does not grow with their
    number.

    Every row is looked at once: ids are made unique, times are checked, and the result is kept in
    one file, so that any row can be had at once and a manifest that is edited later does not change
    a conversion that runs. No recording is opened.

    Args:
        path: a folder of audio; fairseq's .tsv; JSON lines with NeMo's names; Lhotse's cuts; a Shar
            folder; a Kaldi folder; Parquet with audio bytes (a file or a folder); WebDataset tars
            (a file or a folder); "corpus:NAME:ROOT:SPLIT" (see `spire_dsu.corpora`),
            "lhotse:RECIPE:ROOT:PART" (Lhotse's own recipe).
        form: "folder", "tsv", "jsonl", "kaldi", "lhotse", "shar", "parquet" or "webdataset"; None:
            told from `path`.
        work: folder for the file of rows, where the next call finds it, if nothing that it was read
            from changed (sizes and times). None: a temporary file that goes when the manifest does.
        columns: our name ("id", "audio", "text", "lang", "speaker", "offset", "duration") -> the
            name in the manifest, for JSON lines and Parquet.
        keep: further columns to carry along as text, in `Utterance.extra`; for JSON lines and
            Parquet.
        progress: called with the number of rows read so far.

    Raises:
        ManifestError: names the file and where it has lines the line; no row, a duplicate id (names
            both rows), an unknown form or column, a wrong type.
    """
    options = Options(dict(columns or {}), tuple(keep))
    facts, read = _request(os.fspath(path), form, options)
    if work is not None:
        folder = Path(work)
        build.remove_abandoned(folder)
        if not build.reusable(folder / build.FILE_NAME, facts):
            build.build(read, folder, facts, progress)
        return Manifest(folder / build.FILE_NAME)
    temporary = Path(tempfile.mkdtemp(prefix="spire-dsu-manifest-"))
    try:
        rows = build.build(read, temporary, facts, progress, durable=False)
        return Manifest(rows, temporary=temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _request(text: str, form: str | None, options: Options) -> tuple[build.Facts, Read]:
    """What is asked for, as it is kept with the rows, and the reader that answers it."""
    if text.startswith(SCHEMES):
        kind, base, read = _open_scheme(text, form)
    else:
        kind, base, read = _open_path(text, form, options)
    if kind not in WITH_COLUMNS and (options.columns or options.keep):
        raise ManifestError(
            f"{text}: columns are named in {' and '.join(WITH_COLUMNS)}, not in {kind}"
        )
    facts = {
        "version": ROWS_VERSION,
        "path": text if text.startswith(SCHEMES) else os.path.abspath(text),
        "form": kind,
        "base": base,
        "columns": sorted(list(pair) for pair in options.columns.items()),
        "keep": list(options.keep),
    }
    return facts, read


def _open_path(path: str, form: str | None, options: Options) -> tuple[str, str, Read]:
    if form is not None and form not in READERS:
        raise ManifestError(f"unknown form {form!r}: it is one of {', '.join(READERS)}")
    kind = form or form_of(path)
    reader = READERS[kind]
    return kind, folder_of(path), lambda note: reader(os.path.abspath(path), note, options)


def _open_scheme(text: str, form: str | None) -> tuple[str, str, Read]:
    if form is not None:
        raise ManifestError(f"{text}: a corpus has no form {form!r}")
    root, read = open_corpus(text)
    return "corpus", os.path.abspath(root), lambda note: (Row(item) for item in read(note))
