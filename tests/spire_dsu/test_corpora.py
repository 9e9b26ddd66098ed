"""The paper's corpora, each from a tiny folder in its published layout."""

from __future__ import annotations

from pathlib import Path

import corpus_layouts as layouts
import pytest
import soundfile

from spire_dsu.corpora import CORPORA
from spire_dsu.errors import ManifestError, Reason
from spire_dsu.manifest import Manifest, open_manifest
from spire_dsu.types import AudioFile, Utterance


def rows_of(scheme: str) -> list[Utterance]:
    manifest = open_manifest(scheme)
    assert manifest.form == "corpus"
    rows = list(manifest)
    for row in rows:
        assert isinstance(row.audio, AudioFile)
        assert row.audio.path == f"{manifest.base}/{row.source}"
    return rows


def seconds_of(row: Utterance) -> float:
    assert isinstance(row.audio, AudioFile)
    return soundfile.info(row.audio.path).duration


def test_librispeech(tmp_path: Path) -> None:
    rows = rows_of(f"corpus:librispeech:{layouts.librispeech(tmp_path)}:train-clean-100")
    found = [(row.id, row.text, row.speaker, row.lang) for row in rows]
    assert found == [
        ("103-1240-0000", "A LONELY LINE", "103", "en"),
        ("84-121123-0000", "GO AWAY", "84", "en"),
        ("84-121123-0001", "DO COME BACK", "84", "en"),  # its recording is absent, the row is not
    ]
    assert rows[0].source == "train-clean-100/103/1240/103-1240-0000.flac"
    assert [Path(row.audio.path).exists() for row in rows] == [True, True, False]


def test_spgispeech(tmp_path: Path) -> None:
    rows = rows_of(f"corpus:spgispeech:{layouts.spgispeech(tmp_path)}:val")
    assert [row.id for row in rows] == [f"{'0a1b' * 8}_12", f"{'0a1b' * 8}_3"]
    assert [row.text for row in rows] == ["Daniel, what about Q2?", 'It\'s "fine" | really.']
    assert [row.speaker for row in rows] == [None, None]
    assert [row.expected for row in rows] == [seconds_of(row) for row in rows]


def test_gigaspeech(tmp_path: Path) -> None:
    root = layouts.gigaspeech(tmp_path)
    rows = rows_of(f"corpus:gigaspeech:{root}:XL")
    assert [(row.id, row.offset, row.duration) for row in rows] == [
        ("POD1_S0000001", 0.1, 0.3),
        ("POD1_S0000002", 0.4, 0.5),
        ("POD2_S0000001", 0.0, 0.75),
    ]
    texts = ["SEE YOU <COMMA> SHE SAID", "<MUSIC>", "ONLY HERE <PERIOD>"]
    assert [row.text for row in rows] == texts
    assert rows[0].audio == AudioFile(f"{root}/audio/podcast/P0001/POD1.opus")
    assert (rows[0].speaker, dict(rows[0].extra)["recording"]) == (None, "POD1")
    assert seconds_of(rows[0]) == pytest.approx(1.0)
    assert [row.id for row in rows_of(f"corpus:gigaspeech:{root}:L")] == ["POD1_S0000001"]
    (backwards,) = rows_of(f"corpus:gigaspeech:{root}:DEV")
    assert backwards.problem == (Reason.BAD_SEGMENT, "duration -0.25 s")


@pytest.mark.parametrize("extension", ["flac", "opus"])
def test_mls(tmp_path: Path, extension: str) -> None:
    rows = rows_of(f"corpus:mls:{layouts.mls(tmp_path, extension)}:dev")
    found = [(row.id, row.text, row.speaker, row.lang) for row in rows]
    assert found == [
        ("4800_10003_000000", "they went down", "4800", "en"),
        ("7_88_000001", "l'\u00e9t\u00e9 \u2028 came", "7", "en"),
    ]
    assert rows[1].source == f"dev/audio/7/88/7_88_000001.{extension}"
    assert seconds_of(rows[1]) == pytest.approx(0.2)


def test_voxpopuli(tmp_path: Path) -> None:
    first, second = rows_of(f"corpus:voxpopuli:{layouts.voxpopuli(tmp_path)}:test")
    assert first.id == "20180101-0900-PLENARY-3-en_20180101-09:10:06_5"
    assert (first.text, first.speaker) == ("Thank you.", "1234")
    assert dict(first.extra) == {"normalized_text": "thank you", "gender": "male"}
    assert (second.text, second.speaker) == ("well", None)
    assert seconds_of(second) == pytest.approx(0.2)


def test_commonvoice(tmp_path: Path) -> None:
    rows = rows_of(f"corpus:commonvoice:{layouts.commonvoice(tmp_path)}:train")
    found = [(row.id, row.text, row.speaker, row.expected) for row in rows]
    assert found == [
        ("common_voice_en_0", 'He said "no', "c0", 0.4),
        ("common_voice_en_1", "Fine.", "c1", None),
        ("common_voice_en_2", "\u201eJa\u201c", "c0", None),
    ]
    assert rows[0].extra == (("gender", "female_feminine"),)
    assert seconds_of(rows[0]) == pytest.approx(0.4, abs=0.1)


def test_commonvoice_of_the_first_releases(tmp_path: Path) -> None:
    header = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
    layouts.write_lines(tmp_path / "en/dev.tsv", header, "c\tabc\tHello\t2\t0\t\t\tus")
    (row,) = rows_of(f"corpus:commonvoice:{tmp_path}:dev")
    assert (row.id, row.source) == ("abc", "en/clips/abc.mp3")


def test_covost2(tmp_path: Path) -> None:
    root = layouts.covost2(tmp_path)
    rows = rows_of(f"corpus:covost2:{root}:train,target=de")
    found = [(row.id, row.text, row.speaker, dict(row.extra)["translation"]) for row in rows]
    assert found == [
        ("common_voice_en_1", "One", "c1", "Satz 1"),
        ("common_voice_en_2", 'Two "quoted"', "c2", "Satz 2"),
        ("common_voice_en_4", "Four", "c4", "Satz 4"),
    ]
    assert [row.id for row in rows_of(f"corpus:covost2:{root}:test")] == ["common_voice_en_3"]


def test_covost2_as_its_own_script_leaves_it(tmp_path: Path) -> None:
    layouts.write_lines(
        tmp_path / "covost_v2.en_zh-CN.dev.tsv",
        "path\tsentence\ttranslation\tclient_id",
        "common_voice_en_9.mp3\tHello\t\u4f60\u597d\tabc",
    )
    (row,) = rows_of(f"corpus:covost2:{tmp_path}:dev,target=zh-CN")
    assert (row.text, row.speaker) == ("Hello", "abc")
    assert dict(row.extra) == {"translation": "\u4f60\u597d", "target": "zh-CN"}


def test_covost2_with_another_release_of_commonvoice(tmp_path: Path) -> None:
    root = layouts.covost2(tmp_path)
    validated = (root / "validated.tsv").read_text().splitlines()
    layouts.write_lines(root / "validated.tsv", *validated[:2])
    with pytest.raises(ManifestError, match=r"lacks 2 of the 3 clips of .*cv-corpus-4"):
        rows_of(f"corpus:covost2:{root}:train")


def test_covost2_with_one_clip_missing_in_hundreds(tmp_path: Path) -> None:
    count = 300
    clips = [f"common_voice_en_{n}.mp3" for n in range(count)]
    header = "client_id\tpath\tsentence"
    layouts.write_lines(tmp_path / "validated.tsv", header, *(f"c\t{c}\tx" for c in clips[1:]))
    header = "path\ttranslation\tsplit"
    layouts.write_lines(tmp_path / "covost_v2.en_de.tsv", header, *(f"{c}\ty\tdev" for c in clips))
    rows = rows_of(f"corpus:covost2:{tmp_path}:dev")
    assert len(rows) == count
    assert rows[0].problem == (
        Reason.MISSING,
        "validated.tsv has no clip 'common_voice_en_0.mp3'",
    )
    assert {row.problem for row in rows[1:]} == {None}


def test_europarl_st(tmp_path: Path) -> None:
    rows = rows_of(f"corpus:europarl-st:{layouts.europarl_st(tmp_path)}:train,target=de")
    found = [(row.id, row.offset, row.duration, row.text, row.speaker) for row in rows]
    first, second = "en.20080101.1.2-003", "en.20080101.1.2-004"
    assert found == [
        (f"{first}@0.00-0.40", 0.0, 0.4, "Mr President,", "EUmember_28310"),
        (f"{first}@0.40-1.00", 0.4, 0.6, "thank you.", "EUmember_28310"),
        (f"{second}@0.10-0.95", 0.1, 0.85, "I agree.", "EUmember_9"),
    ]
    assert dict(rows[0].extra) == {"translation": "Herr Pr\u00e4sident,", "target": "de"}
    assert "translation" not in dict(rows[1].extra)
    assert rows[2].source == f"en/audios/{second}.m4a"


def test_europarl_st_whose_files_do_not_go_together(tmp_path: Path) -> None:
    root = layouts.europarl_st(tmp_path)
    layouts.write_lines(root / "en/de/train/segments.de", "eins", "zwei")
    with pytest.raises(ManifestError, match=r"segments\.de has fewer lines"):
        rows_of(f"corpus:europarl-st:{root}:train")


def test_fleurs(tmp_path: Path) -> None:
    root = layouts.fleurs(tmp_path)
    rows = rows_of(f"corpus:fleurs:{root}:dev")
    assert [(row.id, row.text, row.lang, row.speaker, row.expected) for row in rows] == [
        ("11", "A cat sat.", "en", None, 0.2),
        ("12", "A cat sat.", "en", None, 0.2),
    ]
    assert dict(rows[1].extra) == {
        "sentence_id": "903",
        "normalized_text": "a cat sat",
        "gender": "MALE",
    }
    (row,) = rows_of(f"corpus:fleurs:{root}/data:dev,lang=cmn_hans_cn")
    assert (row.lang, row.speaker, dict(row.extra)["gender"]) == ("zh", "77", "OTHER")
    assert seconds_of(row) == row.expected


def test_fleurs_whose_tars_are_not_unpacked(tmp_path: Path) -> None:
    layouts.write_lines(tmp_path / "en_us/dev.tsv", "x")
    (tmp_path / "en_us/audio").mkdir()
    with pytest.raises(ManifestError, match=r"none of these is there: .*audio/dev"):
        rows_of(f"corpus:fleurs:{tmp_path}:dev")


@pytest.mark.parametrize("name", sorted(CORPORA))
def test_an_unknown_split_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ManifestError, match="nosplit"):
        open_manifest(f"corpus:{name}:{tmp_path}:nosplit")


@pytest.mark.parametrize(
    ("scheme", "message"),
    [
        ("corpus:librispeech", "the form is corpus:NAME:ROOT:SPLIT"),
        ("corpus:librispeech:/data:", "the form is"),
        ("corpus:timit:/data:train", "no corpus 'timit'; there are commonvoice"),
        ("corpus:mls:/data:train,lang=en", r"'lang=en' is no option of mls: \[\]"),
        ("corpus:covost2:/data:train,target", r"'target' is no option of covost2"),
        ("corpus:covost2:/data:train,note=x", r"no option of covost2: \['source', 'target'\]"),
        ("lhotse:../x:/data:train", "no recipe"),
    ],
)
def test_what_is_no_corpus(scheme: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        open_manifest(scheme)


def test_a_corpus_has_one_digest_wherever_it_lies(tmp_path: Path) -> None:
    def opened(place: str) -> Manifest:
        root = layouts.spgispeech(tmp_path / place)
        return open_manifest(f"corpus:spgispeech:{root}:val", work=tmp_path / f"out of {place}")

    first, second = opened("one"), opened("an other: place")
    assert first.digest == second.digest
    assert next(iter(first)).audio != next(iter(second)).audio


def test_tables_of_another_form_name_file_and_line(tmp_path: Path) -> None:
    layouts.write_lines(tmp_path / "en/train.tsv", "path\tsentence", "a\tb")
    with pytest.raises(ManifestError, match=r"train\.tsv:1: no column client_id"):
        open_manifest(f"corpus:commonvoice:{tmp_path}:train")
    layouts.write_lines(tmp_path / "en/train.tsv", "client_id\tpath\tsentence", "c\ta\tb\tx")
    with pytest.raises(ManifestError, match=r"train\.tsv:2: 4 cells where the header has 3"):
        open_manifest(f"corpus:commonvoice:{tmp_path}:train")


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        (
            "librispeech",
            "train-clean-100/103/1240/103-1240.trans.txt",
            "103-1240-0000",
            "103-9999-0000",
            "'103-9999-0000' is of another chapter",
        ),
        ("spgispeech", "val.csv", ".wav|", ".wav|-", r"val\.csv:2: wav_filesize '-\d+'"),
        ("gigaspeech", "GigaSpeech.json", '"sid"', '"id"', "recording 'POD1': KeyError"),
        ("gigaspeech", "GigaSpeech.json", "0.1", "null", "recording 'POD1': TypeError"),
        ("mls", "mls_english/dev/transcripts.txt", "_", "-", r"transcripts\.txt:1: id '4800-"),
        (
            "europarl-st",
            "en/de/train/segments.lst",
            " 0.00",
            "",
            r"segments\.lst:1: .* 0\.40' is not",
        ),
        ("fleurs", "data/en_us/dev.tsv", "3200", "many", r"dev\.tsv:1: not FLEURS's form"),
    ],
)
def test_a_broken_table_says_where(
    tmp_path: Path, name: str, file: str, old: str, new: str, message: str
) -> None:
    splits = {"librispeech": "train-clean-100", "spgispeech": "val", "gigaspeech": "XL"}
    split = splits.get(name, "train" if name == "europarl-st" else "dev")
    root = getattr(layouts, name.replace("-", "_"))(tmp_path)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    with pytest.raises(ManifestError, match=message):
        open_manifest(f"corpus:{name}:{root}:{split}")
