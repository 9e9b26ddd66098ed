"""What a user of the released models types, with stand-ins of the same layout and vocabulary."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import joblib
import numpy as np
import pytest
import soundfile
import torch
from sklearn.cluster import MiniBatchKMeans
from tiny_llm import tiny_llama
from transformers import AutoTokenizer, HubertConfig, HubertModel, LlamaForCausalLM
from typer.testing import CliRunner

from spire_dsu.cli import app
from spire_dsu.errors import ModelError
from spire_training.vocabulary import extend_vocabulary

COMMIT = "0" * 40
COLUMNS = 16


def on_hub(root: Path, repository: str) -> Path:
    """The folder of a repository's snapshot in the hub's cache."""
    place = root / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    folder = place / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


def hubert_large(folder: Path) -> None:
    """HuBERT-large with 16 columns instead of 1,024: 24 layers, layer norms throughout."""
    config = HubertConfig(
        hidden_size=COLUMNS,
        num_hidden_layers=24,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        num_conv_pos_embeddings=128,
        num_conv_pos_embedding_groups=2,
        initializer_range=0.3,  # frames differ
    )
    torch.manual_seed(0)
    HubertModel(config).save_pretrained(folder)


def spire_kmeans(folder: Path) -> None:
    """The codebook as it is published: scikit-learn's k-means, pickled by joblib."""
    model = MiniBatchKMeans(n_clusters=5000)
    rng = np.random.default_rng(0)
    model.cluster_centers_ = rng.standard_normal((5000, COLUMNS)).astype(np.float32)
    joblib.dump(model, folder / "kmeans_model")


def spire_full(folder: Path, scratch: Path) -> None:
    """A Llama with the released vocabulary: 32,000 pieces, specials, units, ChatML's marks."""
    base = tiny_llama(scratch / "base", chat=False)
    pieces = json.loads((base / "tokenizer.json").read_text())
    known = pieces["model"]["vocab"]
    known |= {f"\u2581piece{number}": number for number in range(len(known), 32_000)}
    (base / "tokenizer.json").write_text(json.dumps(pieces))
    model = LlamaForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(32_000, mean_resizing=False)
    model.save_pretrained(base)
    extend_vocabulary(base, folder, units=5000, form="pua", chat=True)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("released")
    hubert_large(on_hub(root / "hub", "facebook/hubert-large-ll60k"))
    spire_kmeans(on_hub(root / "hub", "utter-project/SpireKMeans"))
    spire_full(on_hub(root / "hub", "utter-project/SpireFull"), root)
    return root / "hub"


@pytest.fixture(autouse=True)
def offline(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("SPIRE_DSU_CACHE", str(tmp_path / "cache"))


def test_a_recording_is_transcribed_and_translated(hub: Path, tmp_path: Path) -> None:
    audio = tmp_path / "talk.wav"
    sounds = np.random.default_rng(1).standard_normal(16_000) * np.linspace(0, 0.3, 16_000)
    soundfile.write(audio, sounds, 16_000)
    # The published codebook is a pickle: the error has the command that imports it.
    refused = CliRunner().invoke(app, ["encode", str(audio), "--model", "spire"])
    assert isinstance(refused.exception, ModelError)
    command = re.search(r"spire-dsu (import-codebook .*?\.safetensors)", str(refused.exception))
    assert command is not None
    assert CliRunner().invoke(app, shlex.split(command[1])).exit_code == 0

    encoded = CliRunner().invoke(app, ["encode", str(audio), "--model", "spire"])
    units = json.loads(encoded.stdout.splitlines()[-1])["units"]
    assert len(set(units)) > 3
    assert 200 < max(units) < 5000  # no units of the bundled miniature

    # On a GPU the two options are left out: vLLM and bfloat16.
    slow = ["--engine", "transformers", "--dtype", "float32", "--max-new-tokens", "5"]
    wanted = ["eval", "answer", str(audio), "--model", "utter-project/SpireFull", *slow]
    for task in (["--task", "asr"], ["--task", "st:de"]):
        result = CliRunner().invoke(app, [*wanted, *task])
        assert result.exit_code == 0, result.output
        (row,) = [json.loads(line) for line in result.stdout.splitlines() if line[:1] == "{"]
        assert (row["id"], row["status"]) == ("talk", "ok")
        assert row["finish"] in ("length", "end")


def test_the_stand_in_has_the_released_vocabulary(hub: Path) -> None:
    (folder,) = (hub / "models--utter-project--SpireFull" / "snapshots").iterdir()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer) == 37_007
    assert json.loads((folder / "config.json").read_text())["vocab_size"] == 37_056
    assert tokenizer.convert_tokens_to_ids(chr(0xF0000)) == 32_005
    assert tokenizer.convert_tokens_to_ids(chr(0xF0000 + 4999)) == 37_004
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id == 37_005
