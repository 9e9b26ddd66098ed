"""Tiny HuBERT checkpoints of every flavour, as Hugging Face folders, and waveforms to feed them.

Tests import it: `from makers import make_hubert, make_waves`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import HubertConfig, HubertModel

from spire_dsu.types import Float32

# Published kernels and strides, so that frames have 400 samples and come every 320; all else small.
_TINY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (8, 12, 8, 16, 8, 12, 16),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}

FLAVOURS: dict[str, dict[str, Any]] = {
    # HuBERT-large and -xlarge as published by facebook
    "large": _LARGE,
    # large models of other groups have no bias in the convolutions
    "large-no-bias": {**_LARGE, "conv_bias": False},
    # hubert-base-ls960 and every mHuBERT
    "base": {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False},
    # distil- and conversion tools make these
    "base-no-projection-norm": {"feat_extract_norm": "group", "feat_proj_layer_norm": False},
    "base-biased": {"feat_extract_norm": "group", "conv_bias": True},
    "group-pre-norm": {**_LARGE, "feat_extract_norm": "group"},
    "layer-post-norm": {**_LARGE, "do_stable_layer_norm": False},
    "batch-norm": {**_LARGE, "conv_pos_batch_norm": True},
    # the published positional convolution: 128 wide
    "wide-kernel": {**_LARGE, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16},
    "odd-kernel": {**_LARGE, "num_conv_pos_embeddings": 7, "num_conv_pos_embedding_groups": 1},
    # heads whose size is no power of four, so that 1 / sqrt(size) is not exact
    "odd-heads": {**_LARGE, "hidden_size": 36, "num_attention_heads": 3},
}


def hubert_config(flavour: str = "large", **changes: Any) -> HubertConfig:
    """A tiny configuration of a flavour."""
    return HubertConfig(**{**_TINY, **FLAVOURS[flavour], **changes})


def make_hubert(
    folder: Path, flavour: str = "large", *, seed: int = 0, **changes: Any
) -> HubertModel:
    """Writes a random checkpoint as a Hugging Face folder, and returns transformers' model of it.

    Args:
        folder: made if need be; receives config.json and model.safetensors.
        flavour: one of `FLAVOURS`.
        seed: same seed, same weights.
        changes: fields of the configuration.
    """
    generator = torch.Generator().manual_seed(seed)
    model = HubertModel(hubert_config(flavour, **changes)).eval()
    with torch.no_grad():
        # Fresh models have zero biases and unit gains, which would hide a mistake with them.
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator)
                if name.endswith("running_var"):
                    tensor.copy_(0.5 + noise.abs())
                elif tensor.ndim == 1:
                    tensor.copy_(0.3 * noise + ("norm.weight" in name))
                elif "original0" in name:
                    tensor.copy_(1 + 0.3 * noise.abs())
                else:
                    tensor.copy_(noise * (1.5 / tensor[0].numel()) ** 0.5)
    save_hubert(model, folder)
    return model


def save_hubert(model: HubertModel, folder: Path) -> None:
    """Writes config.json and model.safetensors as `save_pretrained` does, without its output."""
    folder.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(folder)
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def reference_features(
    model: HubertModel,
    wave: Float32,
    layer: int,
    eps: float | None = 1e-5,
    *,
    dtype: torch.dtype = torch.float32,
) -> Float32:
    """hidden_states[layer] of transformers for one utterance alone: [T, D].

    Computed in `dtype`, float32 or float64, also the normalisation. Works on a copy of nothing: the
    model comes back as it was.
    """
    samples = torch.from_numpy(np.array(wave)).to(dtype)
    if eps is not None:
        samples = (samples - samples.mean()) / torch.sqrt(samples.var(unbiased=False) + eps)
    model.to(dtype)
    try:
        with torch.no_grad():
            states = model(samples[None], output_hidden_states=True).hidden_states
    finally:
        model.to(torch.float32)
    return states[layer][0].numpy()


def make_wave(num_samples: int, seed: int = 0) -> Float32:
    """Something between a voice and noise: harmonics under a slow envelope, a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples) / 16_000
    pitch = rng.uniform(90, 250)
    phases = rng.uniform(0, 2 * np.pi, 12)
    voice = sum(
        np.sin(2 * np.pi * pitch * n * time + phases[n - 1]) / n for n in range(1, len(phases) + 1)
    )
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * rng.uniform(2, 5) * time + phases[0])
    wave = voice * envelope * 0.1 + rng.normal(0, 0.01, num_samples)
    return np.asarray(wave * rng.uniform(0.2, 2), np.float32)


def make_waves(lengths: Sequence[int], seed: int = 0) -> list[Float32]:
    """One waveform for each length."""
    return [make_wave(length, seed + 1000 * i) for i, length in enumerate(lengths)]
