"""Checkpoints in every form that is published, and every way in which one can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from makers import FLAVOURS, hubert_config, make_hubert, make_wave
from safetensors.torch import load_file, save_file
from transformers import HubertForCTC, HubertModel

from spire_dsu.errors import ModelError
from spire_dsu.features import Encoder
from spire_dsu.hubert.architecture import read_architecture
from spire_dsu.hubert.checkpoint import load_checkpoint, tensor_shapes

NEW = "encoder.pos_conv_embed.conv.parametrizations.weight.original"
OLD = "encoder.pos_conv_embed.conv.weight_"


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rewrite(folder: Path, change: Any) -> None:
    """Replaces the tensors by what `change` makes of them."""
    tensors = load_file(folder / "model.safetensors")
    save_file(change(dict(tensors)), folder / "model.safetensors")


def old_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    renamed = {NEW + "0": OLD + "g", NEW + "1": OLD + "v"}
    return {renamed.get(name, name): tensor for name, tensor in tensors.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_hubert(tmp_path / "hubert")
    return tmp_path / "hubert"


def test_the_expected_tensors_are_those_of_transformers(tmp_path: Path) -> None:
    for flavour in FLAVOURS:
        model = HubertModel(hubert_config(flavour))
        arch = read_architecture(model.config.to_dict(), "config.json")
        ours = tensor_shapes(arch, arch.num_hidden_layers)
        theirs = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        unused = {"masked_spec_embed", NEW + "0", NEW + "1"}
        if arch.do_stable_layer_norm:  # the norm after the last block
            unused |= {"encoder.layer_norm.weight", "encoder.layer_norm.bias"}
        unused |= {name for name in theirs if name.endswith("num_batches_tracked")}
        weight = "encoder.pos_conv_embed.conv.weight"
        theirs[weight] = tuple(model.encoder.pos_conv_embed.conv.weight.shape)
        assert ours == {name: shape for name, shape in theirs.items() if name not in unused}


def test_every_published_form_of_one_model_is_the_same_model(folder: Path, tmp_path: Path) -> None:
    expected = load_checkpoint(folder, 2)
    weights = load_file(folder / "model.safetensors")
    config = (folder / "config.json").read_text()

    def write(name: str, files: dict[str, dict[str, torch.Tensor]]) -> Path:
        made = tmp_path / name
        made.mkdir()
        (made / "config.json").write_text(config)
        for file, tensors in files.items():
            save_file(tensors, made / file)
        return made

    single = "model.safetensors"
    prefixed = {f"hubert.{name}": tensor for name, tensor in old_names(weights).items()}
    forms = [
        write("old-names", {single: old_names(weights)}),
        write("with-a-head", {single: prefixed | {"lm_head.weight": torch.ones(2, 2)}}),
        write("double", {single: {name: tensor.double() for name, tensor in weights.items()}}),
    ]
    names = sorted(weights)
    shards = {
        "model-00001-of-00002.safetensors": names[::2],
        "model-00002.safetensors": names[1::2],
    }
    forms.append(write("shards", {f: {n: weights[n] for n in part} for f, part in shards.items()}))
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (forms[-1] / "model.safetensors.index.json").write_text(json.dumps(index))
    for form in forms:
        found = load_checkpoint(form, 2)
        assert found.digest == expected.digest, form.name
        for name, tensor in expected.tensors.items():
            assert torch.equal(found.tensors[name], tensor), name


@pytest.mark.parametrize("head", [False, True])
def test_a_folder_with_a_pickle_alone_is_read_by_transformers(tmp_path: Path, head: bool) -> None:
    model = make_hubert(tmp_path / "safe")
    made = tmp_path / "pickled"
    made.mkdir()
    if head:
        whole = HubertForCTC(model.config)
        whole.hubert.load_state_dict(model.state_dict())
        tensors = whole.state_dict()
    else:
        tensors = model.state_dict()
    torch.save(old_names(dict(tensors)), made / "pytorch_model.bin")
    model.config.save_pretrained(made)
    assert load_checkpoint(made, 3).digest == load_checkpoint(tmp_path / "safe", 3).digest


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("trapped"),))


def test_a_hostile_pickle_is_refused_and_not_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"weight": _Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
        load_checkpoint(folder, 1)
    assert not (tmp_path / "trapped").exists()


def test_a_pickle_that_lacks_a_tensor_is_not_filled_at_random(tmp_path: Path) -> None:
    model = make_hubert(tmp_path / "safe")
    tensors = dict(model.state_dict())
    del tensors["encoder.layers.0.attention.k_proj.bias"]
    torch.save(tensors, tmp_path / "safe" / "pytorch_model.bin")
    (tmp_path / "safe" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"layers\.0\.attention\.k_proj\.bias"):
        load_checkpoint(tmp_path / "safe", 1)


def test_half_precision_weights_are_taken_as_they_are(folder: Path) -> None:
    rewrite(folder, lambda tensors: {n: t.half() for n, t in tensors.items()})
    first = load_checkpoint(folder, 3)
    rewrite(folder, lambda tensors: {n: t.float() for n, t in tensors.items()})
    assert load_checkpoint(folder, 3).digest == first.digest
    assert {tensor.dtype for tensor in first.tensors.values()} == {torch.float32}


def test_only_the_layers_in_use_are_needed(folder: Path) -> None:
    before = load_checkpoint(folder, 1)
    rewrite(folder, lambda t: {n: v for n, v in t.items() if not n.startswith("encoder.layers.2.")})
    assert load_checkpoint(folder, 1).digest == before.digest
    assert Encoder.from_pretrained(folder, layer=2, device="cpu")(make_wave(800)).shape == (2, 32)
    with pytest.raises(ModelError, match=r"encoder\.layers\.2\.attention\.q_proj\.weight"):
        load_checkpoint(folder, 3)


def test_the_digest_sees_every_weight_the_layer_and_the_architecture(folder: Path) -> None:
    digests = {load_checkpoint(folder, layer).digest for layer in range(4)}
    assert len(digests) == 4
    change_config(folder, num_attention_heads=8)
    digests.add(load_checkpoint(folder, 1).digest)
    assert len(digests) == 5
    for name in load_checkpoint(folder, 1).tensors:
        source = NEW + "1" if name.endswith("conv_embed.conv.weight") else name

        def nudge(tensors: dict[str, torch.Tensor], source: str = source) -> dict[str, Any]:
            tensors[source] = tensors[source] * 1.001
            return tensors

        rewrite(folder, nudge)
        digests.add(load_checkpoint(folder, 1).digest)
    assert len(digests) == 5 + len(load_checkpoint(folder, 1).tensors)


@pytest.mark.parametrize("layer", [4, 22, -1, True, 1.0])
def test_a_layer_that_is_not_there_is_named(folder: Path, layer: Any) -> None:
    with pytest.raises(ModelError, match=rf"layer {layer}: .* layers 0 to 3"):
        Encoder.from_pretrained(folder, layer=layer, device="cpu")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model_type": "wav2vec2"}, "wav2vec2"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu'"),
        ({"feat_extract_activation": "silu"}, "silu"),
        ({"feat_extract_norm": "instance"}, "instance"),
        ({"adapter_attn_dim": 16}, "adapter_attn_dim is 16"),
        ({"hidden_size": 0}, "hidden_size is 0"),
        ({"hidden_size": "32"}, "hidden_size is '32'"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"num_hidden_layers": 1 << 40}, "num_hidden_layers is 1099511627776"),
        ({"num_attention_heads": 5}, "num_attention_heads 5"),
        ({"num_conv_pos_embedding_groups": 3}, "num_conv_pos_embedding_groups 3"),
        ({"conv_stride": [5, 2]}, r"\(5, 2\)"),
        ({"conv_kernel": []}, "conv_kernel"),
        ({"conv_kernel": [10, 3, 3, 3, 3, 2, 0]}, r"\[10, 3, 3, 3, 3, 2, 0\]"),
        ({"conv_bias": "yes"}, "conv_bias is 'yes'"),
        ({"layer_norm_eps": 0}, "layer_norm_eps is 0"),
        ({"conv_dim": [8] * 7}, "feature_extractor.conv_layers.1.conv.weight"),
        ({"intermediate_size": 64}, "intermediate_dense"),
        ({"conv_pos_batch_norm": True}, "batch_norm.weight"),
        ({"num_conv_pos_embeddings": 32}, "original0"),
    ],
)
def test_a_configuration_that_is_not_supported_is_named(
    folder: Path, changes: dict[str, Any], text: str
) -> None:
    change_config(folder, **changes)
    with pytest.raises(ModelError, match=text):
        load_checkpoint(folder, 1)


def test_fields_that_an_old_configuration_lacks_have_their_defaults(folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for name in ("feat_proj_layer_norm", "conv_pos_batch_norm", "layer_norm_eps", "hidden_act"):
        del config[name]
    expected = load_checkpoint(folder, 2).digest
    path.write_text(json.dumps(config))
    assert load_checkpoint(folder, 2).digest == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(folder: Path, value: float) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        tensors["encoder.layers.1.layer_norm.bias"][3] = value
        return tensors

    rewrite(folder, spoil)
    load_checkpoint(folder, 1)
    with pytest.raises(ModelError, match=r"encoder\.layers\.1\.layer_norm\.bias"):
        load_checkpoint(folder, 2)


def test_integer_weights_are_refused(folder: Path) -> None:
    rewrite(folder, lambda tensors: {n: t.to(torch.int8) for n, t in tensors.items()})
    with pytest.raises(ModelError, match="int8"):
        load_checkpoint(folder, 1)


def test_missing_tensors_are_listed_and_counted(folder: Path) -> None:
    rewrite(folder, lambda t: {n: v for n, v in t.items() if "attention" not in n})
    with pytest.raises(ModelError, match=r"q_proj\.weight.* and 4 more"):
        load_checkpoint(folder, 1)


def test_broken_files_are_named(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    for broken in (b"", weights[:100], weights[:-50], b"\xff" * 200):
        (folder / "model.safetensors").write_bytes(broken)
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            load_checkpoint(folder, 1)
    for broken in (b"", b"{", b"[1]", b"\xff", b"[" * 100_000):
        (folder / "config.json").write_bytes(broken)
        with pytest.raises(ModelError, match=r"config\.json"):
            load_checkpoint(folder, 1)


def test_an_index_cannot_lead_out_of_its_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = folder / "model.safetensors.index.json"
    for name in ("../outside.safetensors", "gone.safetensors", "/etc/passwd"):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(ModelError, match=name):
            load_checkpoint(folder, 1)
    index.write_text(json.dumps({"weight_map": ["a"]}))
    with pytest.raises(ModelError, match="lack"):
        load_checkpoint(folder, 1)


def test_what_is_neither_a_folder_nor_had_from_the_hub_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    for name in ("no/such-hubert", str(tmp_path / "nothing"), "name"):
        with pytest.raises(ModelError, match=name):
            Encoder.from_pretrained(name, layer=1, device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="empty"):
        Encoder.from_pretrained(tmp_path / "empty", layer=1, device="cpu")
