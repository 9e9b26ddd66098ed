"""The readers of the corpora against those of Lhotse's recipes that read a published layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import corpus_layouts as layouts
import pytest

from spire_dsu.corpora import CORPORA
from spire_dsu.corpora.lhotse_recipe import read_lhotse_recipe
from spire_dsu.errors import ManifestError
from spire_dsu.manifest import open_manifest
from spire_dsu.types import Utterance

pytest.importorskip("lhotse", reason="the extra `corpora` is not installed")


def by_id(rows: object) -> dict[str, Utterance]:
    return {row.id: row for row in rows}


def assert_same(ours: dict[str, Utterance], theirs: dict[str, Utterance]) -> None:
    assert sorted(ours) == sorted(theirs)
    for name, row in ours.items():
        other = theirs[name]
        assert (row.text, row.audio, row.source) == (other.text, other.audio, other.source)
        if row.expected is not None:
            assert row.expected == pytest.approx(other.expected, abs=1e-4)


def test_librispeech(tmp_path: Path) -> None:
    layouts.librispeech(tmp_path)
    ours = by_id(open_manifest(f"corpus:librispeech:{tmp_path}:train-clean-100"))
    theirs = by_id(open_manifest(f"lhotse:librispeech:{tmp_path}:train-clean-100"))
    absent = ours.pop("84-121123-0001")
    assert absent.text == "DO COME BACK"  # Lhotse leaves the row out
    assert_same(ours, theirs)
    assert {row.speaker for row in theirs.values()} == {row.speaker for row in ours.values()}


def test_spgispeech(tmp_path: Path) -> None:
    layouts.spgispeech(tmp_path)
    (tmp_path / "spgispeech/train").mkdir()
    layouts.write_lines(tmp_path / "train.csv", "wav_filename|wav_filesize|transcript")
    ours = by_id(CORPORA["spgispeech"](tmp_path, "val"))
    theirs = by_id(read_lhotse_recipe("spgispeech", tmp_path, "val", normalize_text=False))
    cut = f"{'0a1b' * 8}_3"
    assert (ours[cut].text, theirs.pop(cut).text) == ('It\'s "fine" | really.', 'It\'s "fine" ')
    del ours[cut]
    assert_same(ours, theirs)


@pytest.mark.parametrize("extension", ["flac", "opus"])
def test_mls(tmp_path: Path, extension: str) -> None:
    folder = layouts.mls(tmp_path, extension)
    for transcripts in folder.glob("*/transcripts.txt"):
        # Lhotse takes U+2028 for the end of a line.
        transcripts.write_text(transcripts.read_text().replace("\u2028", "then"))
    ours = by_id(CORPORA["mls"](folder, "dev"))
    made = read_lhotse_recipe("mls", tmp_path, "english/dev", opus=extension == "opus")
    theirs = {row.id: row for row in made}
    assert sorted(ours) == sorted(theirs)
    for name, row in ours.items():
        assert (row.text, row.audio) == (theirs[name].text, theirs[name].audio)
        assert row.speaker == theirs[name].speaker


def test_commonvoice(tmp_path: Path) -> None:
    from lhotse.recipes import commonvoice  # its whole recipe starts processes: seconds each

    layouts.commonvoice(tmp_path)
    ours = by_id(CORPORA["commonvoice"](tmp_path, "train"))
    with (tmp_path / "en/train.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            recording, supervision = commonvoice._parse_utterance(tmp_path / "en", "en", row)
            item = ours.pop(supervision.id)
            assert (item.text, item.speaker) == (supervision.text, supervision.speaker)
            assert item.audio.path == recording.sources[0].source
    assert not ours


def test_gigaspeech(tmp_path: Path) -> None:
    from lhotse.recipes import gigaspeech  # its whole recipe needs a package that is not there

    layouts.gigaspeech(tmp_path)
    ours = by_id(CORPORA["gigaspeech"](tmp_path, "XL"))
    for audio in json.loads((tmp_path / "GigaSpeech.json").read_text())["audios"][:2]:
        recording, supervisions = gigaspeech.parse_utterance(audio, tmp_path)
        for supervision in supervisions:
            item = ours.pop(supervision.id)
            assert (item.text, item.offset) == (supervision.text, supervision.start)
            assert item.duration == supervision.duration
            assert item.audio.path == recording.sources[0].source
    assert not ours


def test_fleurs(tmp_path: Path) -> None:
    root = layouts.fleurs(tmp_path / "published") / "data"
    theirs_root = tmp_path / "fleurs"  # the layout of Lhotse's own downloader
    for split in ("train", "dev", "test"):
        lines = (root / "en_us/dev.tsv").read_text().splitlines()
        layouts.write_lines(theirs_root / "metadata/en_us" / f"{split}.tsv", *lines)
        (theirs_root / "en_us").mkdir(exist_ok=True)
        (theirs_root / "en_us" / split).symlink_to(root / "en_us/audio/dev")
    ours = by_id(CORPORA["fleurs"](root, "dev"))
    theirs = read_lhotse_recipe("fleurs", theirs_root, "en_us/dev", languages="en_us")
    count = 0
    for row in theirs:
        sentence, _, name = row.id.split("_")
        item = ours[name]
        extra = dict(item.extra)
        assert (extra["sentence_id"], extra["normalized_text"]) == (sentence, row.text)
        assert item.expected == pytest.approx(row.expected, abs=1e-4)
        count += 1
    assert count == len(ours)


@pytest.mark.parametrize(
    ("recipe", "part", "message"),
    [
        ("nothing", "x", "Lhotse has no recipe 'nothing'"),
        ("librispeech", "dev-clean", r"recipe librispeech (failed|makes no)"),
        ("librispeech", "train-clean-100/x", "makes no 'train-clean-100/x'"),
        ("librispeech", "-", "'-' is not one part"),
    ],
)
def test_what_lhotse_cannot_do(tmp_path: Path, recipe: str, part: str, message: str) -> None:
    layouts.librispeech(tmp_path)
    with pytest.raises(ManifestError, match=message):
        list(read_lhotse_recipe(recipe, tmp_path, part))
