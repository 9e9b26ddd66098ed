"""What a HuBERT checkpoint's config.json says about its shape, checked field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spire_dsu.errors import ModelError


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a HuBERT model. Names and defaults are those of transformers' `HubertConfig`.

    Attributes:
        conv_dim, conv_kernel, conv_stride: the convolutions of the extractor, first to last.
        conv_bias: whether they have a bias. Published large models differ in this.
        feat_extract_norm: "layer", over channels after each convolution (large models), or "group",
            over the time of the whole utterance after the first one (base models).
        feat_proj_layer_norm: a layer norm before the projection to `hidden_size`.
        do_stable_layer_norm: norms before each half of a block (large), or after it (base).
        conv_pos_batch_norm: a batch norm before the positional convolution, in place of weight
            norm.
    """

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    feat_proj_layer_norm: bool = True
    conv_dim: tuple[int, ...] = (512, 512, 512, 512, 512, 512, 512)
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    conv_pos_batch_norm: bool = False
    do_stable_layer_norm: bool = False

    @property
    def hop(self) -> int:
        """Samples from one frame to the next: 320 for every published HuBERT."""
        hop = 1
        for stride in self.conv_stride:
            hop *= stride
        return hop

    @property
    def field(self) -> int:
        """Samples that one frame sees: 400 for every published HuBERT."""
        return self.samples_of(1)

    def samples_of(self, num_frames: int) -> int:
        """Samples that so many frames (at least one) see together."""
        length = num_frames
        for kernel, stride in zip(self.conv_kernel[::-1], self.conv_stride[::-1], strict=True):
            length = (length - 1) * stride + kernel
        return length

    def num_frames(self, num_samples: int) -> int:
        """Frames in so many samples: floor((n - 400) / 320) + 1 for published HuBERTs."""
        return 0 if num_samples < self.field else (num_samples - self.field) // self.hop + 1


def read_architecture(config: Mapping[str, Any], source: str) -> Architecture:
    """The architecture that the parsed config.json of a Hugging Face folder describes.

    Args:
        config: the JSON object. Fields that do not concern the forward pass are ignored.
        source: the file, for errors.

    Raises:
        ModelError: another kind of model, or a field with a value that is not supported here; both
            are named.
    """
    _require(config, "model_type", ("hubert",), "hubert", source)
    _require(config, "feat_extract_norm", ("layer", "group"), "group", source)
    _require(config, "hidden_act", ("gelu",), "gelu", source)
    _require(config, "feat_extract_activation", ("gelu",), "gelu", source)
    _require(config, "adapter_attn_dim", (None,), None, source)
    defaults = Architecture()
    values: dict[str, Any] = {}
    for name in Architecture.__dataclass_fields__:
        default = getattr(defaults, name)
        values[name] = _field(name, config.get(name, default), default, source)
    arch = Architecture(**values)
    lists = (arch.conv_dim, arch.conv_kernel, arch.conv_stride)
    if not arch.conv_dim or len({len(each) for each in lists}) != 1:
        raise ModelError(
            f"{source}: conv_dim, conv_kernel and conv_stride must be of one length, at least 1, "
            f"got {arch.conv_dim}, {arch.conv_kernel} and {arch.conv_stride}"
        )
    for name in ("num_attention_heads", "num_conv_pos_embedding_groups"):
        if arch.hidden_size % values[name]:
            raise ModelError(
                f"{source}: hidden_size {arch.hidden_size} is no multiple of {name} {values[name]}"
            )
    return arch


def _require(
    config: Mapping[str, Any], name: str, allowed: Sequence[object], default: object, source: str
) -> None:
    value = config.get(name, default)
    if value not in allowed:
        wanted = " or ".join(repr(each) for each in allowed)
        raise ModelError(f"{source}: {name} is {value!r}, supported is {wanted}")


def _field(name: str, value: Any, default: Any, source: str) -> Any:
    """The value of one field in the type of its default."""
    good = False
    if isinstance(default, bool):
        good = isinstance(value, bool)
    elif isinstance(default, tuple):
        good = isinstance(value, list | tuple) and all(_is_size(each) for each in value)
        value = tuple(value) if good else value
    elif isinstance(default, int):
        # A model cut down to no layer at all is a fair one: its layer 0 can be asked for.
        good = _is_size(value) or (name == "num_hidden_layers" and value == 0)
    elif isinstance(default, float):
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1
        value = float(value) if good else value
    else:
        good = isinstance(value, str)
    if not good:
        raise ModelError(f"{source}: {name} is {value!r}, which is no {_expected(default)}")
    return value


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 24


def _expected(default: object) -> str:
    if isinstance(default, tuple):
        return "list of positive integers"
    names = {bool: "boolean", int: "positive integer", float: "number between 0 and 1", str: "text"}
    return names[type(default)]
