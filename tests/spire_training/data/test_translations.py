"""Translations of corpora, by id."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from corpus_layouts import covost2, fleurs, librispeech

from spire_dsu.errors import ConfigError, InputError
from spire_training.data.translations import write_translations


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_covosts_own(tmp_path: Path) -> None:
    root, out = covost2(tmp_path / "cv"), tmp_path / "de.jsonl"
    assert write_translations(f"corpus:covost2:{root}:train", "de", out) == (3, 0)
    assert {"id": "common_voice_en_1", "lang": "de", "text": "Satz 1"} in lines(out)


def test_fleurs_by_the_number_of_the_sentence(tmp_path: Path) -> None:
    root, out = fleurs(tmp_path / "fleurs"), tmp_path / "zh.jsonl"
    english, chinese = (f"corpus:fleurs:{root}:dev,lang={x}" for x in ("en_us", "cmn_hans_cn"))
    assert write_translations(english, "zh", out, chinese) == (2, 0)
    assert [row["id"] for row in lines(out)] == ["11", "12"]
    assert {row["text"] for row in lines(out)} == {"\u732b\u5750\u3002"}


def test_refusals(tmp_path: Path) -> None:
    speech, out = f"corpus:librispeech:{librispeech(tmp_path)}:train-clean-100", tmp_path / "x"
    with pytest.raises(InputError, match="none of 3 rows"):
        write_translations(speech, "de", out)
    with pytest.raises(InputError, match="only FLEURS"):
        write_translations(speech, "de", out, speech)
    with pytest.raises(ConfigError, match="klingon"):
        write_translations(speech, "klingon", out)
    assert not out.exists()
