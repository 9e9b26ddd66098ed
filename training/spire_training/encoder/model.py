"""The encoder and its training head: which cluster does a hidden frame belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import HubertConfig, HubertModel

from spire_dsu.types import Float32
from spire_training.encoder.frontend import extract
from spire_training.encoder.settings import Encoder

NORMALIZE_EPS = 1e-5
"""Added to the variance of an utterance before it divides, as fairseq does."""

CODE_SIZE = 128
TEMPERATURE = 0.1


def build_encoder(settings: Encoder) -> HubertModel:
    """A HuBERT of hubert-large's kind (layer-norm extractor, pre-norm layers, biased convolutions),
    at random.
    """
    return HubertModel(
        HubertConfig(
            conv_dim=settings.conv_dim,
            hidden_size=settings.hidden_size,
            num_hidden_layers=settings.num_hidden_layers,
            num_attention_heads=settings.num_attention_heads,
            intermediate_size=settings.intermediate_size,
            num_conv_pos_embeddings=settings.num_conv_pos_embeddings,
            num_conv_pos_embedding_groups=settings.num_conv_pos_embedding_groups,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            conv_bias=True,
            feat_proj_layer_norm=True,
            hidden_dropout=settings.dropout,
            activation_dropout=0.0,
            attention_dropout=settings.dropout,
            feat_proj_dropout=0.0,
            layerdrop=0.0,
        )
    )


def normalise(samples: Float32) -> Float32:
    """float32 [S] with mean 0 and variance 1 over the whole utterance."""
    mean, variance = samples.mean(dtype=np.float64), samples.var(dtype=np.float64)
    return np.asarray((samples - mean) / np.sqrt(variance + NORMALIZE_EPS), dtype=np.float32)


class MaskedPredictor(nn.Module):
    """HuBERT with a cosine-similarity classifier over clusters (Hsu et al. 2021, equation 3).

    Args:
        encoder: the HuBERT.
        clusters: number of target clusters.
    """

    def __init__(self, encoder: HubertModel, clusters: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.project = nn.Linear(encoder.config.hidden_size, CODE_SIZE)
        self.codes = nn.Parameter(torch.rand(clusters, CODE_SIZE))

    def forward(self, waves_NS: Tensor, mask_NT: Tensor) -> Tensor:
        """Logits float32 [N, T, clusters] of normalised waves; the mask is True where hidden."""
        rows = extract(self.encoder.feature_extractor.conv_layers, waves_NS)
        hidden = self.encoder.feature_projection(rows)
        hidden = torch.where(
            mask_NT.unsqueeze(-1), self.encoder.masked_spec_embed.to(hidden.dtype), hidden
        )
        hidden = self.encoder.encoder(hidden).last_hidden_state
        projected = self.project(hidden).float()
        codes = functional.normalize(self.codes, dim=-1)
        return functional.normalize(projected, dim=-1) @ codes.T / TEMPERATURE


class LayerFeatures:
    """Features of one layer, as the units are made of: the output of layer L, no final norm.

    Args:
        encoder: left as it is but for evaluation mode and float32.
        layer: 1 to the number of layers; `hidden_states[layer]` in transformers' count.
    """

    def __init__(self, encoder: HubertModel, layer: int) -> None:
        self._encoder: HubertModel = encoder.eval().float()  # type: ignore[no-untyped-call]
        self._layer = layer

    def __call__(self, samples: Float32) -> Float32:
        """float32 [T, D] of float32 [S] samples at 16 kHz, not normalised."""
        return self.each(samples)[-1]

    @torch.inference_mode()
    def each(self, samples: Float32) -> list[Float32]:
        """The same of every layer from 1 to this one."""
        waves = torch.from_numpy(normalise(samples)).unsqueeze(0)
        with _truncated(self._encoder, self._layer) as outputs:
            self._encoder(waves)
        return [np.asarray(output[0].numpy(), dtype=np.float32) for output in outputs]


@contextmanager
def _truncated(model: HubertModel, layer: int) -> Iterator[list[Tensor]]:
    """The model with its first `layer` layers alone; their outputs [N, T, D] arrive in the list.

    Hooks, as what `hidden_states` holds last has changed between versions of transformers.
    """
    layers, outputs = model.encoder.layers, list[Tensor]()

    def keep(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        outputs.append(output[0] if isinstance(output, tuple) else output)

    model.encoder.layers = layers[:layer]
    hooks = [kept.register_forward_hook(keep) for kept in model.encoder.layers]
    try:
        yield outputs
    finally:
        model.encoder.layers = layers
        for hook in hooks:
            hook.remove()
