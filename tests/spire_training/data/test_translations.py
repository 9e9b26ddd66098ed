"""Translations of the published corpora, by the ids of the English recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from corpus_layouts import covost2, europarl_st, fleurs

from spire_dsu.corpora import open_corpus
from spire_dsu.errors import ManifestError
from spire_dsu.textio import ignore
from spire_training.data.translations import write_translations


def ids_of(corpus: str) -> list[str]:
    return [row.id for row in open_corpus(corpus)[1](ignore)]


def written(tmp_path: Path, *corpora: str) -> list[dict[str, Any]]:
    out = tmp_path / "out.jsonl"
    count = write_translations(corpora, out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == count
    return rows


def test_europarl_st(tmp_path: Path) -> None:
    corpus = f"corpus:europarl-st:{europarl_st(tmp_path / 'v1.1')}:train,target=de"
    rows = written(tmp_path, corpus)
    names = ids_of(corpus)
    assert rows == [  # the second piece has no translation
        {"id": names[0], "lang": "de", "text": "Herr Pr\u00e4sident,"},
        {"id": names[2], "lang": "de", "text": "Einverstanden."},
    ]


def test_covost2(tmp_path: Path) -> None:
    corpus = f"corpus:covost2:{covost2(tmp_path / 'en')}:train,target=de"
    rows = written(tmp_path, corpus)
    assert [row["id"] for row in rows] == ids_of(corpus)
    assert {row["lang"] for row in rows} == {"de"}
    assert all(row["text"].startswith("Satz ") for row in rows)


def test_fleurs_pairs_every_english_recording_with_the_sentence(tmp_path: Path) -> None:
    root = fleurs(tmp_path / "fleurs")
    rows = written(tmp_path, f"corpus:fleurs:{root}:dev,lang=cmn_hans_cn")
    assert rows == [
        {"id": name, "lang": "zh", "text": "\u732b\u5750\u3002"} for name in ("11", "12")
    ]


def test_several_corpora_in_one_file(tmp_path: Path) -> None:
    root = fleurs(tmp_path / "fleurs")
    europarl = europarl_st(tmp_path / "v1.1")
    rows = written(
        tmp_path,
        f"corpus:europarl-st:{europarl}:train,target=de",
        f"corpus:fleurs:{root}:dev,lang=cmn_hans_cn",
    )
    assert [row["lang"] for row in rows] == ["de", "de", "zh", "zh"]


@pytest.mark.parametrize("option", ["", ",lang=en_us"])
def test_fleurs_needs_another_language(tmp_path: Path, option: str) -> None:
    root = fleurs(tmp_path / "fleurs")
    with pytest.raises(ManifestError, match="name the language"):
        write_translations([f"corpus:fleurs:{root}:dev{option}"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
