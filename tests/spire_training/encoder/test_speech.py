"""The synthetic speech: who says what, when each phone is heard, the same bytes for a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spire_dsu.errors import InputError
from spire_dsu.types import num_frames
from spire_training.encoder import corpus, phones
from spire_training.encoder.sentences import Grammar
from spire_training.encoder.settings import Settings
from spire_training.encoder.voices import TEST_ACCENTS, TEST_VARIANTS, TRAIN_VARIANTS, espeak_voices


def label(name: str) -> int:
    return phones.PHONES.index(name)


def test_sentences_are_distinct_and_seeded() -> None:
    seen: set[str] = set()
    first = Grammar().distinct(300, np.random.default_rng(1), seen)
    assert len(set(first)) == 300 == len(seen)
    assert first == Grammar().distinct(300, np.random.default_rng(1), set())
    assert not set(first) & set(Grammar().distinct(300, np.random.default_rng(2), seen))
    assert not any("{" in text for text in first)


def test_no_voice_and_no_text_is_in_two_places(smoke: Settings) -> None:
    lines = corpus.plan(smoke)
    texts = [line.text for split in corpus.SPLITS for line in lines[split]]
    assert len(set(texts)) == len(texts)
    voices = {split: {line.voice for line in lines[split]} for split in corpus.SPLITS}
    assert not voices["test"] & voices["train"]
    assert not set(TEST_VARIANTS) & set(TRAIN_VARIANTS)
    assert voices["dev"] <= voices["train"]
    assert lines == corpus.plan(smoke)


def test_voices_are_distinct_and_use_every_variant_and_accent() -> None:
    rng = np.random.default_rng(0)
    names = espeak_voices(TEST_ACCENTS, TEST_VARIANTS, 96, rng)
    assert len(set(names)) == 96
    assert {name.split("+")[1] for name in names[:12]} == set(TEST_VARIANTS)
    assert {name.split("+")[0] for name in names} == set(TEST_ACCENTS)


def test_equal_calls_in_fresh_processes_give_equal_bytes(smoke: Settings, tmp_path: Path) -> None:
    lines = corpus.plan(smoke)["dev"]
    for folder, workers in (("one", 1), ("two", 2)):
        corpus.write_split(tmp_path / folder, lines, 0, workers)
    for name in (corpus.AUDIO, corpus.INDEX):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize("voice", ["gmw/en-US", "flite:rms"])
def test_phoneme_times_lie_where_the_sound_is(voice: str) -> None:
    """The share of power above 3 kHz in each phone's own span: much in an s, little in a vowel."""
    line = corpus.Line(voice, "Seven oceans.", 130, 50)
    (((samples, starts, labels),),) = corpus.speak_apart([[line]], 1)
    names = [phones.PHONES[i] for i in labels]
    spoken = [name for name in names if name != "sil"]
    assert spoken[:5] == ["s", "eh", "v", "ax", "n"]
    assert "sh" in names
    ends = [*starts[1:], samples.size]
    hiss = {}
    for name, start, end in zip(names, starts, ends, strict=True):
        if end == start:
            continue  # the silence after the last sample
        spectrum = np.abs(np.fft.rfft(samples[start:end].astype(np.float64))) ** 2
        hertz = np.fft.rfftfreq(end - start, 1 / 16_000)
        hiss.setdefault(name, spectrum[hertz > 3000].sum() / spectrum.sum())
    assert hiss["s"] > 0.5
    assert hiss["eh"] < 0.1
    assert hiss["n"] < 0.1


@pytest.mark.parametrize("voice", ["gmw/en-US", "flite:rms"])
def test_a_longer_vocal_tract_lowers_the_voice_and_leaves_the_tempo(voice: str) -> None:
    lengths = (1.0, 1.25)
    lines = [corpus.Line(voice, "The painter waited.", 170, 50, length) for length in lengths]
    ((plain, lower),) = corpus.speak_apart([lines], 1)
    assert lower[0].size == pytest.approx(plain[0].size, rel=0.06)

    def centre(samples: np.ndarray) -> float:
        """Half of the spectrum's amplitude lies below it."""
        amplitude = np.cumsum(np.abs(np.fft.rfft(samples.astype(np.float64))))
        return float(np.searchsorted(amplitude, amplitude[-1] / 2) / samples.size)

    assert centre(lower[0]) == pytest.approx(centre(plain[0]) / 1.25, rel=0.1)


def test_the_closure_belongs_to_the_stop() -> None:
    rate, loud = 1000, np.full(100, 5000, np.int16)
    samples = np.concatenate([loud, np.zeros(60, np.int16), loud])
    assert phones.include_closures([0, 160], ["ae", "k"], samples, rate) == [0, 100]
    assert phones.include_closures([0, 160], ["ae", "s"], samples, rate) == [0, 160]
    short = np.concatenate([loud, np.zeros(5, np.int16), loud])
    assert phones.include_closures([0, 105], ["ae", "k"], short, rate) == [0, 105]


def test_frame_labels_are_those_of_the_centre() -> None:
    starts = np.array([100, 200, 521])  # the centres of the frames are 200, 520, 840
    labels = np.array([label("s"), label("iy"), label("t")], np.int32)
    assert phones.frame_labels(starts, labels, 1040).tolist() == [
        label("iy"),
        label("iy"),
        label("t"),
    ]
    assert phones.frame_labels(starts + 150, labels, 1040)[0] == phones.SILENCE
    assert phones.frame_labels(starts, labels, 399).size == 0


def test_every_frame_of_a_spoken_utterance_has_a_phone(spoken: Path) -> None:
    split = corpus.Split(spoken / "test")
    for number, utterance in enumerate(split.utterances):
        assert (
            split.phones(number).size
            == num_frames(utterance.samples)
            == num_frames(split.clean(number).size)
        )
    everything = np.concatenate([split.phones(number) for number in range(len(split))])
    assert 0.02 < np.mean(everything == phones.SILENCE) < 0.4
    assert len(np.unique(everything)) > 25


def test_an_unknown_phoneme_is_named() -> None:
    assert phones.fold("A:") == "aa"
    with pytest.raises(InputError, match="'Q!'"):
        phones.fold("Q!")
    assert phones.fold_flite("pau") == "sil"
    assert phones.fold_flite("aa") == "aa"
    with pytest.raises(InputError, match="'aI'"):
        phones.fold_flite("aI")


def test_utterances_have_one_level_and_do_not_clip(spoken: Path) -> None:
    split = corpus.Split(spoken / "train")
    levels = [np.sqrt(np.mean(split.clean(i) ** 2)) for i in range(len(split))]
    np.testing.assert_allclose(levels, corpus.SPEECH_LEVEL, rtol=0.05)
    assert np.abs(split.audio).max() <= 32767
