"""Tiny corpora in the layouts of the real ones; all words and sounds are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_audio import encoded, write_audio


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def librispeech(root: Path) -> Path:
    """train-clean-100 with two speakers; the recording of the last row is absent."""
    for speaker, chapter, lines in (
        ("84", "121123", ("GO AWAY", "DO COME BACK")),
        ("103", "1240", ("A LONELY LINE",)),
    ):
        folder = root / "train-clean-100" / speaker / chapter
        names = [f"{speaker}-{chapter}-{n:04d}" for n in range(len(lines))]
        pairs = zip(names, lines, strict=True)
        write_lines(folder / f"{speaker}-{chapter}.trans.txt", *(f"{n} {t}" for n, t in pairs))
        for name in names:
            write_audio(folder / f"{name}.flac")
    (root / "train-clean-100/84/121123/84-121123-0001.flac").unlink()
    return root


def spgispeech(root: Path) -> Path:
    """One call; a transcript with a bar and one with quotes."""
    call = "0a1b" * 8
    rows = ["wav_filename|wav_filesize|transcript"]
    for number, text in ((12, "Daniel, what about Q2?"), (3, 'It\'s "fine" | really.')):
        path = write_audio(root / "spgispeech/val" / call / f"{number}.wav", 0.3)
        rows.append(f"{call}/{number}.wav|{path.stat().st_size}|{text}")
    write_lines(root / "val.csv", *rows)
    return root


def gigaspeech(root: Path) -> Path:
    """Two recordings, one of them only in XL, with a piece of garbage."""

    def segment(name: str, begin: float, end: float, text: str, *subsets: str) -> dict[str, Any]:
        return {
            "sid": name,
            "speaker": "N/A",
            "begin_time": begin,
            "end_time": end,
            "text_tn": text,
            "subsets": [f"{{{subset}}}" for subset in subsets],
        }

    def recording(name: str, *segments: dict[str, Any]) -> dict[str, Any]:
        path = f"audio/podcast/P0001/{name}.opus"
        write_audio(root / path, 1.0, 48_000)
        subsets = sorted({subset for segment in segments for subset in segment["subsets"]})
        return {
            "aid": name,
            "path": path,
            "title": "Made up",
            "url": "http://nowhere.invalid/",
            "source": "podcast",
            "format": "opus",
            "sample_rate": 16000,
            "channels": 1,
            "duration": 1.0,
            "md5": "0" * 32,
            "subsets": subsets,
            "segments": list(segments),
        }

    audios = [
        recording(
            "POD1",
            segment("POD1_S0000001", 0.1, 0.4, "SEE YOU <COMMA> SHE SAID", "XL", "L"),
            segment("POD1_S0000002", 0.4, 0.9, "<MUSIC>", "XL"),
        ),
        recording("POD2", segment("POD2_S0000001", 0.0, 0.75, "ONLY HERE <PERIOD>", "XL")),
        recording("POD3", segment("POD3_S0000001", 0.5, 0.25, "BACKWARDS", "DEV")),
    ]
    whole = {"dataset": "GigaSpeech", "language": "EN", "version": "v1.0.0", "audios": audios}
    (root / "GigaSpeech.json").write_text(json.dumps(whole, indent=1))
    return root


def mls(root: Path, extension: str = "flac") -> Path:
    """mls_english (or mls_english_opus): two speakers."""
    folder = root / ("mls_english" if extension == "flac" else "mls_english_opus")
    rows = {"4800_10003_000000": "they went down", "7_88_000001": "l'\u00e9t\u00e9 \u2028 came"}
    for split in ("train", "dev", "test"):
        write_lines(folder / split / "transcripts.txt", *(f"{n}\t{t}" for n, t in rows.items()))
        for name in rows:
            speaker, book, _ = name.split("_")
            write_audio(folder / split / "audio" / speaker / book / f"{name}.{extension}")
    write_lines(
        folder / "metainfo.txt",
        " SPEAKER   |   GENDER   |   PARTITION   |   MINUTES   |   BOOK ID   | TITLE | CHAPTER",
        "  4800 | M | train | 20.1 | 10003 | Some Title | Chapter 1",
        "  7 | F | train | 2.5 | 88 | Another | Chapter 2",
    )
    return folder


def voxpopuli(root: Path) -> Path:
    """The official clips of test: a raw text that is empty, a speaker who is unknown."""
    folder = root / "transcribed_data/en"
    session = "20180101-0900-PLENARY-3-en_20180101-09:10:06"
    header = "id raw_text normalized_text speaker_id split gender is_gold_transcript accent"
    rows = [
        [f"{session}_5", "Thank you.", "thank you", "1234", "test", "male", "True", "None"],
        [f"{session}_6", "", "well", "None", "test", "female", "False", "None"],
    ]
    lines = ["\t".join(cells) for cells in [header.split(), *rows]]
    write_lines(folder / "asr_test.tsv", *lines)
    for row in rows:
        write_audio(folder / "2018" / f"{row[0]}.ogg")
    return root


COMMONVOICE_COLUMNS = (
    *("client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes"),
    *("down_votes", "age", "gender", "accents", "variant", "locale", "segment"),
)


def commonvoice(root: Path) -> Path:
    """Release 18: unbalanced quotes, a clip without a length."""
    folder = root / "en"
    rows = [["\t".join(COMMONVOICE_COLUMNS)]]
    for number, sentence in enumerate(('He said "no', "Fine. ", "\u201eJa\u201c")):
        clip = f"common_voice_en_{number}.mp3"
        write_audio(folder / "clips" / clip, 0.4, 32_000)
        cells = dict.fromkeys(COMMONVOICE_COLUMNS, "")
        cells |= {"client_id": f"c{number % 2}", "path": clip, "sentence": sentence}
        cells |= {"gender": "female_feminine", "locale": "en", "up_votes": "2"}
        rows.append(["\t".join(cells.values())])
    write_lines(folder / "train.tsv", *(row[0] for row in rows))
    write_lines(
        folder / "clip_durations.tsv",
        "clip\tduration[ms]",
        "common_voice_en_0.mp3\t400",
        "common_voice_en_2.mp3\t0",
    )
    return root


def covost2(root: Path) -> Path:
    """CommonVoice 4's folder with CoVoST's table of en-de: 3 of train (1 added), 1 of test."""
    clips = {"1": "One", "2": 'Two \\"quoted\\"', "3": "Three", "4": "Four"}
    for name in clips:
        write_audio(root / "clips" / f"common_voice_en_{name}.mp3", 0.3, 48_000)
    write_lines(
        root / "validated.tsv",
        "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent",
        *(f"c{n}\tcommon_voice_en_{n}.mp3\t{text}\t2\t0\t\t\t" for n, text in clips.items()),
    )
    splits = {"1": "train", "2": "train_covost", "3": "test", "4": "train"}
    write_lines(
        root / "covost_v2.en_de.tsv",
        "path\ttranslation\tsplit\tclient_score",
        *(f"common_voice_en_{n}.mp3\tSatz {n}\t{split}\t5" for n, split in splits.items()),
    )
    return root


def europarl_st(root: Path) -> Path:
    """en to de, train: two speeches in three pieces; the bytes are WAV's, nothing decodes them."""
    folder = root / "en/de/train"
    speeches = ["en.20080101.1.2-003", "en.20080101.1.2-004"]
    for speech in speeches:
        path = root / "en/audios" / f"{speech}.m4a"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded("wav", 1.0, 44_100))
    pieces = [f"{speeches[0]} 0.00 0.40", f"{speeches[0]} 0.40 1.00", f"{speeches[1]} 0.10 0.95"]
    write_lines(folder / "segments.lst", *pieces)
    write_lines(folder / "segments.en", "Mr President,", "thank you.", "I agree.")
    write_lines(folder / "segments.de", "Herr Pr\u00e4sident,", "", "Einverstanden.")
    write_lines(folder / "speeches.lst", *speeches)
    write_lines(folder / "speakers.lst", "EUmember_28310", "EUmember_9")
    return root


def fleurs(root: Path) -> Path:
    """en_us and cmn_hans_cn, dev; one table of 7 columns, one of 8; a sentence read twice."""
    tables = {
        "en_us": [
            "903\t11.wav\tA cat sat.\ta cat sat\ta | c a t | s a t |\t3200\tFEMALE",
            "903\t12.wav\tA cat sat.\ta cat sat\ta | c a t | s a t |\t3200\tMALE",
        ],
        "cmn_hans_cn": ["903\t13.wav\t\u732b\u5750\u3002\t\u732b \u5750\t|\t3200\t77\tOTHER"],
    }
    for language, lines in tables.items():
        write_lines(root / "data" / language / "dev.tsv", *lines)
        for line in lines:
            write_audio(root / "data" / language / "audio/dev" / line.split("\t")[1])
    return root
