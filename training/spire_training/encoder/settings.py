"""The settings of the recipe: one frozen model, read from TOML, unknown keys refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from spire_dsu.config import Config, load_toml


class Speech(Config):
    """What is said, by how many voices."""

    train_utterances: int = Field(gt=0)
    dev_utterances: int = Field(gt=0)
    test_utterances: int = Field(gt=0)
    train_voices: int = Field(gt=0)
    test_voices: int = Field(gt=0)
    flite_share: float = Field(ge=0, lt=1)
    teacher_of_flite: str
    min_seconds: float = Field(gt=0)
    words_per_minute: tuple[int, int]
    pitch: tuple[int, int]


class Distortion(Config):
    """How clean speech is made harder; ranges are uniform, probabilities per utterance."""

    noise_probability: float = Field(ge=0, le=1)
    snr_db: tuple[float, float]
    room_probability: float = Field(ge=0, le=1)
    reverberation_seconds: tuple[float, float]
    direct_to_reverberant_db: tuple[float, float]
    gain_db: tuple[float, float]


class Encoder(Config):
    """The shape of the HuBERT; names as in transformers' HubertConfig."""

    conv_dim: tuple[int, int, int, int, int, int, int]
    hidden_size: int = Field(gt=0)
    num_hidden_layers: int = Field(gt=0)
    num_attention_heads: int = Field(gt=0)
    intermediate_size: int = Field(gt=0)
    num_conv_pos_embeddings: int = Field(gt=0)
    num_conv_pos_embedding_groups: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)


class Masking(Config):
    """Spans hidden from the encoder: a frame starts one with `probability`, spans may overlap."""

    probability: float = Field(gt=0, lt=1)
    length: int = Field(gt=0)


class Optimiser(Config):
    """How a round of masked prediction is trained; `seen_weight` weighs the loss on frames that are
    not hidden, which the paper leaves out. Each crop is resampled by a factor of the range
    `crop_resampling`: pitch, formants and tempo move together, its targets stay.
    """

    crop_seconds: float = Field(gt=0)
    crop_resampling: tuple[float, float]
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup_share: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    gradient_norm: float = Field(gt=0)
    seen_weight: float = Field(ge=0)
    bfloat16: bool
    checkpoint_steps: int = Field(gt=0)


class Round(Config):
    """One round: targets from MFCC or from a layer of the round before, then masked prediction of
    them.
    """

    source: Literal["mfcc", "encoder"]
    layer: int = Field(default=0, ge=0)
    clusters: int = Field(gt=1)
    steps: int = Field(gt=0)
    continued: bool = False


class Codebook(Config):
    """The units that are shipped."""

    clusters: int = Field(gt=1)
    frames: int = Field(gt=0)
    iterations: int = Field(gt=0)


class Settings(Config):
    """Everything that decides the bytes of the model."""

    name: str
    seed: int = Field(ge=0)
    speech: Speech
    distortion: Distortion
    encoder: Encoder
    masking: Masking
    optimiser: Optimiser
    rounds: tuple[Round, ...] = Field(min_length=1)
    codebook: Codebook


def read_settings(path: Path) -> Settings:
    """The settings in a TOML file.

    Raises:
        ConfigError: no such file, not TOML, an unknown key or a value outside of its range; the
            text names it.
    """
    return load_toml(path, Settings)
