"""SPGISpeech: train.csv and val.csv ("|" between cells) beside spgispeech/{train,val}/CALL/N.wav;
cased, punctuated.

Lhotse's recipe opens every recording, stops at one that is absent, cuts a transcript at a "|" and
removes case and punctuation unless told not to. Its speaker is the call, in which several people
speak; here there is no speaker.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spire_dsu.corpora.layout import at, check_split, first_of
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, ignore, read_table, utterance
from spire_dsu.types import SAMPLING_RATE, Utterance

_WAV_HEADER = 44
_COLUMNS = ("wav_filename", "wav_filesize", "transcript")


def read_spgispeech(root: str | Path, split: str, *, note: Note = ignore) -> Iterator[Utterance]:
    """Utterances of "train" or "val"; ids are CALL_N as Lhotse's.

    The published size of each file gives its expected length: 16 kHz, 16 bits, one channel.

    Raises:
        ManifestError: no such split, or a table of another form.
    """
    check_split(split, ("train", "val"), "SPGISpeech")
    table = Path(root, f"{split}.csv")
    folder = first_of(Path(root, "spgispeech", split), Path(root, split))
    for number, row in read_table(table, _COLUMNS, note, delimiter="|", open_end=True):
        name, size = row["wav_filename"], row["wav_filesize"]
        if not size.isdecimal() or len(size) > 15:
            raise ManifestError(f"{table}:{number}: wav_filesize {size!r} is no whole number")
        samples = (int(size) - _WAV_HEADER) // 2
        yield utterance(
            name.removesuffix(".wav").replace("/", "_"),
            **at(root, folder / name),
            expected=samples / SAMPLING_RATE if samples > 0 else None,
            text=row["transcript"],
            lang="en",
        )
