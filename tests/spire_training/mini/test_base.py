"""The random Llama and its tokenizer that the miniature starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from spire_dsu.errors import ConfigError
from spire_training.mini.base import Base, make_base
from spire_training.mini.sentences import LANGUAGES, Source

SETTINGS = Base(
    seed=1,
    vocabulary=600,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=1,
    max_position_embeddings=64,
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "all.txt"
    sentences = Source(5, 1.0).draw(400)
    lines = [row[code] for row in sentences for code in LANGUAGES]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_every_sentence_comes_back_from_its_tokens(text: Path, tmp_path: Path) -> None:
    make_base(SETTINGS, [text], tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == AutoModelForCausalLM.from_pretrained(tmp_path).config.vocab_size == 600
    for line in [*text.read_text("utf-8").splitlines()[:90], "\u00e7\u4e2d unseen letters"]:
        ids = tokenizer(line)["input_ids"]
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.decode(ids, skip_special_tokens=True) == line


def test_a_vocabulary_that_the_texts_do_not_fill_is_refused(text: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pieces"):
        make_base(SETTINGS.model_copy(update={"vocabulary": 60_000}), [text], tmp_path)
