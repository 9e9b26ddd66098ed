"""`eval run`'s configuration: test sets, systems, metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from spire_dsu.config import Config
from spire_dsu.llm.generation import GenerationConfig
from spire_evaluation.items import Task
from spire_evaluation.metrics import Metric, MetricConfig
from spire_evaluation.significance import Resampling

Name = Annotated[str, Field(pattern=r"^\w[\w.+ -]{0,79}$")]
Kind = Literal[
    "librispeech", "fleurs", "voxpopuli", "flores", "wmt23", "fleurs-st", "covost2", "ape", "ner"
]

METRICS: dict[Task, list[Metric]] = {
    "asr": ["wer"],
    "mt": ["comet", "spbleu"],
    "st": ["comet", "spbleu"],
    "ape": ["comet"],
    "ner": ["ner"],
}
"""What the paper reports, by task."""


class TestConfig(Config):
    """Test sets of one kind in one folder.

    Attributes:
        kind: see `spire_evaluation.tasks`.
        folder: where it lies, in its published layout.
        parts: which of its parts ("test-clean", "en-de", "de"); empty for all of the paper's.
        limit: only the first so many items; for trials.
        units: a finished folder of `spire-dsu convert` with this part's utterances, by their ids;
            None converts them with `speech`.
        references: fleurs-st: FLORES-200's folder; a recording's translation is then the line of
            FLORES beside its own, as in the paper. None takes FLEURS's own in the other language.
        shots: worked examples for systems that take them: JSON lines with source and text.
        noise: also with white noise at these ratios of signal to noise, in dB (ASR only).
        speed: also played at these speeds (ASR only).
    """

    __test__ = False

    kind: Kind
    folder: Path
    parts: list[str] = Field(default_factory=list)
    limit: int | None = Field(default=None, ge=1)
    units: Path | None = None
    references: Path | None = None
    shots: Path | None = None
    noise: list[float] = Field(default_factory=list)
    speed: list[Annotated[float, Field(ge=0.25, le=4)]] = Field(default_factory=list)


class SpeechConfig(Config):
    """How recordings become units where no converted folder is named.

    Attributes:
        model: a preset, a model folder or a hub id.
        device, precision: as for `Discretizer.from_pretrained`.
        workers: processes; None for one per GPU or core.
    """

    model: str = "spire"
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = Field(default=None, ge=1)


class SystemConfig(Config):
    """What every system has.

    Attributes:
        name: unique; names files and rows.
        tests: only the test sets whose keys match one of these patterns ("fleurs/*").
        published: the paper's row to put beside it, "SPIREFULL" or "SPIREFULL/cascade".
    """

    name: Name
    tests: list[str] = Field(default_factory=lambda: ["*"], min_length=1)
    published: str | None = None


class LlmConfig(SystemConfig):
    """A Hugging Face causal language model: Spire's, Tower's.

    Attributes:
        model: its folder.
        layout: "chatml" for instructed models, "plain" for base models.
        style: white space of the speech prompts, see `spire_dsu.llm.prompts`; None takes "spirelm"
            with chatml and "paper" with plain.
        shots: worked examples before a translation ("plain" only).
        generation: how; its `stop` is a line break for "plain" where it names none.
    """

    kind: Literal["llm"]
    model: Path
    layout: Literal["chatml", "plain"] = "chatml"
    style: str | None = None
    shots: int = Field(default=0, ge=0, le=64)
    generation: GenerationConfig = GenerationConfig()

    @model_validator(mode="after")
    def _shots_are_plain(self) -> LlmConfig:
        if self.shots and self.layout != "plain":
            raise ValueError("shots go with layout plain: chatml has no worked examples")
        return self


class CascadeConfig(SystemConfig):
    """Speech translation in two steps: one system's transcript, translated by another.

    Attributes:
        asr, mt: names of systems of this configuration; the same one is a self-cascade.
        attribution: also translate the gold transcripts, which tells how much of the loss is ASR's.
    """

    kind: Literal["cascade"]
    asr: str
    mt: str
    attribution: bool = True


class BaselineConfig(SystemConfig):
    """A published model through transformers.

    Attributes:
        model: its folder.
        batch_size: items at once.
        max_new_tokens: an answer is cut after so many tokens.
        dtype: of weights and arithmetic.
    """

    kind: Literal["whisper", "seamless", "qwen2-audio", "ctc"]
    model: Path
    batch_size: int = Field(default=8, ge=1, le=1024)
    max_new_tokens: int = Field(default=256, ge=1, le=4096)
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"


class ImportedConfig(SystemConfig):
    """Answers that another program gave.

    Attributes:
        files: test set's key -> JSON lines with id and text, one for each item.
    """

    kind: Literal["imported"]
    files: dict[str, Path] = Field(min_length=1)


AnySystem = Annotated[
    LlmConfig | CascadeConfig | BaselineConfig | ImportedConfig, Field(discriminator="kind")
]


class RunConfig(Config):
    """One evaluation.

    Attributes:
        out: folder of everything that is written.
        tests: test sets.
        systems: what answers them.
        speech: how recordings become units.
        metrics: by task; the paper's by default.
        scoring: files and options of the metrics.
        resampling: seed, draws and level of intervals and tests.
        harness: also write a configuration of lm-evaluation-harness for each "llm" system.
    """

    out: Path
    tests: list[TestConfig] = Field(min_length=1)
    systems: list[AnySystem] = Field(min_length=1)
    speech: SpeechConfig = SpeechConfig()
    metrics: dict[Task, list[Metric]] = Field(default_factory=lambda: dict(METRICS))
    scoring: MetricConfig = MetricConfig()
    resampling: Resampling = Resampling()
    harness: bool = True

    @model_validator(mode="after")
    def _names_are_unique(self) -> RunConfig:
        names = [system.name for system in self.systems]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"systems of one name: {', '.join(twice)}")
        for system in self.systems:
            if isinstance(system, CascadeConfig):
                for part in (system.asr, system.mt):
                    if part not in names or part == system.name:
                        raise ValueError(f"cascade {system.name!r}: no system {part!r}")
        return self
