"""HuBERT-large's shape with random weights: as fast or slow as the real one, and always at hand."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import HubertConfig, HubertModel

LAYER = 22


def build(folder: Path) -> HubertModel:
    """Saves a model cut to the layer, and returns it without its final norm, on the CPU."""
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=1024, num_hidden_layers=LAYER, num_attention_heads=16, intermediate_size=4096,
        feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True,
        attn_implementation="sdpa",
    )  # fmt: skip
    model = HubertModel(config).eval()
    config.save_pretrained(folder)
    save_file(dict(model.state_dict()), folder / "model.safetensors", metadata={"format": "pt"})
    model.encoder.layer_norm = torch.nn.Identity()
    return model
