"""Recordings written as corpora in their published layouts, so that the real readers read them.

Each writer takes the folder, the split and the recordings, and leaves what
`spire-dsu convert corpus:NAME:ROOT:SPLIT` reads. Texts follow each corpus's habit: LibriSpeech has
capitals without marks, SPGISpeech has both cases and marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import soundfile
import soxr

from spire_dsu.files import write_atomically
from spire_dsu.types import SAMPLING_RATE
from spire_training.encoder.espeak import Int16
from spire_training.mini.speech import Recording

FLEURS_NAMES = {"en": "en_us", "de": "de_de", "es": "es_419"}
_COMMONVOICE_RATE = 32_000


def bare(text: str) -> str:
    """The text in lower case without marks; hyphens part words."""
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower()).split())


def write_spgispeech(root: Path, split: str, recordings: Iterable[Recording]) -> None:
    """SPLIT.csv with bars between its cells, beside spgispeech/SPLIT/CALL/N.wav."""
    lines = ["wav_filename|wav_filesize|transcript"]
    for row in recordings:
        call = f"{row.speaker:032x}"
        path = root / "spgispeech" / split / call / f"{row.number}.wav"
        _write(path, row.samples)
        size = path.stat().st_size
        lines.append(f"{call}/{row.number}.wav|{size}|{row.sentence['en']}")
    write_lines(root / f"{split}.csv", lines)


def write_voxpopuli(root: Path, split: str, recordings: Iterable[Recording]) -> None:
    """transcribed_data/en/asr_SPLIT.tsv beside YEAR/SESSION_N.ogg."""
    folder = root / "transcribed_data" / "en"
    header = "id raw_text normalized_text speaker_id split gender is_gold_transcript accent"
    lines = ["\t".join(header.split())]
    for row in recordings:
        name = f"20180101-0900-PLENARY-{row.speaker}-en_{row.number}"
        _write(folder / "2018" / f"{name}.ogg", row.samples)
        text = row.sentence["en"]
        cells = [name, text, bare(text), str(row.speaker), split, "female", "True", "None"]
        lines.append("\t".join(cells))
    write_lines(folder / f"asr_{split}.tsv", lines)


def write_commonvoice(root: Path, split: str, recordings: Iterable[Recording]) -> None:
    """Release 18: en/SPLIT.tsv, en/clip_durations.tsv, en/clips/*.mp3 at 32 kHz."""
    folder = root / "en"
    columns = (
        "client_id path sentence_id sentence sentence_domain up_votes down_votes age gender "
        "accents variant locale segment"
    )
    lines, durations = ["\t".join(columns.split())], ["clip\tduration[ms]"]
    for row in recordings:
        clip = f"common_voice_en_{row.number}.mp3"
        _write(folder / "clips" / clip, row.samples, _COMMONVOICE_RATE)
        cells = [f"client{row.speaker}", clip, str(row.number), row.sentence["en"], "", "2", "0"]
        lines.append("\t".join([*cells, "", "", "", "", "en", ""]))
        durations.append(f"{clip}\t{row.samples.size * 1000 // SAMPLING_RATE}")
    write_lines(folder / "clip_durations.tsv", durations)
    write_lines(folder / f"{split}.tsv", lines)


def write_covost2(root: Path, split: str, recordings: Iterable[Recording]) -> None:
    """CommonVoice 4's clips and validated.tsv, with CoVoST's table of en-de beside them.

    All splits share both tables: a split that comes later is joined to them.
    """
    validated = ["client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"]
    table = ["path\ttranslation\tsplit\tclient_score"]
    for lines, path in ((validated, root / "validated.tsv"), (table, root / "covost_v2.en_de.tsv")):
        if path.exists():
            earlier = path.read_text(encoding="utf-8").splitlines()[1:]
            lines += [line for line in earlier if f"common_voice_en_{split}_" not in line]
    for row in recordings:
        clip = f"common_voice_en_{split}_{row.number}.mp3"
        _write(root / "clips" / clip, row.samples, _COMMONVOICE_RATE)
        validated.append(f"client{row.speaker}\t{clip}\t{row.sentence['en']}\t2\t0\t\t\t")
        table.append(f"{clip}\t{row.sentence['de']}\t{split}\t5")
    write_lines(root / "validated.tsv", validated)
    write_lines(root / "covost_v2.en_de.tsv", table)


def write_fleurs(root: Path, split: str, recordings: Iterable[Recording]) -> None:
    """data/LANG/SPLIT.tsv of all three languages; only English has recordings in its folder."""
    tables: dict[str, list[str]] = {code: [] for code in FLEURS_NAMES}
    for row in sorted(recordings, key=lambda recording: recording.number):
        file = f"{row.number}.wav"
        folder = root / "data" / FLEURS_NAMES["en"] / "audio" / split
        _write(folder / file, row.samples)
        for code, lines in tables.items():
            text = row.sentence[code]
            cells = [str(row.number), file, text, bare(text), "", str(row.samples.size), "FEMALE"]
            lines.append("\t".join(cells))
    for code, lines in tables.items():
        language = root / "data" / FLEURS_NAMES[code]
        (language / "audio" / split).mkdir(parents=True, exist_ok=True)
        write_lines(language / f"{split}.tsv", lines)


def write_librispeech(root: Path, split: str, recordings: Iterable[Recording]) -> None:
    """SPLIT/SPEAKER/CHAPTER/*.flac with a .trans.txt per chapter, in capitals without marks."""
    chapters: dict[Path, list[str]] = {}
    for row in recordings:
        speaker = 1000 + row.speaker
        folder = root / split / str(speaker) / "1"
        name = f"{speaker}-1-{row.number:04d}"
        _write(folder / f"{name}.flac", row.samples)
        text = bare(row.sentence["en"]).upper()
        chapters.setdefault(folder / f"{speaker}-1.trans.txt", []).append(f"{name} {text}")
    for path, lines in chapters.items():
        write_lines(path, lines)


WRITERS: dict[str, Callable[[Path, str, Iterable[Recording]], None]] = {
    "commonvoice": write_commonvoice,
    "covost2": write_covost2,
    "fleurs": write_fleurs,
    "librispeech": write_librispeech,
    "spgispeech": write_spgispeech,
    "voxpopuli": write_voxpopuli,
}


def _write(path: Path, samples: Int16, rate: int = SAMPLING_RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if rate != SAMPLING_RATE:
        samples = soxr.resample(samples, SAMPLING_RATE, rate)
    soundfile.write(path, samples, rate)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes lines as a file that is whole or absent, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
