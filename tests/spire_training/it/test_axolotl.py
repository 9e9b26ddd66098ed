"""Axolotl's YAML: today's keys, and the very token ids that are trained on here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from instruction_packs import pack
from tiny_llm import tiny_llama
from transformers import AutoTokenizer
from typer.testing import CliRunner

from spire_dsu.cli import app
from spire_dsu.errors import ConfigError
from spire_training.data.packed import PackedRows
from spire_training.it.axolotl import documents, export_axolotl, ids_of, with_start
from spire_training.it.config import ITConfig

KEYS = set(
    """
    base_model chat_template chat_template_jinja datasets special_tokens output_dir sequence_len
    sample_packing pad_to_sequence_len attn_implementation micro_batch_size
    gradient_accumulation_steps num_epochs max_steps optimizer adam_beta1 adam_beta2 adam_epsilon
    max_grad_norm learning_rate lr_scheduler warmup_steps weight_decay bf16
    gradient_checkpointing save_steps save_total_limit logging_steps val_set_size seed deepspeed
    fsdp_version fsdp_config
    """.split()  # noqa: SIM905
)
DATASET_KEYS = set(
    """
    path ds_type type field_messages message_property_mappings roles_to_train train_on_eos
    """.split()  # noqa: SIM905
)
"""Keys of `axolotl.utils.schemas` in Axolotl 0.18 that are not marked as deprecated."""


@pytest.fixture(scope="module", params=["extra_id", "pua"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("axolotl")
    tiny_llama(folder / "model", units=20, form=request.param)
    pack(folder / "data", folder / "model", rows=5)
    return folder


def config(folder: Path, **other: object) -> ITConfig:
    paths = {name: str(folder / name) for name in ("model", "data", "out")}
    return ITConfig(**{**paths, **other})  # type: ignore[arg-type]


def test_conversations_have_the_token_ids_that_are_packed(folder: Path, tmp_path: Path) -> None:
    made = export_axolotl(config(folder), tmp_path / "run.yml", gpus=4)
    packed = [ids.tolist() for ids in documents(PackedRows(folder / "data"))]
    assert (made.written, made.left_out) == (len(packed), 0)
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    template = yaml.safe_load(made.settings.read_text())["chat_template_jinja"]
    assert template == with_start(tokenizer)
    for line, ids in zip(made.conversations.read_text().splitlines(), packed, strict=True):
        messages = json.loads(line)["messages"]
        assert [message["role"] for message in messages][:2] == ["user", "assistant"]
        again = ids_of(messages, tokenizer, template)
        assert again[: len(ids)] == ids
        assert tokenizer.decode(again[len(ids) :]).strip() == ""


def test_the_settings_are_the_papers_in_todays_keys(folder: Path, tmp_path: Path) -> None:
    made = export_axolotl(config(folder), tmp_path / "run.yml", gpus=4)
    settings = yaml.safe_load(made.settings.read_text())
    assert settings.keys() <= KEYS
    (data,) = settings["datasets"]
    assert data.keys() <= DATASET_KEYS
    assert (data["type"], data["roles_to_train"]) == ("chat_template", ["assistant"])
    assert data["train_on_eos"] == "turn"
    batch = settings["micro_batch_size"] * settings["gradient_accumulation_steps"] * 4
    assert (batch, settings["learning_rate"], settings["warmup_steps"]) == (576, 7e-6, 100)
    assert (settings["num_epochs"], settings["weight_decay"]) == (4, 0.01)
    assert settings["sequence_len"] == 4096
    assert settings["special_tokens"] == {"eos_token": "<|im_end|>"}


@pytest.mark.parametrize(
    ("other", "keys"),
    [
        ({"parallel": "fsdp"}, {"fsdp_version", "fsdp_config"}),
        ({"parallel": "deepspeed", "deepspeed": "zero3.json"}, {"deepspeed"}),
        ({"max_steps": 7}, {"max_steps"}),
    ],
)
def test_what_is_set_here_is_set_there(
    folder: Path, tmp_path: Path, other: dict[str, object], keys: set[str]
) -> None:
    plain = export_axolotl(config(folder), tmp_path / "a.yml", gpus=4).settings
    made = export_axolotl(config(folder, **other), tmp_path / "b.yml", gpus=4).settings
    more = yaml.safe_load(made.read_text()).keys() - yaml.safe_load(plain.read_text()).keys()
    assert more == keys <= KEYS


def test_the_command_says_what_it_wrote(folder: Path, tmp_path: Path) -> None:
    lines = [f'{name} = "{folder / name}"' for name in ("model", "data", "out")]
    (tmp_path / "it.toml").write_text("\n".join(lines))
    arguments = ["train", "axolotl", str(tmp_path / "it.toml"), str(tmp_path / "run.yml")]
    done = CliRunner().invoke(app, arguments)
    assert done.exception is None, done.output
    assert done.stdout == f"{tmp_path}/run.yml and {tmp_path}/run.jsonl: 10 conversations\n"


def test_a_batch_that_gpus_cannot_share_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_rows 576 is no multiple of micro_batch 12 x 5"):
        export_axolotl(config(folder), tmp_path / "run.yml", gpus=5)
    assert not (tmp_path / "run.yml").exists()
