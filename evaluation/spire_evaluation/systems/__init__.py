"""Systems: whatever answers the items of test sets.

base          the interface, and the loop with a resumable file that the baselines share
llm           Spire, Tower and other causal language models
cascade       one system's transcripts, translated by another
whisper, seamless, qwen2_audio, ctc   published models through transformers
imported      answers in a file, from programs that cannot run here
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from spire_evaluation.config import (
    AnySystem,
    BaselineConfig,
    CascadeConfig,
    ImportedConfig,
    LlmConfig,
)
from spire_evaluation.systems.base import Answered, Label, System
from spire_evaluation.systems.cascade import Cascade
from spire_evaluation.systems.imported import Imported
from spire_evaluation.systems.llm import LanguageModel

__all__ = ["Answered", "Label", "System", "make_systems"]


def make_systems(configs: Sequence[AnySystem], out: Path) -> list[System]:
    """A system for each configuration, in order; nothing heavy is loaded yet.

    Args:
        configs: names unique, parts of cascades among them.
        out: where their answers go, a folder each.

    Raises:
        SpireError: a model's folder is not one.
    """
    made: dict[str, System] = {}
    for config in configs:
        if not isinstance(config, CascadeConfig):
            made[config.name] = _make(config, out / config.name)
    for config in configs:
        if isinstance(config, CascadeConfig):
            parts = made[config.asr], made[config.mt]
            made[config.name] = Cascade(config, out / config.name, *parts)
    return [made[config.name] for config in configs]


def _make(config: LlmConfig | BaselineConfig | ImportedConfig, out: Path) -> System:
    if isinstance(config, LlmConfig):
        return LanguageModel(config, out)
    if isinstance(config, ImportedConfig):
        return Imported(config, out)
    if config.kind == "whisper":
        from spire_evaluation.systems.whisper import Whisper

        return Whisper(config, out)
    if config.kind == "seamless":
        from spire_evaluation.systems.seamless import Seamless

        return Seamless(config, out)
    if config.kind == "qwen2-audio":
        from spire_evaluation.systems.qwen2_audio import Qwen2Audio

        return Qwen2Audio(config, out)
    from spire_evaluation.systems.ctc import Ctc

    return Ctc(config, out)
