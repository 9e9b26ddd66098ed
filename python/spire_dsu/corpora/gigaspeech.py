"""GigaSpeech: one GigaSpeech.json of over a gigabyte, and long Opus files of which the utterances
are pieces.

Lhotse's recipe needs a second package that is not on the package index any more for current
Pythons; the JSON is read here as a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spire_dsu.corpora.layout import at, check_split, extras
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, ignore, utterance
from spire_dsu.textio.json_array import iterate_array
from spire_dsu.textio.rows import Times
from spire_dsu.types import Utterance

SUBSETS = ("XL", "L", "M", "S", "XS", "DEV", "TEST")
_NO_SPEAKER = "N/A"


def read_gigaspeech(root: str | Path, split: str, *, note: Note = ignore) -> Iterator[Utterance]:
    """Utterances of a subset (XL holds L, L holds M, ...), recording after recording.

    Texts keep their tags (<COMMA>, <SIL>, ...): rows that are only <MUSIC> or <NOISE> are rows,
    too.

    Raises:
        ManifestError: no such subset, or JSON of another form.
    """
    wanted = "{" + check_split(split, SUBSETS, "GigaSpeech") + "}"
    table = Path(root, "GigaSpeech.json")
    for recording in iterate_array(table, "audios", note):
        try:
            if wanted not in recording["subsets"]:
                continue
            place = at(root, Path(root, recording["path"]))
            segments = [s for s in recording["segments"] if wanted in s["subsets"]]
            for segment in segments:
                yield utterance(
                    segment["sid"],
                    **place,
                    **_times(segment),
                    text=segment["text_tn"],
                    lang="en",
                    speaker=None if segment["speaker"] == _NO_SPEAKER else segment["speaker"],
                    extra=extras(recording=recording["aid"], source=recording.get("source")),
                )
        except (KeyError, TypeError, AttributeError) as error:
            name = recording.get("aid")
            raise ManifestError(f"{table}: recording {name!r}: {error!r}") from error


def _times(segment: dict[str, Any]) -> Times:
    begin, end = float(segment["begin_time"]), float(segment["end_time"])
    return {"offset": begin, "duration": round(end - begin, 8)}
