"""What a pseudo-labelling run is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from spire_dsu.config import Config
from spire_dsu.llm.generation import GenerationConfig
from spire_dsu.llm.prompts import LANGUAGES

TARGETS = tuple(code for code in LANGUAGES if code != "en")
Language = Literal["de", "es", "fr", "it", "ko", "nl", "pt", "ru", "zh"]


class Transcripts(Config):
    """Where the transcripts of one corpus are.

    Attributes:
        name: of the corpus; the files that are written begin with it.
        path: a folder of `spire-dsu convert`, or JSON lines with "id" and "text".
        limit: transcripts that are translated, chosen by the seed; 300,000 in the paper.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    path: str = Field(min_length=1)
    limit: int = Field(default=300_000, ge=1)


class PseudoLabelConfig(Config):
    """Settings of `spire-dsu train pseudo-label`; the defaults are the paper's (section 3.3.1).

    The paper samples 60K + 60K "for each language pair" and ends up with 180K + 180K: so the
    numbers hold for each of its three corpora, and here for each of `transcripts`.

    Attributes:
        model: Hugging Face folder of the translating model.
        layout: "chatml" asks as Tower's instructions do, "plain" as a base model's shots.
        transcripts: the corpora.
        languages: to translate into.
        out: folder to write.
        generation: how answers are generated.
        scorer: "comet" is reference-free COMET; "length-ratio" compares lengths alone, for
            machines that lack its weights: it tells nothing of the meaning.
        comet_model: folder, checkpoint or cached hub id of a model that needs no reference.
        comet_environment: folder or interpreter with unbabel-comet; "" finds it.
        score_batch: rows that COMET takes at once.
        threshold: translations with a lower score are dropped.
        direct: of each corpus and language, for prompts that ask for the translation at once.
        multi_turn: the same, for prompts that first ask for the transcript; none is in both.
        seed: of both choices.
    """

    model: str = Field(min_length=1)
    layout: Literal["chatml", "plain"] = "chatml"
    transcripts: Annotated[tuple[Transcripts, ...], Field(min_length=1)]
    languages: Annotated[tuple[Language, ...], Field(min_length=1)] = TARGETS  # type: ignore[assignment]
    out: str = Field(min_length=1)
    generation: GenerationConfig = GenerationConfig()
    scorer: Literal["comet", "length-ratio"] = "comet"
    comet_model: str = "Unbabel/wmt22-cometkiwi-da"
    comet_environment: str = ""
    score_batch: int = Field(default=64, ge=1)
    threshold: float = Field(default=0.85, ge=0, le=1)
    direct: int = Field(default=60_000, ge=0)
    multi_turn: int = Field(default=60_000, ge=0)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _names_are_unique(self) -> PseudoLabelConfig:
        names = [source.name for source in self.transcripts]
        for known in (names, list(self.languages)):
            if len(set(known)) != len(known):
                raise ValueError(f"a name is there twice in {known}")
        if not self.direct + self.multi_turn:
            raise ValueError("direct and multi_turn are both 0: there is nothing to sample")
        return self

    @property
    def environment(self) -> Path | None:
        """Of unbabel-comet, None to look for it."""
        return Path(self.comet_environment) if self.comet_environment else None
