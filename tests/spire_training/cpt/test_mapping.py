"""A Hugging Face Llama and megatron-core's compute the same, and each becomes the other again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cpt_inside
import cpt_makers
import numpy as np
import pytest
import torch
from cpt_makers import run, weights

from spire_training.cpt.mapping import LlamaShape, Piece, to_hugging_face, to_megatron

LENGTH = 24


def llama(folder: Path, vocabulary: int, **changes: Any) -> Path:
    """A Llama of 4 layers with 4 query heads on 2 key-value heads, and a large initial spread."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(vocabulary)
    settings: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 64,
        "initializer_range": 0.3,
    }
    config = LlamaConfig(vocab_size=vocabulary, **{**settings, **changes})
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def logits_of(folder: Path, tokens: Any) -> Any:
    from transformers import LlamaForCausalLM

    with torch.no_grad():
        return LlamaForCausalLM.from_pretrained(folder)(torch.from_numpy(tokens)).logits.numpy()


@pytest.mark.parametrize(
    ("vocabulary", "tensor", "pipeline", "changes"),
    [
        (37_005, 1, 1, {}),
        (37_007, 1, 1, {}),
        (37_056, 1, 1, {"tie_word_embeddings": True}),
        (37_005, 2, 1, {}),
        (37_007, 2, 1, {"tie_word_embeddings": True}),
        (37_056, 2, 1, {}),
        (37_007, 1, 2, {}),
        (
            300,
            1,
            1,
            {
                "rope_parameters": {
                    "rope_type": "llama3",
                    "rope_theta": 5e5,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 16,
                },
                "head_dim": 8,
            },
        ),
    ],
)
def test_logits_are_equal_and_the_way_back_is_exact(
    tmp_path: Path, vocabulary: int, tensor: int, pipeline: int, changes: dict[str, Any]
) -> None:
    base = llama(tmp_path / "base", vocabulary, **changes)
    parallel = {"tensor": tensor, "pipeline": pipeline}
    config = cpt_makers.config(tmp_path, "out", parallel=parallel)
    tokens = np.random.default_rng(0).integers(0, vocabulary, (2, LENGTH))
    arguments = (config, tmp_path / "back", tokens, vocabulary - 1)
    found = run(cpt_inside.parity, *arguments, world=tensor * pipeline)
    expected = logits_of(base, tokens)
    if pipeline == 1:  # else the first process has no logits
        np.testing.assert_allclose(found[..., :vocabulary], expected, atol=2e-4)
        assert np.abs(expected).max() > 1
    assert weights(tmp_path / "back").keys() == weights(base).keys()
    for name, value in weights(base).items():
        np.testing.assert_array_equal(weights(tmp_path / "back")[name], value)
    np.testing.assert_array_equal(logits_of(tmp_path / "back", tokens), expected)


@pytest.mark.parametrize("fused_norms", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_every_cut_goes_back(ranks: int, tied: bool, fused_norms: bool) -> None:
    """Pure: no process is started. The released vocabulary is no multiple of 128."""
    shape = LlamaShape(
        layers=4, hidden=16, feed_forward=48, heads=16, groups=8, head=4,
        vocabulary=37_056, padded=-(-37_056 // (128 * ranks)) * 128 * ranks, tied=tied,
    )  # fmt: skip
    given = _weights(shape)
    found: dict[str, torch.Tensor] = {}
    for stage in range(2):
        about: dict[str, Any] = {
            "layers": range(2 * stage, 2 * stage + 2),
            "first": stage == 0,
            "last": stage == 1,
            "fused_norms": fused_norms,
        }
        pieces = [Piece(**about, rank=rank, ranks=ranks) for rank in range(ranks)]
        parts = [to_megatron(given.__getitem__, shape, piece) for piece in pieces]
        rows = {part[name].shape[0] for part in parts for name in part if "word_emb" in name}
        assert rows <= {shape.padded // ranks}
        found |= to_hugging_face(parts, shape, pieces[0])
    assert found.keys() == given.keys()
    for name, value in given.items():
        assert torch.equal(found[name], value), name


def _weights(shape: LlamaShape) -> dict[str, torch.Tensor]:
    def matrix(*size: int) -> torch.Tensor:
        return torch.arange(int(np.prod(size)), dtype=torch.float32).view(*size)

    out = {
        "model.embed_tokens.weight": matrix(shape.vocabulary, shape.hidden),
        "model.norm.weight": matrix(shape.hidden),
    }
    if not shape.tied:
        out["lm_head.weight"] = -matrix(shape.vocabulary, shape.hidden)
    queries, keys = shape.heads * shape.head, shape.groups * shape.head
    sizes = {
        "self_attn.q_proj": (queries, shape.hidden),
        "self_attn.k_proj": (keys, shape.hidden),
        "self_attn.v_proj": (keys, shape.hidden),
        "self_attn.o_proj": (shape.hidden, queries),
        "mlp.gate_proj": (shape.feed_forward, shape.hidden),
        "mlp.up_proj": (shape.feed_forward, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.feed_forward),
        "input_layernorm": (shape.hidden,),
        "post_attention_layernorm": (shape.hidden,),
    }
    for layer in range(shape.layers):
        for place, (name, size) in enumerate(sizes.items()):
            out[f"model.layers.{layer}.{name}.weight"] = matrix(*size) + 1000 * place + layer
    return out
