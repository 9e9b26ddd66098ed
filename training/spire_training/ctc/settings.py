"""What a run of the CTC baseline is."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spire_dsu.config import Config


class CTCConfig(Config):
    """Settings of `spire-dsu train ctc`; defaults are those of appendix B where it has any.

    The paper states neither batch nor schedule. Its best step, 220,000 in epoch 12.8, and 0.8K
    hours of CommonVoice come to about 32 utterances a step; the schedule is transformers' linear
    one.

    Attributes:
        encoder: a HuBERT: Hugging Face folder or hub id; or a model of this project, by preset name
            or folder: then its encoder, with its normalisation.
        train: manifest, in any form that `spire-dsu convert` takes, with texts.
        dev: manifest; the best checkpoint is the one with its lowest character error rate.
        test: manifests that the best model transcribes.
        out: folder to write; the model comes to OUT/model, hypotheses to OUT/hyps.
        hidden_layers: between encoder and projection.
        hidden_size: of those; 0 for the encoder's.
        dropout: in and behind each of them.
        learning_rate: the highest, reached after `warmup_ratio` of all steps.
        epochs: how often each utterance is seen.
        batch: utterances per step, over all processes and accumulation.
        micro_batch: utterances that a process holds at once.
        eval_steps: steps between evaluations and checkpoints; 0 for once an epoch.
        keep: checkpoints that are kept besides the best one.
        frozen_encoder: the encoder is not trained, and its features are computed once: the paper's
            model in all but that, for machines without a GPU.
        freeze_extractor: its convolutions stay as they are, as usual in fine-tuning.
        normalize_eps: of the waveform's normalisation; a model of this project brings its own.
        lowercase: whether texts are brought to lower case.
        max_seconds: longer utterances are left out; they are counted.
        precision: "bf16" computes in bfloat16 over float32 weights.
        workers: processes that decode audio beside the training; 0 for none.
    """

    encoder: str = Field(min_length=1)
    train: str = Field(min_length=1)
    dev: str = Field(min_length=1)
    test: tuple[str, ...] = ()
    out: str = Field(min_length=1)
    hidden_layers: int = Field(default=3, ge=0)
    hidden_size: int = Field(default=0, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1)
    learning_rate: float = Field(default=1e-4, gt=0, lt=1)
    warmup_ratio: float = Field(default=0.15, ge=0, lt=1)
    epochs: int = Field(default=50, ge=1)
    batch: int = Field(default=32, ge=1)
    micro_batch: int = Field(default=8, ge=1)
    eval_steps: int = Field(default=0, ge=0)
    keep: int = Field(default=1, ge=1)
    frozen_encoder: bool = False
    freeze_extractor: bool = True
    normalize_eps: float = Field(default=1e-5, gt=0, lt=1)
    lowercase: bool = True
    max_seconds: float = Field(default=30.0, gt=0, le=100)
    precision: Literal["bf16", "fp32"] = "bf16"
    seed: int = Field(default=42, ge=0, lt=2**32)
    device: Literal["auto", "cpu"] = "auto"
    workers: int = Field(default=0, ge=0)
