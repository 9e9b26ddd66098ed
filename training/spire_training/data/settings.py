"""The configuration of `spire-dsu train prepare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from spire_dsu.config import Config
from spire_dsu.llm.prompts import LANGUAGES, TEMPLATES

Share = Annotated[float, Field(gt=0, le=1)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]

EUROPARL_TARGETS = ("de", "es", "fr", "it", "nl", "pt")

PAPER: dict[str, dict[str, Any]] = {
    "gigaspeech": {"tags": True},
    "mls": {"max_per_speaker": 13},
    "commonvoice": {"min_seconds": 3.0, "max_speakers_per_text": 4},
    "europarl-st": {"targets": EUROPARL_TARGETS},
    "covost2": {"targets": ("zh",)},
}
"""What the paper selects of each corpus (sections 3.2.1 and 3.3.1, appendix A.1)."""


class Selection(Config):
    """Which utterances are taken, and in what words. 0 and "none" turn a rule off.

    Attributes:
        corpus: sets the rules below to the paper's for this corpus, as far as they are not given.
        tags: GigaSpeech's tags become punctuation, the rest lower case; utterances with a garbage
            tag are dropped.
        min_seconds: shorter utterances are dropped.
        max_per_speaker: transcripts that one speaker has at most, chosen by the seed.
        max_speakers_per_text: speakers that one transcript has at most, chosen by the seed.
        without_texts: a file of sentences (FLORES devtest in English); utterances of one of them
            are dropped.
        targets: languages of translations that are taken; empty for all.
    """

    corpus: Literal["gigaspeech", "mls", "commonvoice", "fleurs", "europarl-st", "covost2", ""] = ""
    tags: bool = False
    min_seconds: float = Field(default=0.0, ge=0)
    max_per_speaker: int = Field(default=0, ge=0)
    max_speakers_per_text: int = Field(default=0, ge=0)
    without_texts: str = "none"
    targets: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _paper(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        if data.get("corpus") == "fleurs" and "without_texts" not in data:
            raise ValueError(
                "fleurs shares sentences with FLORES: name the file of its devtest in without_texts"
            )
        # A model that is made of a dict, not of JSON, takes no list for a tuple.
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return {**PAPER.get(str(data.get("corpus")), {}), **given}


class Source(Config):
    """What all sources have.

    Attributes:
        name: unique; counts are reported under it.
        group: the budget that it draws from.
        repeat: how often each document is used: 2 twice, 0.5 every second one, 1.5 once or twice.
        part: (i, n): only documents of part i of n, by a hash of their id: two sources of the same
            files share nothing if their parts differ.
        documents: documents taken of each language at most, chosen by the seed; 0 for all.
    """

    name: str = Field(min_length=1, max_length=200)
    group: str
    repeat: float = Field(default=1.0, gt=0, le=100)
    part: tuple[int, int] = (0, 1)
    documents: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _part_is_one(self) -> Source:
        if not 0 <= self.part[0] < self.part[1]:
            raise ValueError(f"part {list(self.part)} is none: [0, 1] is the whole, [1, 2] a half")
        return self


class SpeechSource(Source):
    """Shards of `spire-dsu convert`, as transcription or translation.

    Attributes:
        shards: the conversion's folder.
        task: "asr", "st" (direct) or "multi_turn" (transcribe, then translate).
        translations: JSON lines {"id", "lang", "text"}, joined to the shards by id.
        corpus: how the table of the selected data calls it.
        select: which utterances.
    """

    kind: Literal["speech"]
    shards: str
    task: Literal["asr", "st", "multi_turn"] = "asr"
    translations: tuple[str, ...] = ()
    corpus: str = ""
    pseudo: bool = False
    select: Selection = Selection()

    @model_validator(mode="after")
    def _translations_if_translated(self) -> SpeechSource:
        if (self.task == "asr") == bool(self.translations):
            raise ValueError(f"task {self.task!r} with translations {list(self.translations)}")
        return self


class ParallelSource(Source):
    """Sentence pairs, in both directions.

    Attributes:
        files: TSV of two columns, or JSON lines that hold a text per language code, or hold such
            an object under "translation"; .gz too, patterns too.
        languages: the two languages, in the order of TSV's columns.
        directions: both, or from the first language into the second.
    """

    kind: Literal["parallel"]
    files: Names
    languages: tuple[str, str]
    directions: Literal["both", "forward"] = "both"


class MonolingualSource(Source):
    """Running text.

    Attributes:
        files: a document a line (.txt), JSON lines or Parquet with a column; .gz too, patterns too.
        language: its code.
        column: the column that holds the text.
    """

    kind: Literal["monolingual"]
    files: Names
    language: str
    column: str = "text"


class InstructionSource(Source):
    """Instructions in ShareGPT's form, as TowerBlocks has them.

    Attributes:
        files: JSON lines or Parquet with a column "conversations" of {"from", "value"}.
        split: rows whose column "split" says something else are left out; "" takes all.
    """

    kind: Literal["instructions"]
    files: Names
    split: str = ""


AnySource = Annotated[
    SpeechSource | ParallelSource | MonolingualSource | InstructionSource,
    Field(discriminator="kind"),
]


class Group(Config):
    """Sources that share a budget.

    Attributes:
        tokens: how many tokens they give; 0 for all that there are.
        ratio: in place of `tokens`, a share beside the other groups'.
        split: "proportional" to what each stream has, or "even": each language (of text) or
            direction (of pairs) gives as much, as far as it has it.
    """

    tokens: int = Field(default=0, ge=0)
    ratio: float = Field(default=0.0, ge=0)
    split: Literal["proportional", "even"] = "proportional"


class PrepareConfig(Config):
    """From shards and texts to a packed folder.

    Attributes:
        stage: "cpt" renders documents plainly, "it" as ChatML.
        tokenizer: a Hugging Face folder with units, from `spire-dsu train extend-vocab`.
        out: the packed folder to make.
        sequence_length: tokens of a row.
        seed: of every choice and of the shuffle.
        template: the white space of the speech prompts, a name of `spire_dsu.llm.prompts`.
        learn: "all" tokens but a document's first, or "answers"; "" for what the stage does: all
            in cpt, answers in it.
        end_token: text of the token that ends a plain document; "" for the tokenizer's end of
            sequence.
        held_out: share of documents that are kept apart, by a hash of their id or text.
        tokens: all tokens, where groups have ratios; 0 for as many as the data allows.
        groups: budgets by name.
        sources: where documents come from.
        open_rows: rows that packing keeps open; more fill better and take memory.
        buckets: files of the shuffle; memory holds one at a time.
    """

    stage: Literal["cpt", "it"]
    tokenizer: str = Field(min_length=1)
    out: str = Field(min_length=1)
    sequence_length: int = Field(ge=8, le=1 << 20)
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    template: str = ""
    learn: Literal["all", "answers", ""] = ""
    end_token: str = ""
    held_out: float = Field(default=0.0, ge=0, lt=0.5)
    tokens: int = Field(default=0, ge=0)
    groups: dict[str, Group]
    sources: tuple[AnySource, ...] = Field(min_length=1)
    open_rows: int = Field(default=512, ge=1, le=1 << 16)
    buckets: int = Field(default=256, ge=1, le=1 << 12)

    @model_validator(mode="after")
    def _consistent(self) -> PrepareConfig:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"two sources of one name among {names}")
        for source in self.sources:
            if source.group not in self.groups:
                raise ValueError(f"source {source.name!r}: no group {source.group!r}")
            if self.stage == "it" and isinstance(source, ParallelSource | MonolingualSource):
                raise ValueError(f"source {source.name!r}: {source.kind} text is no instruction")
            codes = [*getattr(source, "languages", ()), getattr(source, "language", "en")]
            if unknown := [code for code in codes if code not in LANGUAGES]:
                raise ValueError(f"source {source.name!r}: unknown languages {unknown}")
            if self.stage == "cpt" and isinstance(source, SpeechSource) and source.task != "asr":
                raise ValueError(f"source {source.name!r}: task {source.task!r} needs stage it")
            if self.stage == "cpt" and isinstance(source, InstructionSource):
                raise ValueError(f"source {source.name!r}: instructions need stage it")
        if self.template and self.template not in TEMPLATES:
            raise ValueError(f"template {self.template!r} is none of {list(TEMPLATES)}")
        self._check_budgets()
        return self

    def _check_budgets(self) -> None:
        with_ratio = [name for name, group in self.groups.items() if group.ratio]
        if with_ratio and len(with_ratio) != len(self.groups):
            raise ValueError(f"groups with and without a ratio: only {with_ratio} have one")
        if both := [name for name in with_ratio if self.groups[name].tokens]:
            raise ValueError(f"groups {both} have tokens and a ratio")
        if self.tokens and not with_ratio:
            raise ValueError("tokens without ratios: give the groups ratios, or tokens each")
        if idle := set(self.groups) - {source.group for source in self.sources}:
            raise ValueError(f"groups {sorted(idle)} have no source")

    @property
    def style(self) -> str:
        """The template: the paper's in cpt and SpireLM's in it, if none is named."""
        return self.template or {"cpt": "paper", "it": "spirelm"}[self.stage]

    @property
    def learns_all(self) -> bool:
        """Whether prompts and units are learned too."""
        return (self.learn or {"cpt": "all", "it": "answers"}[self.stage]) == "all"
