"""The recipes at the paper's scale say what the paper says."""

from __future__ import annotations

from pathlib import Path

from spire_dsu.config import load_toml
from spire_training.data.settings import EUROPARL_TARGETS, PrepareConfig, SpeechSource

RECIPES = Path(__file__).parents[3] / "training" / "recipes" / "spire"


def test_continued_pre_training() -> None:
    config = load_toml(RECIPES / "cpt_data.toml", PrepareConfig)
    assert config.tokens == 6_000_000_000
    ratios = {name: group.ratio for name, group in config.groups.items()}
    assert ratios["speech"] / (ratios["monolingual"] + ratios["parallel"]) == 5
    languages = [s.language for s in config.sources if s.kind == "monolingual"]
    pairs = [s.languages for s in config.sources if s.kind == "parallel"]
    assert len(languages) == 10
    assert {two for _, two in pairs} == set(languages) - {"en"}
    corpora = [s.corpus for s in config.sources if s.kind == "speech"]
    assert corpora == ["SPGI Speech", "GigaSpeech", "MLS", "VoxPopuli"]
    assert config.learns_all
    assert config.style == "paper"


def test_instructions() -> None:
    config = load_toml(RECIPES / "it_data.toml", PrepareConfig)
    speech = {s.name: s for s in config.sources if isinstance(s, SpeechSource)}
    assert config.sequence_length == 4096
    assert not config.learns_all
    cv = speech["commonvoice"].select
    assert (cv.min_seconds, cv.max_speakers_per_text) == (3.0, 4)
    assert speech["covost2"].select.targets == ("zh",)
    europarl = [s for s in speech.values() if s.corpus == "Europarl-ST"]
    assert tuple(s.select.targets[0] for s in europarl) == EUROPARL_TARGETS
    assert speech["fleurs"].select.without_texts != "none"
    pseudo = [s for s in speech.values() if s.pseudo]
    assert sorted(s.task for s in pseudo) == ["multi_turn"] * 3 + ["st"] * 3


def test_defaults_of_a_corpus_are_the_papers() -> None:
    from spire_training.data.settings import Selection

    assert Selection(corpus="mls").max_per_speaker == 13
    assert Selection(corpus="mls", max_per_speaker=0).max_per_speaker == 0
    assert Selection(corpus="gigaspeech").tags
    assert Selection(corpus="europarl-st").targets == EUROPARL_TARGETS
    assert Selection() == Selection(corpus="")
