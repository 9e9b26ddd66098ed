"""Text alone needs no units: the language model that comes before the speech is trained so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llm import tiny_tokenizer

from spire_dsu.llm.vocabulary import VocabularyError
from spire_training.data.packed import MONOLINGUAL, PackedRows
from spire_training.data.prepare import prepare
from spire_training.data.settings import PrepareConfig


def config(tmp_path: Path, source: dict[str, object]) -> PrepareConfig:
    tiny_tokenizer(units=0).save_pretrained(tmp_path / "tokenizer")
    content = {
        "stage": "cpt",
        "tokenizer": str(tmp_path / "tokenizer"),
        "out": str(tmp_path / "out"),
        "sequence_length": 32,
        "groups": {"all": {}},
        "sources": [{"name": "one", "group": "all", **source}],
    }
    return PrepareConfig.model_validate(content, strict=False)


def test_text_is_packed_without_unit_tokens(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello world\nthis is a test\n" * 20)
    source = {"kind": "monolingual", "files": [str(tmp_path / "a.txt")], "language": "en"}
    prepare(config(tmp_path, source))
    rows = PackedRows(tmp_path / "out")
    rows.verify()
    assert rows.manifest["vocabulary"]["num_units"] == 0
    _, marks = rows[0]
    assert (marks & 7 == MONOLINGUAL).any()


def test_speech_still_needs_them(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="extend-vocab"):
        prepare(config(tmp_path, {"kind": "speech", "shards": str(tmp_path / "none")}))
