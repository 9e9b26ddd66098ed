"""A HuBERT checkpoint on disk or on the hub -> the float32 tensors that layers 0..L need.

Only what is used is read: HuBERT-large cut to 22 of its 24 layers, without its heads. The weight
norm of the positional convolution is multiplied out here, once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from spire_dsu.errors import ModelError
from spire_dsu.hubert.architecture import Architecture, read_architecture
from spire_dsu.presets import encoder_folder

CONFIG = "config.json"
SAFETENSORS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"

POSITIONAL = "encoder.pos_conv_embed.conv"
# The two parts of a weight norm, as transformers called them before and calls them since 2023.
_WEIGHT_NORMS = tuple(
    (f"{POSITIONAL}.{gain}", f"{POSITIONAL}.{direction}")
    for gain, direction in (
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ("weight_g", "weight_v"),
    )
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model up to one layer.

    Attributes:
        arch: the shape of the whole model.
        layer: the last block that is used, 1 for the first; 0 for none.
        tensors: float32, by the names of transformers' `HubertModel`; weight norm multiplied out.
        digest: SHA-256 over the architecture, the layer and every tensor, in hexadecimal. It does
            not depend on the file format nor on how the tensors are stored or named there.
    """

    arch: Architecture
    layer: int
    tensors: Mapping[str, Tensor]
    digest: str


class _Reader(Protocol):
    """Tensors of a checkpoint by name."""

    def names(self) -> set[str]: ...

    def read(self, name: str) -> Tensor: ...


def load_checkpoint(folder_or_id: str | os.PathLike[str], layer: int) -> Checkpoint:
    """Reads a HuBERT checkpoint up to a layer.

    Args:
        folder_or_id: a Hugging Face folder with config.json and model.safetensors (one file, or
            several with their index), or a hub id "owner/name" or "owner/name@revision". Where
            there is only a pytorch_model.bin, transformers reads it: it unpickles plain tensors
            and nothing else (`weights_only`).
        layer: how many blocks to keep, 0 to the number that the model has.

    Returns:
        The checkpoint.

    Raises:
        ModelError: no such folder or model, another architecture, no such layer, a tensor that is
            missing, of a wrong shape or not finite. The text holds the offending name or value.
    """
    folder = encoder_folder(folder_or_id)
    arch = read_architecture(_read_config(folder / CONFIG), str(folder / CONFIG))
    if (
        isinstance(layer, bool)
        or not isinstance(layer, int)
        or not 0 <= layer <= arch.num_hidden_layers
    ):
        raise ModelError(f"layer {layer!r}: {folder} has layers 0 to {arch.num_hidden_layers}")
    with ExitStack() as stack:
        tensors = _collect(_open(folder, stack), arch, layer, folder)
    return Checkpoint(arch, layer, tensors, _digest(arch, layer, tensors))


def tensor_shapes(arch: Architecture, layer: int) -> dict[str, tuple[int, ...]]:
    """Every tensor that layers 0..`layer` need, by its name in transformers, with its shape.

    The positional convolution stands with its plain weight.
    """
    size, inner = arch.hidden_size, arch.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, width: int) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    def linear(name: str, width_in: int, width_out: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (width_out, width_in), (width_out,)

    width = 1
    for index, (dim, kernel) in enumerate(zip(arch.conv_dim, arch.conv_kernel, strict=True)):
        name = f"feature_extractor.conv_layers.{index}"
        shapes[f"{name}.conv.weight"] = (dim, width, kernel)
        if arch.conv_bias:
            shapes[f"{name}.conv.bias"] = (dim,)
        if arch.feat_extract_norm == "layer" or index == 0:
            norm(f"{name}.layer_norm", dim)
        width = dim
    if arch.feat_proj_layer_norm:
        norm("feature_projection.layer_norm", width)
    linear("feature_projection.projection", width, size)
    per_group = size // arch.num_conv_pos_embedding_groups
    shapes[f"{POSITIONAL}.weight"] = (size, per_group, arch.num_conv_pos_embeddings)
    shapes[f"{POSITIONAL}.bias"] = (size,)
    if arch.conv_pos_batch_norm:
        norm("encoder.pos_conv_embed.batch_norm", size)
        shapes["encoder.pos_conv_embed.batch_norm.running_mean"] = (size,)
        shapes["encoder.pos_conv_embed.batch_norm.running_var"] = (size,)
    if not arch.do_stable_layer_norm:
        norm("encoder.layer_norm", size)
    for index in range(layer):
        name = f"encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{name}.attention.{part}", size, size)
        norm(f"{name}.layer_norm", size)
        linear(f"{name}.feed_forward.intermediate_dense", size, inner)
        linear(f"{name}.feed_forward.output_dense", inner, size)
        norm(f"{name}.final_layer_norm", size)
    return shapes


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path}: is no JSON object but {str(config)[:60]!r}")
    return config


def _open(folder: Path, stack: ExitStack) -> _Reader:
    if (folder / SAFETENSORS).is_file():
        return _Safetensors([folder / SAFETENSORS], stack)
    if (folder / INDEX).is_file():
        files = _read_config(folder / INDEX).get("weight_map")
        names = sorted({str(name) for name in files.values()}) if isinstance(files, dict) else []
        for name in names:
            if Path(name).name != name or not (folder / name).is_file():
                raise ModelError(f"{folder / INDEX}: names {name!r}, which is not in the folder")
        return _Safetensors([folder / name for name in names], stack)
    return _Unpickled(folder)


class _Safetensors:
    """One or more safetensors files, read tensor by tensor."""

    def __init__(self, paths: list[Path], stack: ExitStack) -> None:
        self._home: dict[str, tuple[Any, Path]] = {}
        for path in paths:
            try:
                file: Any = stack.enter_context(safe_open(path, framework="pt"))
            except (OSError, SafetensorError) as error:
                raise ModelError(f"{path}: not a whole safetensors file: {error}") from error
            self._home |= dict.fromkeys(file.keys(), (file, path))

    def names(self) -> set[str]:
        return set(self._home)

    def read(self, name: str) -> Tensor:
        file, path = self._home[name]
        try:
            tensor: Tensor = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: tensor {name!r} cannot be read: {error}") from error
        return tensor


class _Unpickled:
    """A pytorch_model.bin, as transformers' `HubertModel.from_pretrained` reads it."""

    def __init__(self, folder: Path) -> None:
        from transformers import HubertModel

        try:
            loaded: Any = HubertModel.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
            )
            model, info = loaded
        except Exception as error:  # an unpickler meets any kind of broken file
            reason = " ".join(str(error).split())[:300]
            raise ModelError(f"{folder / PICKLE}: cannot be read: {reason}") from error
        # What the file lacks was drawn at random.
        absent = set(info["missing_keys"])
        self._tensors: dict[str, Tensor] = {
            k: v for k, v in model.state_dict().items() if k not in absent
        }

    def names(self) -> set[str]:
        return set(self._tensors)

    def read(self, name: str) -> Tensor:
        return self._tensors[name]


def _collect(reader: _Reader, arch: Architecture, layer: int, folder: Path) -> dict[str, Tensor]:
    names = reader.names()
    # A model with a head (HubertForCTC) holds the encoder under a prefix.
    prefix = "hubert." if any(name.startswith("hubert.") for name in names) else ""
    shapes = tensor_shapes(arch, layer)
    parts = {name: {name: shape} for name, shape in shapes.items()}
    for gain, direction in _WEIGHT_NORMS:
        if prefix + gain in names and prefix + direction in names:
            whole = shapes[f"{POSITIONAL}.weight"]
            parts[f"{POSITIONAL}.weight"] = {gain: (1, 1, whole[-1]), direction: whole}
    missing = [n for wanted in parts.values() for n in wanted if prefix + n not in names]
    if missing:
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise ModelError(f"{folder}: the weights lack {', '.join(missing[:4])}{more}")
    tensors = {}
    for name, wanted in parts.items():
        read = [_read(reader, prefix + part, wanted[part], folder) for part in wanted]
        tensors[name] = read[0] if len(read) == 1 else _weight_norm(read[0], read[1])
    return tensors


def _read(reader: _Reader, name: str, shape: tuple[int, ...], folder: Path) -> Tensor:
    """One tensor as float32, checked."""
    tensor = reader.read(name).detach()
    if tuple(tensor.shape) != shape:
        raise ModelError(
            f"{folder}: {name} has shape {tuple(tensor.shape)}, by its config.json it is {shape}"
        )
    if not tensor.is_floating_point() or not bool(torch.isfinite(tensor).all()):
        raise ModelError(f"{folder}: {name} holds {tensor.dtype} that are not all finite numbers")
    return tensor.to(torch.float32)


def _weight_norm(gain: Tensor, direction: Tensor) -> Tensor:
    """gain * direction / |direction|, where one norm is taken for each place in the kernel."""
    norm = direction.double().pow(2).sum((0, 1), keepdim=True).sqrt()
    tiny = torch.finfo(torch.float64).tiny  # a direction of all zeros stays so
    return (gain.double() * direction.double() / norm.clamp_min(tiny)).float()


def _digest(arch: Architecture, layer: int, tensors: Mapping[str, Tensor]) -> str:
    sha = hashlib.sha256(json.dumps([asdict(arch), layer], sort_keys=True).encode("ascii"))
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        sha.update(f"\n{name} {tuple(tensor.shape)}\n".encode("ascii"))
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()
