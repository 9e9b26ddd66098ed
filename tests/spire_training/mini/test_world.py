"""The miniature's world: equal bytes, layouts that the readers read, tests nobody trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mini_worlds import mini_world

from spire_dsu.audio import read_audio
from spire_dsu.config import load_toml
from spire_dsu.corpora import open_corpus
from spire_dsu.errors import ConfigError
from spire_dsu.textio import ignore
from spire_dsu.types import AudioFile, Utterance
from spire_training.mini.settings import World
from spire_training.mini.speech import roster, speak
from spire_training.mini.world import make_world

RECIPES = Path(__file__).resolve().parents[3] / "training" / "recipes" / "mini"
ROWS = 4
CORPORA = [
    ("spgispeech", "train", "train"),
    ("voxpopuli", "train", "train"),
    ("commonvoice", "train", "train"),
    ("covost2", "train", "train"),
    ("covost2", "test", "test"),
    ("fleurs", "train", "train"),
    ("librispeech", "test-clean", "test"),
]


def world(**changes: object) -> World:
    corpora = [
        {"name": name, "split": split, "rows": ROWS, "voices": voices}
        for name, split, voices in CORPORA
    ]
    text = {"parallel": 5, "monolingual": 5, "instructions": 5, "flores": 3, "wmt": 3}
    return mini_world(**{"text": text, "corpora": corpora, **changes})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    make_world(world(), out, workers=2)
    return out


def rows_of(out: Path, name: str, split: str) -> list[Utterance]:
    root = out / "corpora" / name
    _, read = open_corpus(f"corpus:{name}:{root}:{split}")
    return list(read(ignore))


@pytest.mark.parametrize(("name", "split", "voices"), CORPORA)
def test_the_real_readers_read_what_was_written(
    made: Path, name: str, split: str, voices: str
) -> None:
    rows = rows_of(made, name, split)
    assert len(rows) == ROWS
    for row in rows:
        assert row.problem is None
        assert row.text
        assert isinstance(row.audio, AudioFile)
        assert read_audio(row.audio.path).size > 8_000


def test_no_test_sentence_is_in_the_training_data(made: Path) -> None:
    def bare(text: str) -> str:
        return "".join(letter for letter in text.lower() if letter.isalpha())

    tested = {
        bare(row.text or "")
        for name, split, voices in CORPORA
        if voices == "test"
        for row in rows_of(made, name, split)
    }
    tested |= {bare(x) for x in (made / "flores/devtest/eng_Latn.devtest").read_text().split("\n")}
    trained = {
        bare(row.text or "")
        for name, split, voices in CORPORA
        if voices == "train"
        for row in rows_of(made, name, split)
    }
    trained |= {
        bare(line.split("\t")[0])
        for line in (made / "text/parallel.en-de.tsv").read_text().splitlines()
    }
    assert len(trained) == 5 * ROWS + 5
    assert not tested & trained


def test_equal_settings_give_equal_bytes(made: Path, tmp_path: Path) -> None:
    make_world(world(), tmp_path, workers=1)
    for path in sorted(made.rglob("*")):
        again = tmp_path / path.relative_to(made)
        if path.suffix == ".ogg":  # each Ogg stream bears a random number
            np.testing.assert_array_equal(read_audio(again), read_audio(path))
        elif path.is_file():
            assert again.read_bytes() == path.read_bytes(), path


def test_voices_are_of_one_part_only() -> None:
    voices = world().voices
    assert not set(roster(voices, "train", 3)) & set(roster(voices, "test", 3))


def test_flites_few_voices_may_say_more() -> None:
    voices = world().voices
    more = roster(voices.model_copy(update={"flite": 3}), "train", 3)
    assert set(more) == set(roster(voices, "train", 3))
    assert [more.count(f"flite:{name}") for name in ("kal16", "rms", "slt", "awb")] == [3, 3, 3, 0]


def test_training_alone_has_vocal_tracts_of_many_lengths() -> None:
    voices = {"vocal_tract": (0.8, 1.25)}
    plain = world()
    varied = plain.model_copy(update={"voices": plain.voices.model_copy(update=voices)})
    for index, corpus in enumerate(plain.corpora[:1] + plain.corpora[-1:]):
        said = [dict.fromkeys(("en", "de", "es"), "She waited.")] * 2
        before, after = (
            [r.samples.tobytes() for r in speak(one, corpus, index, said, 1)]
            for one in (plain, varied)
        )
        assert (before == after) == (corpus.voices == "test")


def test_a_world_of_other_settings_is_refused(made: Path) -> None:
    with pytest.raises(ConfigError, match="other settings"):
        make_world(world(seed=4), made)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/world.toml")), ids=lambda p: p.parent.name)
def test_the_recipes_worlds_can_be_read(path: Path) -> None:
    assert load_toml(path, World).text.parallel
