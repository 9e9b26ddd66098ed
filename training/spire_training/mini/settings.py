"""What the miniature's world holds: one frozen model, read from TOML."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from spire_dsu.config import Config
from spire_training.encoder.settings import Distortion
from spire_training.mini.grammar.meaning import Kind


class Text(Config):
    """Sentences without speech; what is 0 by default is then not made.

    Attributes:
        parallel: sentence pairs of English with each other language.
        monolingual: sentences of each language.
        instructions: translation instructions in TowerBlocks' form.
        flores: sentences of the test set that FLORES-200's devtest stands for.
        wmt: sentences of the one that WMT23 stands for.
        post_editing: instructions to correct a draft; with them come test sets, drafts of `wmt`.
        entities: instructions to find names of people and places.
        entity_tests: sentences of the test set that MultiCoNER 2023 stands for.
        entity_words: the longest of the sentences to find names in, in words and marks; 0 for any.
            Question and answer say each word, so a small model's rows would be too short for long
            ones.
        spm_pieces: of a SentencePiece model that stands for FLORES-200's. spBLEU over its pieces is
            comparable within this world only.
    """

    parallel: int = Field(gt=0)
    monolingual: int = Field(gt=0)
    instructions: int = Field(gt=0)
    flores: int = Field(gt=0)
    wmt: int = Field(gt=0)
    post_editing: int = Field(default=0, ge=0)
    entities: int = Field(default=0, ge=0)
    entity_tests: int = Field(default=0, ge=0)
    entity_words: int = Field(default=0, ge=0)
    spm_pieces: int = Field(default=0, ge=0)


class Voices(Config):
    """Who speaks, and how.

    Attributes:
        accents: of espeak-ng.
        train: espeak-ng's voices that training hears; three of flite join them.
        flite: what each of those three says, in shares of one of espeak-ng's: there are few of
            flite's voices, and espeak-ng's are alike.
        test: espeak-ng's voices that training never hears; a fourth of flite joins them.
        words_per_minute: lowest and highest.
        pitch: lowest and highest, of espeak-ng's 0 to 100.
        vocal_tract: shortest and longest of training's speakers, in that of their voice as it is.
            A synthesiser's voices are few; this makes many speakers of each.
    """

    accents: list[str] = Field(min_length=1)
    train: int = Field(gt=0)
    test: int = Field(gt=0)
    flite: int = Field(default=1, gt=0)
    words_per_minute: tuple[int, int]
    pitch: tuple[int, int]
    vocal_tract: tuple[float, float] = (1.0, 1.0)


class Corpus(Config):
    """One split of one speech corpus, written in its published layout."""

    name: Literal["spgispeech", "voxpopuli", "commonvoice", "covost2", "fleurs", "librispeech"]
    split: str
    rows: int = Field(gt=0)
    voices: Literal["train", "test"]
    snr_db: tuple[float, float] | None = None


class World(Config):
    """Everything that decides the bytes of the miniature's data.

    Attributes:
        words: the share of each word class in use; 1.0 is the whole lexicon.
        kinds: of sentences; empty for all.
        distortion: rooms and noise of all speech; a corpus may have a noise level of its own.
    """

    seed: int = Field(ge=0)
    words: float = Field(gt=0, le=1)
    kinds: list[Kind] = Field(default_factory=list)
    text: Text
    voices: Voices
    distortion: Distortion
    corpora: list[Corpus] = Field(min_length=1)
