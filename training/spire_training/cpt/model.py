"""A Hugging Face Llama as megatron-core's GPTModel, and back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from megatron.core import parallel_state as state
from megatron.core.models.gpt import GPTModel
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_layer_local_spec,
    get_gpt_layer_with_transformer_engine_spec,
)
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from spire_dsu.errors import ConfigError, ModelError
from spire_training.cpt.attention import Documents, LocalAttention, packed_sequences
from spire_training.cpt.config import CptConfig
from spire_training.cpt.data import Batch
from spire_training.cpt.loss import token_losses
from spire_training.cpt.mapping import LlamaShape, Piece, to_megatron
from spire_training.cpt.parallel import device
from spire_training.cpt.weights import Weights


class Llama(GPTModel):  # type: ignore[misc]
    """Megatron-core's model with a loss of the predictions that count, over the tokens that are.

    Where units are not learned, most predictions do not count, and a row of logits is as wide as
    the vocabulary: the output matrix is applied to the others alone. The padding of the vocabulary
    takes no part.

    Attributes:
        num_tokens: tokens that the tokenizer knows.
    """

    num_tokens: int = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._counted: Tensor | None = None
        if self.post_process:
            self.output_layer.register_forward_pre_hook(self._keep_counted)

    def forward(self, *args: Any, loss_mask: Tensor | None = None, **kwargs: Any) -> Tensor:
        """Megatron-core's, with `loss_mask` [B, L]: not 0 where a prediction counts.

        Without it there are logits of all places, and no labels may be given.
        """
        self._counted = None if loss_mask is None else loss_mask.T.flatten().nonzero()[:, 0]
        return super().forward(*args, **kwargs)  # type: ignore[no-any-return]

    def _keep_counted(self, layer: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:  # noqa: ARG002
        """Hidden states [L, B, H] -> [C, 1, H], of the C predictions that count."""
        if self._counted is None:
            return inputs
        return (inputs[0].flatten(0, 1).index_select(0, self._counted)[:, None],)

    def compute_language_model_loss(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Labels [B, L] and logits [C, 1, V / tensor parallel] -> losses float32 [B, L].

        Predictions that do not count have a loss of 0.
        """
        counted = self._counted
        assert counted is not None, "labels without a loss mask"
        labels_LB = labels.T.contiguous()
        wanted = labels_LB.flatten()[counted, None]
        known = token_losses(logits, wanted, self.num_tokens, self.tp_group.size())
        losses = known.new_zeros(labels_LB.numel()).index_copy(0, counted, known[:, 0])
        return losses.view_as(labels_LB).T


@dataclass(frozen=True, slots=True)
class Built:
    """A model on this process, with its weights.

    Attributes:
        model: megatron-core's, this process' piece of it.
        config: megatron-core's configuration.
        shape: the whole model's sizes.
        piece: which piece it is.
        frequencies: float32 [head / 2], the inverse ones of the rotary embedding.
        transformer_engine: which of the two ways of isolating documents it takes.
    """

    model: Llama
    config: TransformerConfig
    shape: LlamaShape
    piece: Piece
    frequencies: Tensor
    transformer_engine: bool

    def losses(self, model: Any, batch: Batch) -> Tensor:
        """Runs a micro-batch: losses [B, L] on the last pipeline stage, activations on the others.

        Args:
            model: `self.model`, or what wraps it for training.
            batch: the micro-batch.
        """
        if not self.transformer_engine:
            documents = Documents.of(batch, self.frequencies, self.config.params_dtype)
            return model(  # type: ignore[no-any-return]
                batch.tokens,
                batch.positions,
                documents,
                labels=batch.labels,
                loss_mask=batch.weights,
            )
        out = model(
            batch.tokens.view(1, -1),
            batch.positions.view(1, -1),
            None,
            labels=batch.labels.view(1, -1),
            loss_mask=batch.weights.view(1, -1),
            packed_seq_params=packed_sequences(batch),
        )
        return out.view_as(batch.labels) if self.piece.last else out  # type: ignore[no-any-return]


def build(config: CptConfig, num_tokens: int, length: int, *, load: bool = True) -> Built:
    """Makes this process' piece of the model.

    Args:
        config: the run's.
        num_tokens: tokens that the tokenizer knows; the rest of the vocabulary is padding.
        length: tokens of a row.
        load: whether to read the weights; not needed where a checkpoint follows.

    Raises:
        ModelError: the folder holds no Llama that can be trained here, or weights are missing.
        ConfigError: the model cannot be cut as configured.
    """
    import transformers

    hf = transformers.AutoConfig.from_pretrained(config.model, local_files_only=True)
    cut = config.parallel
    shape = LlamaShape.of(hf, cut.vocabulary_multiple * cut.tensor)
    if num_tokens > shape.vocabulary:
        raise ModelError(
            f"{config.model}: a table of {shape.vocabulary} rows for data of {num_tokens} tokens"
        )
    _check_cut(shape, cut.tensor, cut.pipeline)
    engine = _uses_engine(config)
    megatron = _megatron_config(config, hf, shape)
    first, last = state.is_pipeline_first_stage(), state.is_pipeline_last_stage()
    model = Llama(
        megatron,
        _engine_spec() if engine else _local_spec(),
        vocab_size=shape.padded,
        max_sequence_length=length,
        pre_process=first,
        post_process=last,
        position_embedding_type="rope" if engine else "none",  # `LocalAttention` does it itself
        share_embeddings_and_output_weights=shape.tied,
    )
    model.num_tokens = num_tokens
    frequencies = _inverse_frequencies(hf, config.model).to(device())
    if engine:
        model.rotary_pos_emb.inv_freq = frequencies
    per_stage = shape.layers // cut.pipeline
    stage = state.get_pipeline_model_parallel_rank()
    piece = Piece(
        range(stage * per_stage, (stage + 1) * per_stage),
        first=first,
        last=last,
        rank=state.get_tensor_model_parallel_rank(),
        ranks=cut.tensor,
        fused_norms=engine,
    )
    model = model.to(device())
    if load:
        _load(model, config.model, shape, piece)
    return Built(model, megatron, shape, piece, frequencies, engine)


def _check_cut(shape: LlamaShape, tensor: int, pipeline: int) -> None:
    if shape.layers % pipeline:
        raise ConfigError(f"parallel.pipeline {pipeline} does not divide {shape.layers} layers")
    if shape.groups % tensor or shape.feed_forward % tensor:
        raise ConfigError(
            f"parallel.tensor {tensor} does not divide {shape.groups} key-value heads and a feed-"
            f"forward width of {shape.feed_forward}"
        )


def _uses_engine(config: CptConfig) -> bool:
    """Whether Transformer Engine's layers are taken; they need a GPU."""
    from megatron.core.models.gpt.gpt_layer_specs import HAVE_TE

    there = bool(HAVE_TE) and torch.cuda.is_available()
    if config.attention == "te" and not there:
        raise ConfigError("attention 'te' needs a GPU and the package transformer_engine")
    return there and config.attention != "local"


def _local_spec() -> Any:
    spec = get_gpt_layer_local_spec(normalization="RMSNorm")
    spec.submodules.self_attention.submodules.core_attention = LocalAttention
    return spec


def _engine_spec() -> Any:
    return get_gpt_layer_with_transformer_engine_spec()


def _megatron_config(config: CptConfig, hf: Any, shape: LlamaShape) -> TransformerConfig:
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    return TransformerConfig(
        num_layers=shape.layers,
        hidden_size=shape.hidden,
        ffn_hidden_size=shape.feed_forward,
        num_attention_heads=shape.heads,
        num_query_groups=shape.groups,
        kv_channels=shape.head,
        normalization="RMSNorm",
        layernorm_epsilon=hf.rms_norm_eps,
        gated_linear_unit=True,
        activation_func=torch.nn.functional.silu,
        add_bias_linear=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        params_dtype=dtype,
        pipeline_dtype=dtype,
        bf16=config.precision == "bf16",
        tensor_model_parallel_size=config.parallel.tensor,
        pipeline_model_parallel_size=config.parallel.pipeline,
        calculate_per_token_loss=True,
        # Every weight is read from the Hugging Face folder, but without it megatron-core leaves out
        # to note which weights are slices, and then clips by the norm of the first slices alone.
        perform_initialization=True,
        use_cpu_initialization=not torch.cuda.is_available(),
        # CUDA kernels of Apex or of megatron-core that need its own builds; Transformer Engine's
        # layers bring theirs.
        bias_activation_fusion=False,
        bias_dropout_fusion=False,
        masked_softmax_fusion=False,
        apply_rope_fusion=False,
        gradient_accumulation_fusion=False,
        persist_layer_norm=False,
    )


def _inverse_frequencies(hf: Any, folder: Path) -> Tensor:
    """Float32 [head / 2], as transformers computes them, scaled rotary embeddings included."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    rotary = LlamaRotaryEmbedding(hf)
    if rotary.rope_type not in ("default", "linear", "llama3"):
        raise ModelError(f"{folder}: rotary embeddings of type {rotary.rope_type!r}")
    frequencies = rotary.inv_freq
    assert isinstance(frequencies, Tensor)
    return frequencies.float().clone()


def _load(model: Llama, folder: Path, shape: LlamaShape, piece: Piece) -> None:
    with torch.no_grad(), Weights(folder) as weights:
        given = to_megatron(weights.read, shape, piece)
        wanted = dict(model.named_parameters())
        assert wanted.keys() == given.keys(), wanted.keys() ^ given.keys()
        for name, parameter in wanted.items():
            parameter.copy_(given[name])
