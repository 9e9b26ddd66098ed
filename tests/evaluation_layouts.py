"""Tiny test sets in the layouts in which they are published; all words and sounds are made up."""

from __future__ import annotations

import json
from pathlib import Path

from corpus_layouts import voxpopuli, write_lines
from tiny_audio import write_audio

__all__ = ["covost2", "fleurs", "flores", "librispeech", "tower", "voxpopuli", "wmt23_xml"]

ENGLISH = ("A cat sat.", "The dog saw it.", "They ate fish.")
GERMAN = ("Eine Katze sass.", "Der Hund sah es.", "Sie assen Fisch.")


def librispeech(root: Path) -> Path:
    """test-clean with two speakers; the last recording is absent."""
    for speaker, chapter, lines in (
        ("121", "121726", ("A MADE UP LINE", "ANOTHER LINE")),
        ("237", "134500", ("A THIRD ONE", "NOBODY HEARD THIS")),
    ):
        folder = root / "test-clean" / speaker / chapter
        names = [f"{speaker}-{chapter}-{n:04d}" for n in range(len(lines))]
        pairs = zip(names, lines, strict=True)
        write_lines(folder / f"{speaker}-{chapter}.trans.txt", *(f"{n} {t}" for n, t in pairs))
        for name in names:
            write_audio(folder / f"{name}.flac", 0.5)
    (root / "test-clean/237/134500/237-134500-0001.flac").unlink()
    return root


def fleurs(root: Path) -> Path:
    """en_us and de_de: a sentence that two people read, and one that nobody read in German."""
    rows = {
        "en_us": [(1, "10", 0), (1, "11", 0), (2, "12", 1), (3, "13", 2)],
        "de_de": [(2, "20", 1), (1, "21", 0)],
    }
    for code, many in rows.items():
        texts = ENGLISH if code == "en_us" else GERMAN
        lines = []
        for sentence, file, at in many:
            text = texts[at]
            path = write_audio(root / code / "audio/test" / f"{file}.wav", 0.5)
            assert path.exists()
            cells = [str(sentence), f"{file}.wav", text, text.lower(), "x |", "8000", "FEMALE"]
            lines.append("\t".join(cells))
        write_lines(root / code / "test.tsv", *lines)
    return root


def flores(root: Path) -> Path:
    """FLORES-200's devtest and dev, English and German."""
    for code, lines in (("eng_Latn", ENGLISH), ("deu_Latn", GERMAN)):
        write_lines(root / f"flores200_dataset/devtest/{code}.devtest", *lines)
        write_lines(root / f"flores200_dataset/dev/{code}.dev", *reversed(lines))
    return root


def wmt23_xml(root: Path) -> Path:
    """sacrebleu's XML: a test suite, two references, a segment without one, white space."""
    text = """<?xml version="1.0" encoding="utf-8"?>
<dataset id="wmttest2023"><collection id="general">
<doc origlang="en" id="x.1" domain="news">
<src lang="en"><p><seg id="2">Bye  now.</seg><seg id="1">Hello.</seg><seg id="3">No.</seg></p></src>
<ref lang="de" translator="refB"><p><seg id="1">falsch</seg><seg id="2">falsch</seg></p></ref>
<ref lang="de" translator="refA"><p><seg id="1">Hallo.</seg><seg id="2">Tsch&#252;ss
 jetzt.</seg></p></ref>
</doc></collection>
<doc origlang="en" id="s.1" testsuite="suite"><src lang="en"><p><seg id="1">Suite.</seg></p></src>
<ref lang="de" translator="refA"><p><seg id="1">Suite.</seg></p></ref></doc>
</dataset>
"""
    path = root / "xml/wmttest2023.en-de.all.xml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return root


def covost2(root: Path) -> Path:
    """CommonVoice 4's English folder with the tables that CoVoST's script joins."""
    header = "path\tsentence\ttranslation\tclient_id"
    for target, texts in (("de", GERMAN), ("zh-CN", ("\u732b", "\u72d7", "\u9c7c"))):
        lines = [header]
        for number, (sentence, text) in enumerate(zip(ENGLISH, texts, strict=True)):
            clip = f"common_voice_en_{number}.mp3"
            lines.append(f"{clip}\t{sentence}\t{text}\tc{number % 2}")
            if target == "de":
                write_audio(root / "clips" / clip, 0.5, 32_000)
        write_lines(root / f"covost_v2.en_{target}.test.tsv", *lines)
    return root


def tower(root: Path) -> Path:
    """tower-eval's raw data: APE, NER, and WMT23 in both of its forms."""
    raw = root / "TowerEval-Data-v0.1/data/raw_data"
    ape = [{"src": "Good day.", "mt": "Guter Tag", "ref": "Guten Tag."},
           {"src": "Yes.", "mt": "Jo", "ref": "Ja."}]  # fmt: skip
    ner = [
        {
            "input": '["Ada", "slept"]',
            "answer": '[("Ada", "B-Person"), ("slept", "O")]',
        },
        {
            "input": '["In", "New", "York"]',
            "answer": '[("In", "O"), ("New", "B-Location"), ("York", "I-Location")]',
        },
    ]
    for place, rows in (("ape/nllb_3b_wmt23.en-de", ape), ("ner/multiconer2023.en", ner)):
        write_lines(raw / place / "test.jsonl", *(json.dumps(row) for row in rows))
    write_lines(raw / "mt/wmt23.de-en/test_corpus.src", "Hallo.", "Ja.")
    write_lines(raw / "mt/wmt23.de-en/test_corpus.ref", "Hello.", "Yes.")
    rows = [{"src": "Hello.", "ref": "Hallo."}]
    write_lines(raw / "mt/wmt23.en-de/test.jsonl", *(json.dumps(row) for row in rows))
    return root
