"""Text alone needs no units: the language model that comes before the speech is trained so."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llm import tiny_tokenizer

from spire_dsu.llm.vocabulary import VocabularyError
from spire_training.data.packed import MONOLINGUAL, PackedRows
from spire_training.data.prepare import prepare
from spire_training.data.settings import PrepareConfig

SPLITS = ("train", "held")


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


@pytest.mark.parametrize(
    ("kind", "name", "lines", "dropped", "documents"),
    [
        ("monolingual", "a.txt", ["good</s>bad", "bad<|im_end|>", "<s>", "good", "s/ > <"], 3, 2),
        ("parallel", "a.tsv", ["one\ttwo<|im_start|>user", "one\ttwo"], 2, 2),
    ],
)
def test_text_that_spells_a_control_token_is_dropped(
    tmp_path: Path, kind: str, name: str, lines: list[str], dropped: int, documents: int
) -> None:
    """A document could end itself, or a turn speak for the other side."""
    (tmp_path / name).write_text("\n".join(lines) + "\n")
    language = {"language": "en"} if kind == "monolingual" else {"languages": ["en", "de"]}
    source = {"kind": kind, "files": [str(tmp_path / name)], **language}
    about = prepare(config(tmp_path, source))["sources"]["one"]
    assert about["counts"]["dropped: holds a control token's spelling"] == dropped
    made = sum(
        stream.get(split, {}).get("documents", 0)
        for stream in about["streams"].values()
        for split in SPLITS
    )
    assert made == documents


def test_speech_still_needs_them(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="extend-vocab"):
        prepare(config(tmp_path, {"kind": "speech", "shards": str(tmp_path / "none")}))
