"""The recipe at smoke size, from speech to a model folder; and what of it must be exact."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from transformers import HubertModel

from spire_dsu.codebook import load_codebook
from spire_dsu.config import ModelConfig, load_json
from spire_dsu.errors import ConfigError
from spire_dsu.files import sha256_of_file
from spire_dsu.types import FRAME_SAMPLES, HOP_SAMPLES, SAMPLING_RATE, num_frames
from spire_training.encoder import finish, stages
from spire_training.encoder.alignment import frames_of, middles, nearest_frames
from spire_training.encoder.batches import Batches
from spire_training.encoder.corpus import Utterance
from spire_training.encoder.frontend import extract
from spire_training.encoder.model import LayerFeatures, build_encoder, normalise
from spire_training.encoder.pretrain import CHECKPOINT, Round, learning_rate
from spire_training.encoder.settings import Settings, read_settings
from spire_training.encoder.targets import Targets

RECIPE = Path(__file__).parents[3] / "training" / "recipes" / "mini"


def quiet(_: str) -> None:
    """No report."""


def losses(work: stages.Work, number: int) -> list[float]:
    rows = (work.round_folder(number) / "log.jsonl").read_text("utf-8").splitlines()
    return [json.loads(row)["loss"] for row in rows]


def test_the_whole_recipe(work: stages.Work, tmp_path: Path) -> None:
    for number in (1, 2):
        stages.pretrain(work, number, quiet)
    first = losses(work, 1)
    assert first[-1] < first[0] - 0.05

    out, results = tmp_path / "model", tmp_path / "RESULTS.json"
    finish.finish(work, out, results, quiet)
    config = load_json(out / "config.json", ModelConfig)
    encoder = HubertModel.from_pretrained(out / "encoder", dtype=torch.float32)
    centroids = load_codebook(out / "codebook.safetensors", num_centroids=16, num_features=32)
    for name, path in (
        ("model.safetensors", out / "encoder" / "model.safetensors"),
        ("codebook.safetensors", out / "codebook.safetensors"),
    ):
        assert config.provenance["sha256"][name] == sha256_of_file(path)

    # what was judged is what ships: the figures come out again from the files alone
    figures = json.loads(results.read_text("utf-8"))["figures"]
    again = finish.judge(LayerFeatures(encoder, config.layer), centroids.centroids, work)
    assert round(again.distorted.pnmi, 4) == figures["pnmi_mini"]
    assert figures["bytes"] == sum(p.stat().st_size for p in out.rglob("*.safetensors"))
    assert 0 < figures["pnmi_mfcc"] < 1
    gain = figures["pnmi_mini"] - figures["pnmi_mfcc"]
    assert figures["pnmi_gain_over_mfcc"] == pytest.approx(gain, abs=2e-4)


def test_an_interrupted_round_ends_with_the_bytes_of_an_unbroken_one(
    work: stages.Work, tmp_path: Path
) -> None:
    targets = Targets(stages.make_targets(work, 1, quiet), work.split("train"))
    batches = Batches(work.settings, work.split("train"), targets, work.acoustics(), 1)
    for name, stops in (("unbroken", [None]), ("broken", [3, None])):
        folder = tmp_path / name
        folder.mkdir()
        for stop in stops:  # each time a new object, as a new process has it
            Round(work.fresh_model(1), work.settings, 6, folder).run(batches, quiet, stop)
    ends = [(tmp_path / name / CHECKPOINT).read_bytes() for name in ("unbroken", "broken")]
    assert ends[0] == ends[1]


def test_batches_are_seeded_and_labelled_by_the_frames_they_show(work: stages.Work) -> None:
    split = work.split("train")
    targets = Targets(stages.make_targets(work, 1, quiet), split)
    one, two = (Batches(work.settings, split, targets, work.acoustics(), 1) for _ in range(2))
    for name in ("waves", "targets", "mask"):
        assert torch.equal(getattr(one[7], name), getattr(two[7], name))
        assert not torch.equal(getattr(one[7], name), getattr(one[8], name))
    whole = targets(2, 0, num_frames(split.utterances[2].samples))
    np.testing.assert_array_equal(targets(2, 5, 20), whole[5:25])
    assert len(np.unique(whole)) > 3


def test_frames_of_a_teacher_are_where_it_says_the_same() -> None:
    def uttered(starts: list[int], labels: list[int], frames: int) -> Utterance:
        at = tuple(start * HOP_SAMPLES for start in starts)
        samples = frames * HOP_SAMPLES + FRAME_SAMPLES - HOP_SAMPLES
        return Utterance("gmw/en-US", "", 0, samples, at, tuple(labels))

    teacher = uttered([0, 4, 10], [7, 8, 9], 12)
    np.testing.assert_array_equal(frames_of(teacher, teacher), np.arange(12))
    slow = uttered([2, 10, 22], [7, 8, 9], 26)  # silence, then everything half as fast
    found = frames_of(teacher, slow)
    assert found[:2].max() == 0
    assert np.all(np.abs(found[2:] - np.arange(24) / 2) <= 1)
    other = uttered([0, 4, 10], [7, 5, 9], 12)  # a phone between its neighbours
    np.testing.assert_array_equal(frames_of(teacher, other), np.arange(12))
    assert frames_of(teacher, uttered([0], [1], 5)).size == 5  # nothing in common


def test_the_teacher_says_what_the_voices_say(work: stages.Work) -> None:
    train, teacher = work.split("train"), work.split(stages.TEACHER)
    numbers = {utterance.text: number for number, utterance in enumerate(teacher.utterances)}
    assert len(numbers) == len(train) == len(teacher)
    assert not any("+" in utterance.voice for utterance in teacher.utterances)
    same: dict[str, list[float]] = {"flite": [], "gmw/e": []}
    for spoken, utterance in enumerate(train.utterances):
        number = numbers[utterance.text]
        heard = teacher.phones(number)[frames_of(teacher.utterances[number], utterance)]
        same[utterance.voice[:5]].append(float(np.mean(heard == train.phones(spoken))))
    assert np.mean(same["gmw/e"]) > 0.9  # frames whose phone is that of the teacher's
    assert np.mean(same["flite"]) > 0.7  # other phones, and other words' accents


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.0, 1.13, 1.3])
def test_labels_stay_with_the_speech_that_was_resampled(factor: float) -> None:
    clean, event = np.zeros(32_000, np.float32), 20 * HOP_SAMPLES + FRAME_SAMPLES // 2
    clean[event] = 1.0  # in the middle of frame 20
    heard = soxr.resample(clean, SAMPLING_RATE / factor, SAMPLING_RATE)
    peak = int(np.argmax(np.abs(heard)))
    frame = round((peak - FRAME_SAMPLES / 2) / HOP_SAMPLES)  # whose middle is nearest to it now
    before = nearest_frames(middles(num_frames(len(heard))) / factor, num_frames(len(clean)))
    assert abs(before[frame] - 20) <= 1
    assert before[0] == 0
    assert before[-1] >= num_frames(len(clean)) - 2
    assert set(np.diff(before)) <= {0, 1, 2}


@pytest.mark.parametrize("samples", [400, 401, 719, 720, 1000, 16_007])
def test_matrix_convolutions_are_those_of_transformers(smoke: Settings, samples: int) -> None:
    torch.manual_seed(0)
    extractor = build_encoder(smoke.encoder).feature_extractor
    waves = torch.randn(2, samples)
    theirs = extractor(waves).transpose(1, 2)
    ours = extract(extractor.conv_layers, waves)
    assert ours.shape == (2, num_frames(samples), 16)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    weights = list(extractor.parameters())
    for mine, reference in zip(
        torch.autograd.grad(ours.square().sum(), weights, retain_graph=True),
        torch.autograd.grad(theirs.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference, rtol=1e-3, atol=1e-2)


def test_features_are_the_hidden_states_without_the_final_norm(smoke: Settings) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(smoke.encoder)
    samples = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * np.float32(0.1)
    found = LayerFeatures(encoder, 1)(samples)
    with torch.no_grad():
        states = encoder(torch.from_numpy(normalise(samples))[None], output_hidden_states=True)
    np.testing.assert_array_equal(found, states.hidden_states[1][0].numpy())
    each = LayerFeatures(encoder, 2).each(samples)
    np.testing.assert_array_equal(each[0], found)
    np.testing.assert_array_equal(each[1], LayerFeatures(encoder, 2)(samples))
    assert not np.allclose(each[1], states.last_hidden_state[0].numpy())  # that has the norm
    assert len(encoder.encoder.layers) == 2  # the encoder is whole again


def test_learning_rate_rises_and_falls(recipe: Settings) -> None:
    rates = [learning_rate(step, 100, recipe.optimiser) for step in range(101)]
    assert rates[0] < recipe.optimiser.learning_rate == max(rates)
    assert rates.index(max(rates)) in (7, 8)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert rates[8:] == sorted(rates[8:], reverse=True)


def test_settings_refuse_what_they_do_not_know(tmp_path: Path) -> None:
    text = (RECIPE / "encoder.toml").read_text("utf-8")
    path = tmp_path / "settings.toml"
    path.write_text(text.replace("pitch =", "picth ="), "utf-8")
    with pytest.raises(ConfigError, match="picth"):
        read_settings(path)
    path.write_text(text.replace("clusters = 100", "clusters = 0"), "utf-8")
    with pytest.raises(ConfigError, match="clusters"):
        read_settings(path)


def test_the_script_and_the_stages_know_the_same_rounds(recipe: Settings) -> None:
    script = RECIPE / "encoder.sh"
    rounds = script.read_text("utf-8").count("--round")
    assert rounds == len(recipe.rounds)
    refused = subprocess.run(["bash", script, "--what", "x"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--what" in refused.stderr


def test_the_demo_is_small_and_says_what_it_says(tmp_path: Path) -> None:
    path = finish.write_demo(tmp_path)
    samples, rate = soundfile.read(path)
    assert rate == 16_000
    assert 3 < len(samples) / rate < 6
    assert path.stat().st_size < 100_000
    assert json.loads((tmp_path / "demo.json").read_text("utf-8"))["text"] == finish.DEMO.text
    first = path.read_bytes()
    assert finish.write_demo(tmp_path).read_bytes() == first
