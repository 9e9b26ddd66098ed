"""The names and shapes of a Llama's weights: Hugging Face's, and megatron-core's.

Both rotate halves, so no row of q or k is permuted. Megatron-core keeps q, k and v of each query
group together, gate and up in one matrix, and pads the vocabulary; tensor-parallel processes hold
slices of all of these. Everything here is pure: weights in, weights out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spire_dsu.errors import ModelError

Read = Callable[[str], Tensor]


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes of a Llama.

    Attributes:
        vocabulary: rows of its tables as Hugging Face keeps them.
        padded: rows of megatron-core's tables over all processes.
        tied: one table serves as input and output.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    groups: int
    head: int
    vocabulary: int
    padded: int
    tied: bool

    @classmethod
    def of(cls, config: Any, multiple: int) -> LlamaShape:
        """Reads the sizes from a `LlamaConfig` of transformers.

        Args:
            config: the model's configuration.
            multiple: `padded` is the least multiple of this that holds the vocabulary.

        Raises:
            ModelError: the model is no Llama, or a Llama with biases.
        """
        if config.model_type != "llama":
            raise ModelError(f"{config.name_or_path}: {config.model_type!r} is no Llama")
        if config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
            raise ModelError(f"{config.name_or_path}: a Llama with biases or without SiLU")
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            feed_forward=config.intermediate_size,
            heads=config.num_attention_heads,
            groups=config.num_key_value_heads,
            head=config.head_dim,
            vocabulary=config.vocab_size,
            padded=-(-config.vocab_size // multiple) * multiple,
            tied=config.tie_word_embeddings,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a model that one process holds.

    Attributes:
        layers: the layers of its pipeline stage, numbered over the whole model.
        first: whether the stage has the input table.
        last: whether it has the last norm and the output table.
        rank: its place among the tensor-parallel processes.
        ranks: how many of those there are.
        fused_norms: whether norms carry the names that Transformer Engine's layers give them.
    """

    layers: range
    first: bool = True
    last: bool = True
    rank: int = 0
    ranks: int = 1
    fused_norms: bool = False


_TABLE, _OUTPUT, _NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
_MCORE_TABLE, _MCORE_OUTPUT = "embedding.word_embeddings.weight", "output_layer.weight"
_MCORE_NORM = "decoder.final_layernorm.weight"


def to_megatron(read: Read, shape: LlamaShape, piece: Piece) -> dict[str, Tensor]:
    """The weights of one process, cut out of a Hugging Face model.

    Args:
        read: gives a Hugging Face tensor by its name.
        shape: the model's sizes.
        piece: which part is wanted.

    Returns:
        Tensors by megatron-core's names, layers numbered within the stage.
    """

    def cut(weight: Tensor, dim: int) -> Tensor:
        return weight.chunk(piece.ranks, dim)[piece.rank]

    def table(name: str) -> Tensor:
        whole = read(name)
        padding = whole.new_zeros(shape.padded - shape.vocabulary, shape.hidden)
        return cut(torch.cat((whole, padding)), 0)

    out: dict[str, Tensor] = {}
    if piece.first:
        out[_MCORE_TABLE] = table(_TABLE)
    if piece.last:
        out[_MCORE_NORM] = read(_NORM)
        if not (shape.tied and piece.first):  # tied and on one stage: there is only one table
            out[_MCORE_OUTPUT] = table(_TABLE if shape.tied else _OUTPUT)
    for place, layer in enumerate(piece.layers):
        hf = f"model.layers.{layer}."
        ours = _layer_names(f"decoder.layers.{place}.", piece.fused_norms)
        q, k, v = (read(f"{hf}self_attn.{name}_proj.weight") for name in "qkv")
        groups = [x.view(shape.groups, -1, shape.hidden) for x in (q, k, v)]
        out[ours["qkv"]] = cut(torch.cat(groups, 1).reshape(-1, shape.hidden), 0)
        out[ours["proj"]] = cut(read(f"{hf}self_attn.o_proj.weight"), 1)
        gate, up = (cut(read(f"{hf}mlp.{name}_proj.weight"), 0) for name in ("gate", "up"))
        out[ours["fc1"]] = torch.cat((gate, up))
        out[ours["fc2"]] = cut(read(f"{hf}mlp.down_proj.weight"), 1)
        out[ours["norm1"]] = read(f"{hf}input_layernorm.weight")
        out[ours["norm2"]] = read(f"{hf}post_attention_layernorm.weight")
    return out


def to_hugging_face(
    parts: Sequence[dict[str, Tensor]], shape: LlamaShape, piece: Piece
) -> dict[str, Tensor]:
    """The weights of one pipeline stage, put together again; the inverse of `to_megatron`.

    Args:
        parts: the weights of each tensor-parallel process of the stage, in order.
        shape: the model's sizes.
        piece: the stage; its `rank` and `ranks` are not looked at.

    Returns:
        Tensors by Hugging Face's names, without the padding of the vocabulary.
    """

    def join(name: str, dim: int) -> Tensor:
        return torch.cat([part[name] for part in parts], dim)

    out: dict[str, Tensor] = {}
    if piece.first:
        out[_TABLE] = join(_MCORE_TABLE, 0)[: shape.vocabulary]
    if piece.last:
        out[_NORM] = parts[0][_MCORE_NORM]
        if not shape.tied:
            out[_OUTPUT] = join(_MCORE_OUTPUT, 0)[: shape.vocabulary]
    per_group = shape.heads // shape.groups * shape.head
    for place, layer in enumerate(piece.layers):
        hf = f"model.layers.{layer}."
        ours = _layer_names(f"decoder.layers.{place}.", piece.fused_norms)
        grouped = join(ours["qkv"], 0).view(shape.groups, -1, shape.hidden)
        parted = torch.split(grouped, [per_group, shape.head, shape.head], dim=1)
        for name, part in zip("qkv", parted, strict=True):
            out[f"{hf}self_attn.{name}_proj.weight"] = part.reshape(-1, shape.hidden)
        out[f"{hf}self_attn.o_proj.weight"] = join(ours["proj"], 1)
        halves = [part[ours["fc1"]].chunk(2) for part in parts]
        for name, half in zip(("gate", "up"), zip(*halves, strict=True), strict=True):
            out[f"{hf}mlp.{name}_proj.weight"] = torch.cat(half)
        out[f"{hf}mlp.down_proj.weight"] = join(ours["fc2"], 1)
        out[f"{hf}input_layernorm.weight"] = parts[0][ours["norm1"]]
        out[f"{hf}post_attention_layernorm.weight"] = parts[0][ours["norm2"]]
    return out


def _layer_names(prefix: str, fused_norms: bool) -> dict[str, str]:
    norms = {"norm1": "input_layernorm.weight", "norm2": "pre_mlp_layernorm.weight"}
    if fused_norms:
        norms = {
            "norm1": "self_attention.linear_qkv.layer_norm_weight",
            "norm2": "mlp.linear_fc1.layer_norm_weight",
        }
    names = {
        "qkv": "self_attention.linear_qkv.weight",
        "proj": "self_attention.linear_proj.weight",
        "fc1": "mlp.linear_fc1.weight",
        "fc2": "mlp.linear_fc2.weight",
        **norms,
    }
    return {short: prefix + name for short, name in names.items()}
