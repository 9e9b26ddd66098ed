"""Unit tokens for Llama-family models: ids, rows, files, and what loads them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_llm import SENTENCES, tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from spire_dsu.errors import ConfigError, ModelError, SpireError
from spire_dsu.llm.vocabulary import FIRST_RELEASED_TOKEN, FORMS, UnitVocabulary, VocabularyError
from spire_training.vocabulary import extend_vocabulary
from spire_training.vocabulary.rows import SCALE, new_rows, statistics
from spire_training.vocabulary.weights import EMBEDDING, HEAD

TABLES = (EMBEDDING, HEAD)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("base"), chat=False)


def extended(base: Path, out: Path, **options: Any) -> tuple[Any, Any]:
    """The extended folder's vocabulary and tokenizer."""
    made = extend_vocabulary(base, out, **options)
    return made, AutoTokenizer.from_pretrained(out)


def texts_of(form: str, units: list[int]) -> str:
    return "".join(map(FORMS[form], units))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("chat", [False, True])
def test_every_unit_makes_the_round_trip(base: Path, tmp_path: Path, form: str, chat: bool) -> None:
    made, tokenizer = extended(base, tmp_path / "out", units=5000, form=form, chat=chat)
    assert made.vocabulary == UnitVocabulary.of(tokenizer)
    assert made.vocabulary.first_unit_token == 400
    assert made.vocabulary.num_units == 5000
    assert made.vocabulary.num_tokens == 5400 + 2 * chat
    assert made.rows == -(-made.vocabulary.num_tokens // 64) * 64
    order = np.random.default_rng(0).permutation(5000).tolist()
    ids = tokenizer("Speech:" + texts_of(form, order))["input_ids"]
    assert ids[-5000:] == [400 + unit for unit in order]
    assert texts_of(form, order) in tokenizer.decode(ids)
    for unit in (0, 17, 4999):
        (token,) = tokenizer.convert_tokens_to_ids([FORMS[form](unit)])
        assert token == 400 + unit
        assert tokenizer.decode([token]) == FORMS[form](unit)
    assert (
        tokenizer("Speech: hello world")["input_ids"]
        == AutoTokenizer.from_pretrained(base)("Speech: hello world")["input_ids"]
    )


@pytest.mark.parametrize("chat", [False, True])
def test_old_rows_stay_and_new_rows_are_near_the_mean(
    base: Path, tmp_path: Path, chat: bool
) -> None:
    made, _ = extended(base, tmp_path / "out", units=5000, chat=chat, seed=3)
    old, new = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "out"))
    assert set(old) == set(new)
    for name, tensor in old.items():
        if name not in TABLES:
            assert torch.equal(new[name], tensor)
            continue
        assert torch.equal(new[name][:400], tensor)
        rows = tensor.double()
        drawn = new[name][400 : made.vocabulary.num_tokens].double()
        variance = rows.var(dim=0, unbiased=False)
        deviation = (drawn - rows.mean(dim=0)) / (SCALE * variance).sqrt()
        assert deviation.mean(dim=0).abs().max() < 0.08  # 5000 draws: a standard error of 0.014
        assert (deviation.std(dim=0) - 1).abs().max() < 0.06
        padding = new[name][made.vocabulary.num_tokens :].double()
        assert padding.shape[0] == made.rows - made.vocabulary.num_tokens > 0
        torch.testing.assert_close(padding, rows.mean(dim=0).expand_as(padding), atol=1e-7, rtol=0)
    assert not torch.equal(new[EMBEDDING][400:], new[HEAD][400:])


def test_new_rows_vary_as_the_old_ones_do_together() -> None:
    """Their covariance is 1e-5 times the old one, correlations included."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 8)) @ rng.standard_normal((8, 8)) + 3.0
    known = statistics([rows[:200], rows[200:]], [rows[:300], rows[300:]], "table")
    np.testing.assert_allclose(known.mean, rows.mean(axis=0), rtol=1e-12)
    covariance = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(known.factor @ known.factor.T, covariance, rtol=1e-9)
    drawn = new_rows(known, 60_000, 0, 0, 0)
    white = np.linalg.solve(known.factor, (drawn - known.mean).T) / np.sqrt(SCALE)
    np.testing.assert_allclose(np.cov(white), np.eye(8), atol=0.03)
    assert known.ridge == 0.0


def test_padding_rows_of_the_base_do_not_count(base: Path, tmp_path: Path) -> None:
    """A base whose table is padded with huge rows gets the same new rows as one without."""
    padded = tmp_path / "padded"
    padded.mkdir()
    for path in base.iterdir():
        (padded / path.name).write_bytes(path.read_bytes())
    tensors = load_file(base / "model.safetensors")
    for name in TABLES:
        tensors[name] = torch.cat([tensors[name], torch.full((48, 64), 1e4)])
    save_file(tensors, padded / "model.safetensors", {"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (padded / "config.json").write_text(json.dumps({**config, "vocab_size": 448}))
    for folder in (base, padded):
        extend_vocabulary(folder, tmp_path / f"out-{folder.name}", units=100)
    one, other = (
        load_file(tmp_path / f"out-{folder.name}" / "model.safetensors")
        for folder in (base, padded)
    )
    for name in TABLES:
        assert torch.equal(one[name], other[name])


def test_what_is_made_loads_and_gives_the_old_logits(base: Path, tmp_path: Path) -> None:
    made, tokenizer = extended(base, tmp_path / "out", units=50, chat=True)
    old = AutoModelForCausalLM.from_pretrained(base).eval()
    new = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert new.config.vocab_size == new.get_input_embeddings().weight.shape[0] == made.rows
    assert new.config.spire_vocabulary == {"num_tokens": made.vocabulary.num_tokens}
    assert new.config.eos_token_id == tokenizer.eos_token_id
    assert tokenizer.eos_token == "<|im_end|>"
    ids = torch.tensor([AutoTokenizer.from_pretrained(base)("hello world")["input_ids"]])
    with torch.no_grad():
        before, after = old(ids).logits, new(ids).logits
    torch.testing.assert_close(after[..., :400], before, rtol=0, atol=1e-5)
    # A padding row has the mean of the old logits, so it is never chosen.
    mean = before.mean(dim=-1)
    torch.testing.assert_close(
        after[..., made.vocabulary.num_tokens :], mean[..., None].expand(*mean.shape, 60),
        rtol=0, atol=1e-5,
    )  # fmt: skip


def test_chat_template(base: Path, tmp_path: Path) -> None:
    _, tokenizer = extended(base, tmp_path / "out", units=50, chat=True)
    made = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert made == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_dtype_stays_and_old_rows_bit_for_bit(
    base: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(base, dtype=dtype).save_pretrained(half)
    AutoTokenizer.from_pretrained(base).save_pretrained(half)
    extend_vocabulary(half, tmp_path / "out", units=50)
    old, new = (load_file(folder / "model.safetensors") for folder in (half, tmp_path / "out"))
    for name in TABLES:
        assert new[name].dtype == dtype
        assert torch.equal(new[name][:400].view(torch.int16), old[name].view(torch.int16))


def test_sharded_weights(base: Path, tmp_path: Path) -> None:
    """As 7B models are stored: several files and an index."""
    shards = tmp_path / "shards"
    model = AutoModelForCausalLM.from_pretrained(base)
    model.save_pretrained(shards, max_shard_size="60KB")
    AutoTokenizer.from_pretrained(base).save_pretrained(shards)
    assert len(list(shards.glob("*.safetensors"))) > 2
    for folder in (base, shards):
        extend_vocabulary(folder, tmp_path / f"out-{folder.name}", units=50, seed=1)
    whole = load_file(tmp_path / f"out-{base.name}" / "model.safetensors")
    index = json.loads((tmp_path / "out-shards" / "model.safetensors.index.json").read_text())
    found = {}
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "out-shards" / file, "pt") as opened:
            found[name] = opened.get_tensor(name)
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], whole[name]) for name in whole)
    size = sum(tensor.numel() * tensor.element_size() for tensor in whole.values())
    assert index["metadata"]["total_size"] == size
    AutoModelForCausalLM.from_pretrained(tmp_path / "out-shards")


def tied(base: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tensors = load_file(base / "model.safetensors")
    del tensors[HEAD]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": True}))
    return folder


def test_tied_embeddings(base: Path, tmp_path: Path) -> None:
    extend_vocabulary(tied(base, tmp_path / "tied"), tmp_path / "out", units=50)
    assert HEAD not in load_file(tmp_path / "out" / "model.safetensors")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert model.lm_head.weight.shape[0] == 512


def test_a_model_without_its_head_is_refused(base: Path, tmp_path: Path) -> None:
    folder = tied(base, tmp_path / "b")
    (folder / "config.json").write_bytes((base / "config.json").read_bytes())
    with pytest.raises(ModelError, match=r"lm_head\.weight"):
        extend_vocabulary(folder, tmp_path / "out", units=50)
    assert not (tmp_path / "out").exists()


def test_the_seed_decides(base: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        extend_vocabulary(base, tmp_path / name, units=50, seed=seed)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_chat_marks_for_a_base_that_has_units(base: Path, tmp_path: Path) -> None:
    """From SpireBase to what SpireFull starts from: the marks take what was padding."""
    first, _ = extended(base, tmp_path / "cpt", units=50)
    made, tokenizer = extended(tmp_path / "cpt", tmp_path / "it", units=50, chat=True)
    assert made.rows == first.rows == 512
    assert made.vocabulary.first_unit_token == 400
    assert tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"]) == [450, 451]
    old, new = (
        load_file(tmp_path / name / "model.safetensors")[EMBEDDING] for name in ("cpt", "it")
    )
    assert torch.equal(new[:450], old[:450])
    assert not torch.equal(new[450:452], old[450:452])
    with pytest.raises(VocabularyError, match="has units already"):
        extend_vocabulary(tmp_path / "cpt", tmp_path / "o", units=51, chat=True)
    with pytest.raises(VocabularyError, match="all of these tokens"):
        extend_vocabulary(tmp_path / "it", tmp_path / "o", units=50, chat=True)


def large_base(folder: Path, tokens: int = 32_000) -> Path:
    """A base with as many tokens as Llama-2, and tables of 4 columns."""
    tiny_llama(folder, chat=False)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary |= {f"\u2581piece{number}": number for number in range(len(vocabulary), tokens)}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    rng = np.random.default_rng(0)
    tables = {
        name: torch.from_numpy(rng.standard_normal((tokens, 4)).astype(np.float32))
        for name in TABLES
    }
    save_file(tables, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_released_ids(tmp_path: Path, form: str) -> None:
    base = large_base(tmp_path / "base")
    made, tokenizer = extended(base, tmp_path / "out", units=5000, form=form, chat=True)
    specials = ["<CLS>", "<EOD>", "<MASK>", "<PAD>", "<SEP>"]
    assert tokenizer.convert_tokens_to_ids(specials) == list(range(32_000, 32_005))
    assert made.vocabulary.first_unit_token == FIRST_RELEASED_TOKEN == 32_005
    assert tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|im_start|>"]) == [37_005, 37_006]
    assert (made.vocabulary.num_tokens, made.rows) == (37_007, 37_056)
    assert tokenizer.pad_token == "<PAD>"
    assert load_file(tmp_path / "out" / "model.safetensors")[HEAD].shape == (37_056, 4)


def test_appended_where_released_ids_are_not_wanted(tmp_path: Path) -> None:
    base = large_base(tmp_path / "base")
    made, tokenizer = extended(base, tmp_path / "out", units=50, layout="append")
    assert made.vocabulary.first_unit_token == 32_000
    assert "<CLS>" not in tokenizer.get_vocab()


def test_released_ids_need_their_base(base: Path, tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="32000 tokens, and this one has 400"):
        extend_vocabulary(base, tmp_path / "out", units=50, layout="released")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def pieces_base(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with a SentencePiece model and no tokenizer.json, as TowerBase's first form."""
    import sentencepiece

    folder = tmp_path_factory.mktemp("pieces")
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 50), model_writer=model, vocab_size=400,
        model_type="bpe", byte_fallback=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
        character_coverage=1.0, normalization_rule_name="identity", minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    settings = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
        "added_tokens_decoder": {},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>"}))
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (folder / name).write_bytes((base / name).read_bytes())
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_sentencepiece_and_tokenizer_json_agree(
    pieces_base: Path, tmp_path: Path, form: str
) -> None:
    import sentencepiece

    made, tokenizer = extended(pieces_base, tmp_path / "out", units=300, form=form, chat=True)
    pieces = sentencepiece.SentencePieceProcessor(str(tmp_path / "out" / "tokenizer.model"))
    assert pieces.get_piece_size() == made.vocabulary.num_tokens == 702
    order = np.random.default_rng(0).permutation(300).tolist()
    text = f"Speech: {texts_of(form, order)}"
    expected = [400 + unit for unit in order]
    assert pieces.encode(text)[-300:] == expected
    assert tokenizer(text)["input_ids"][-300:] == expected
    assert pieces.decode(expected) == texts_of(form, order)
    old = AutoTokenizer.from_pretrained(pieces_base)
    for sentence in SENTENCES:
        assert tokenizer(sentence)["input_ids"] == old(sentence)["input_ids"]
        assert pieces.encode(sentence) == old(sentence)["input_ids"][1:]
    kinds = {pieces.is_control(number) for number in range(400, 702)}
    assert kinds == {False}
    assert json.loads((tmp_path / "out" / "special_tokens_map.json").read_text()) == {
        "eos_token": "<|im_end|>"
    }


def test_pieces_that_disagree_with_the_tokenizer_are_refused(
    pieces_base: Path, base: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for path in pieces_base.iterdir():
        (mixed / path.name).write_bytes(path.read_bytes())
    (mixed / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    with pytest.raises(VocabularyError, match=r"tokenizer\.model: piece \d+ is"):
        extend_vocabulary(mixed, tmp_path / "out", units=50)
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["mixed"]


def test_a_byte_level_tokenizer_gets_added_tokens(base: Path, tmp_path: Path) -> None:
    """Llama-3 reads bytes: a private-use character would be four tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=399,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|end|>"],
            show_progress=False,
        ),
    )
    folder = tmp_path / "bytes"
    folder.mkdir()
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|end|>").save_pretrained(folder)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((base / name).read_bytes())
    first = len(AutoTokenizer.from_pretrained(folder))
    made, tokenizer = extended(folder, tmp_path / "out", units=100, form="pua")
    assert made.vocabulary.first_unit_token == first
    text = texts_of("pua", list(range(100)))
    assert tokenizer(text)["input_ids"] == list(range(first, first + 100))
    assert tokenizer.decode(range(first, first + 100)) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "0 units"),
        ({"units": 65_535, "form": "pua"}, "65535 units"),
    ],
)
def test_units_that_do_not_fit(
    base: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(VocabularyError, match=message):
        extend_vocabulary(base, tmp_path / "out", **options)


def test_an_existing_folder_is_not_touched(base: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ConfigError, match="already"):
        extend_vocabulary(base, tmp_path / "out", units=50)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer_config.json"])
def test_a_damaged_base_is_refused(base: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    for path in base.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for damage in (b"{", None):
        if damage is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(damage)
        with pytest.raises(SpireError):
            extend_vocabulary(folder, tmp_path / "out", units=50)
        assert not (tmp_path / "out").exists()


def test_rows_with_values_that_are_not_finite_are_refused() -> None:
    rows = np.ones((10, 3))
    rows[7, 1] = np.nan
    with pytest.raises(ModelError, match="table: row 7"):
        statistics([rows[:5], rows[5:]], [rows], "table")


def test_rows_that_do_not_vary_are_refused() -> None:
    rows = np.ones((10, 3))
    with pytest.raises(ModelError, match="all alike"):
        statistics([rows], [rows], "table")


def test_fewer_rows_than_columns_need_a_ridge() -> None:
    """The covariance has no Cholesky factor then: a trace of the mean variance is added, told."""
    rows = np.random.default_rng(0).standard_normal((5, 8))
    known = statistics([rows], [rows], "table")
    assert 0 < known.ridge < 1e-9
    covariance = np.cov(rows.T, bias=True)
    np.testing.assert_allclose(known.factor @ known.factor.T, covariance, atol=1e-8)


def test_the_command(base: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from spire_training.cli import app

    run = CliRunner().invoke
    options = ["extend-vocab", str(base), str(tmp_path / "out"), "--units", "50"]
    result = run(app, [*options, "--form", "pua"])
    assert result.exit_code == 0, result.output
    assert "units are tokens 400 to 449 (pua), 450 tokens in 512 rows" in result.output
    result = run(app, [*options, "--form", "words"])
    assert isinstance(result.exception, ConfigError)
    assert "'words' is none of extra_id, pua" in str(result.exception)
