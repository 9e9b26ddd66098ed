"""Test sets of text: FLORES-200 devtest and WMT23."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from spire_dsu.corpora.layout import first_of
from spire_dsu.errors import InputError
from spire_dsu.textio import printable, read_lines
from spire_evaluation.config import TestConfig
from spire_evaluation.items import Item

_FLORES = {
    "en": ("eng_Latn",),
    "de": ("deu_Latn",),
    "es": ("spa_Latn",),
    "fr": ("fra_Latn",),
    "it": ("ita_Latn",),
    "ko": ("kor_Hang",),
    "nl": ("nld_Latn",),
    "pt": ("por_Latn",),
    "ru": ("rus_Cyrl",),
    "zh": ("zho_Hans", "cmn_Hans"),  # FLORES-200's name, and FLORES+'s
}


def flores(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """FLORES-200's devtest: line k of both languages; its id is k, from 1."""
    pairs = flores_lines(config.folder, "devtest", src, tgt)
    return [Item(str(number), text, source) for number, (source, text) in enumerate(pairs, start=1)]


def flores_lines(folder: Path, split: str, src: str, tgt: str) -> list[tuple[str, str]]:
    """(sentence, translation) of each line of a split, "dev" or "devtest".

    Args:
        folder: FLORES-200's folder, with "devtest" in it, or what holds "flores200_dataset".

    Raises:
        ManifestError: a language's file is not there.
        InputError: the two files have different numbers of lines.
    """
    sides = []
    for code in (src, tgt):
        names = [Path(split, f"{name}.{split}") for name in _FLORES[code]]
        names += [Path(split, f"{split}.{name}") for name in _FLORES[code]]
        roots = (folder, folder / "flores200_dataset")
        path = first_of(*(root / name for root in roots for name in names))
        sides.append([line for _, line in read_lines(path, keep_blank=True)])
    if len(sides[0]) != len(sides[1]):
        raise InputError(
            f"{folder}: {split} has {len(sides[0])} lines in {src} and {len(sides[1])} in {tgt}"
        )
    return list(zip(*sides, strict=True))


def wmt23(config: TestConfig, src: str, tgt: str) -> list[Item]:
    """WMT23's general test set: sacrebleu's XML file, or a folder of tower-eval's data."""
    xml = f"wmttest2023.{src}-{tgt}.all.xml"
    tower = f"wmt23.{src}-{tgt}"
    folder = config.folder
    path = first_of(
        folder / xml,
        folder / "xml" / xml,
        folder / "wmt23-news-systems-v.0.1" / "xml" / xml,
        folder / tower,
        folder / "mt" / tower,
    )
    return _read_tower(path) if path.is_dir() else _read_xml(path)


def _read_xml(path: Path) -> list[Item]:
    """Segments of the documents that are no test suite, as sacrebleu takes them.

    White space inside of a segment is collapsed; segments without a reference are left out.
    """
    try:
        # The standard parser resolves no external entity, and expat limits what entities expand to.
        tree = ElementTree.parse(path)  # noqa: S314
    except ElementTree.ParseError as error:
        raise InputError(f"{printable(path)}: not XML: {error}") from error
    items = []
    for document in tree.iter("doc"):
        if "testsuite" in document.attrib:
            continue
        sources = _segments(document.find("src"))
        references = document.findall("ref")
        chosen = next((r for r in references if r.get("translator") == "refA"), None)
        texts = _segments(chosen if chosen is not None else document.find("ref"))
        name = document.get("id", "")
        items += [
            Item(f"{name}:{number}", texts[number], sources[number])
            for number in sorted(sources)
            if number in texts
        ]
    return items


def _segments(side: ElementTree.Element | None) -> dict[int, str]:
    if side is None:
        return {}
    return {
        int(segment.attrib["id"]): " ".join("".join(segment.itertext()).split())
        for segment in side.iter("seg")
    }


def _read_tower(folder: Path) -> list[Item]:
    """tower-eval's raw data: test.jsonl with src and ref, or test_corpus.src and .ref."""
    from spire_evaluation.tasks.tower import rows_of

    if (folder / "test.jsonl").exists():
        rows = rows_of(folder / "test.jsonl", ("src", "ref"))
        return [Item(str(n), row["ref"], row["src"]) for n, row in enumerate(rows, start=1)]
    sides = [
        [line for _, line in read_lines(folder / f"test_corpus.{side}", keep_blank=True)]
        for side in ("src", "ref")
    ]
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"{folder}: {len(sides[0])} sources but {len(sides[1])} references")
    return [Item(str(n), ref, src) for n, (src, ref) in enumerate(zip(*sides, strict=True), 1)]
