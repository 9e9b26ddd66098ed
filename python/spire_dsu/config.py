"""Configuration: one frozen model per stage, TOML or JSON in, a fingerprint out."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from spire_dsu.errors import ConfigError
from spire_dsu.files import write_atomically

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]

_LONGEST_VALUE = 120
_LARGEST_FILE = 4 << 20


class Config(BaseModel):
    """Base of every configuration: frozen, unknown keys refused, no value silently converted.

    Numbers must be finite, so that a fingerprint is always canonical JSON.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


C = TypeVar("C", bound=Config)


class ChunkingConfig(Config):
    """How audio that is too long for one pass is cut, so that memory stays flat.

    Attributes:
        policy: "overlap" cuts windows that overlap and keeps the exact number of frames; "fairseq"
            cuts hard, as fairseq does, which loses a frame at each cut; "none" never cuts.
        window_seconds: the longest piece of audio that one pass sees. 100 s is fairseq's 1,600,000
            samples.
        overlap_seconds: what two neighbouring windows share ("overlap" only).
    """

    policy: Literal["overlap", "fairseq", "none"] = "overlap"
    window_seconds: float = Field(default=100.0, gt=0, le=3600)
    overlap_seconds: float = Field(default=10.0, ge=0)

    @model_validator(mode="after")
    def _overlap_leaves_progress(self) -> ChunkingConfig:
        if self.policy == "overlap" and 2 * self.overlap_seconds > self.window_seconds:
            raise ValueError(
                f"overlap_seconds {self.overlap_seconds} is over half of window_seconds "
                f"{self.window_seconds}"
            )
        return self


class ModelConfig(Config):
    """`config.json` of a model folder: what decides which unit a frame becomes.

    Attributes:
        name: how reports and logs call the model.
        encoder: a folder beside `config.json`, or a hub id "owner/name" or "owner/name@revision".
        codebook: a file beside `config.json`, or "hub-id:file".
        layer: output of the encoder's layer with this number, 1 for the first; no final
            normalisation.
        sampling_rate: samples per second that the encoder takes.
        normalize_eps: added to the variance when the waveform is brought to zero mean and unit
            variance: 1e-5 in fairseq, 1e-7 in transformers; null for no normalisation. In TOML,
            which has no null, "none" says so.
        chunking: how long audio is cut.
        provenance: free facts about where the model comes from.
    """

    format: Literal["spire-dsu-model"] = "spire-dsu-model"
    version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=200)
    encoder: str = Field(min_length=1)
    codebook: str = Field(min_length=1)
    layer: int = Field(ge=1, le=1000)
    sampling_rate: Literal[16_000] = 16_000
    normalize_eps: float | None = Field(gt=0, lt=1)
    chunking: ChunkingConfig = ChunkingConfig()
    provenance: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _none_in_toml(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("normalize_eps") == "none":
            return {**data, "normalize_eps": None}
        return data


def load_toml(path: str | os.PathLike[str], model: type[C]) -> C:
    """Reads and checks a configuration file.

    Args:
        path: a TOML file.
        model: the configuration that it must be.

    Returns:
        The checked configuration, with defaults filled in.

    Raises:
        ConfigError: names the file, and each key with its value, or the line that is no TOML.
    """
    text = _read_text(Path(path))
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return validate(data, model, str(path))


def load_json(path: str | os.PathLike[str], model: type[C]) -> C:
    """Reads and checks a configuration in JSON, as `write_resolved` wrote it. See `load_toml`."""
    text = _read_text(Path(path))
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    return validate(data, model, str(path))


def validate(data: object, model: type[C], source: str) -> C:
    """Checks plain data (of TOML or JSON) against a configuration.

    Raises:
        ConfigError: names `source`, and each key with its value.
    """
    try:
        # Through JSON: strict then still takes a path or an enumeration from its text, but no "5"
        # for a 5.
        return model.model_validate_json(json.dumps(data, default=str))
    except ValidationError as error:
        problems = "; ".join(_problem(dict(item), model) for item in error.errors())
        raise ConfigError(f"{source}: {problems}") from error


def fingerprint(config: Config) -> str:
    """SHA-256 over the canonical JSON of a configuration, in hexadecimal.

    Every value counts, also a default that was not written down; the order of keys, comments and
    white space do not.
    """
    canonical = json.dumps(
        config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def differing(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """What is not the same in two sets of settings, in words: "key was 1, is 2", by key."""
    return [
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]


def write_resolved(config: Config, path: str | os.PathLike[str]) -> Path:
    """Writes a configuration with its defaults, as indented JSON; same values, same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(config.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False)
    return write_atomically(path, text.encode() + b"\n")


def _read_text(path: Path) -> str:
    if not path.is_file():  # also keeps a pipe or a device from blocking the reader
        raise ConfigError(f"{path}: no such configuration file")
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise ConfigError(f"{path}: {size} bytes is too large for a configuration")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _problem(item: dict[str, Any], model: type[Config]) -> str:
    """One line for one validation error of pydantic: the key, what is wrong, and the value."""
    location = item["loc"]
    key = ".".join(str(part) for part in location) or "the whole"
    if item["type"] == "missing":
        return f"key {key!r} is missing"
    value = repr(item["input"])
    if len(value) > _LONGEST_VALUE:
        value = value[:_LONGEST_VALUE] + "..."
    if item["type"] == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        return f"unknown key {key!r} (value {value}){hint}"
    return f"key {key!r}: {item['msg']}, got {value}"


def _known_keys(model: type[Config], location: tuple[str | int, ...]) -> list[str]:
    """The keys of the (nested) configuration at a location; empty where there is none."""
    for part in location:
        field = model.model_fields.get(str(part))
        nested = field.annotation if field else None
        if not (isinstance(nested, type) and issubclass(nested, Config)):
            return []
        model = nested
    return list(model.model_fields)
