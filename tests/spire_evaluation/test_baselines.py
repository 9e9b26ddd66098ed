"""The baselines' real classes on tiny random checkpoints: what is asked, of whom, how often."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import evaluation_layouts as layouts
import pytest
import tiny_baselines as tiny
from tiny_audio import write_audio

from spire_dsu.config import validate
from spire_dsu.errors import SpireError
from spire_evaluation.config import BaselineConfig, CascadeConfig, TestConfig
from spire_evaluation.items import Item, TestSet
from spire_evaluation.speech import UnitTable, wave
from spire_evaluation.systems import System, make_systems
from spire_evaluation.systems.qwen2_audio import prompt
from spire_evaluation.tasks import read_tests


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> dict[str, TestSet]:
    root = tmp_path_factory.mktemp("sets")
    layouts.librispeech(root / "LibriSpeech")
    write_audio(root / "LibriSpeech/test-clean/121/121726/121-121726-0001.flac", 31.0)
    configs = [
        {"kind": "librispeech", "folder": str(root / "LibriSpeech"), "parts": ["test-clean"]},
        {"kind": "fleurs-st", "folder": str(layouts.fleurs(root / "f")), "parts": ["en-de"]},
        {"kind": "flores", "folder": str(layouts.flores(root / "t")), "parts": ["en-de", "de-en"]},
    ]
    found = [t for c in configs for t in read_tests(validate(c, TestConfig, "test"))]
    return {test.key: test for test in found}


def system(kind: str, model: Path, out: Path, **more: Any) -> System:
    values = {"name": kind, "kind": kind, "model": str(model), "dtype": "float32",
              "max_new_tokens": 8, "batch_size": 2, **more}  # fmt: skip
    (made,) = make_systems([validate(values, BaselineConfig, "test")], out)
    return made


def answer(made: System, tests: list[TestSet]) -> dict[str, list[str]]:
    made.check(tests)
    found = made.answer(tests, UnitTable(), lambda name, done, of: None)
    return {each.key: [p.text for p in each.predictions] for each in found}


def test_whisper(tests: dict[str, TestSet], tmp_path: Path) -> None:
    model = tiny.tiny_whisper(tmp_path / "whisper")
    asr = tests["librispeech/test-clean"]
    made = system("whisper", model, tmp_path / "out")
    assert made.chosen(list(tests.values())) == [asr]
    (texts,) = answer(made, [asr]).values()
    assert len(texts) == 4
    assert texts[3] == ""  # its recording is absent
    assert all(texts[:3])
    from transformers import AutoProcessor, WhisperForConditionalGeneration

    # The short ones again, by transformers' own call on each alone.
    whisper = WhisperForConditionalGeneration.from_pretrained(model)
    processor = AutoProcessor.from_pretrained(model)
    for place in (0, 2):
        features = processor(wave(asr.items[place]), sampling_rate=16_000, return_tensors="pt")
        alone = whisper.generate(
            features.input_features, language="en", task="transcribe", max_new_tokens=8
        )
        assert texts[place] == processor.batch_decode(alone, skip_special_tokens=True)[0].strip()


def test_a_baseline_goes_on_where_it_was_stopped(tests: dict[str, TestSet], tmp_path: Path) -> None:
    model = tiny.tiny_ctc(tmp_path / "ctc", tmp_path)
    asr = tests["librispeech/test-clean"]

    class StopError(Exception):
        pass

    def stop(name: str, done: int, of: int) -> None:
        raise StopError

    made = system("ctc", model, tmp_path / "out")
    with pytest.raises(StopError):
        made.answer([asr], UnitTable(), stop)
    partial = tmp_path / "out/ctc/.librispeech.test-clean.jsonl.partial"
    assert len(partial.read_text().splitlines()) == 1 + 2
    counts: list[int] = []
    made.answer([asr], UnitTable(), lambda name, done, of: counts.append(done))
    assert counts == [4]
    whole = system("ctc", model, tmp_path / "whole")
    whole.answer([asr], UnitTable(), lambda name, done, of: None)
    name = "ctc/librispeech.test-clean.jsonl"
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    other = system("ctc", model, tmp_path / "out", max_new_tokens=9)
    with pytest.raises(SpireError, match="other settings"):
        other.answer([asr], UnitTable(), lambda name, done, of: None)


def test_hubert_ctc_takes_the_best_letter_of_each_frame(
    tests: dict[str, TestSet], tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCTC, AutoProcessor

    model = tiny.tiny_ctc(tmp_path / "ctc", tmp_path)
    asr = tests["librispeech/test-clean"]
    (texts,) = answer(system("ctc", model, tmp_path / "out"), [asr]).values()
    processor, hubert = AutoProcessor.from_pretrained(model), AutoModelForCTC.from_pretrained(model)
    inputs = processor(wave(asr.items[2]), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        best = hubert.eval()(inputs.input_values).logits[0].argmax(-1).tolist()
    merged = [k for at, k in enumerate(best) if at == 0 or best[at - 1] != k]
    letters = json.loads((model / "vocab.json").read_text())
    names = {k: letter for letter, k in letters.items()}
    spelled = "".join(names[k] for k in merged if k != 0).replace("|", " ")
    assert texts[2] == spelled.strip()


def test_qwen2_audio(tests: dict[str, TestSet], tmp_path: Path) -> None:
    model = tiny.tiny_qwen2_audio(tmp_path / "qwen")
    st, asr = tests["fleurs-st/en-de"], tests["librispeech/test-clean"]
    texts = answer(system("qwen2-audio", model, tmp_path / "out"), [st])[st.key]
    assert len(texts) == 3
    assert texts[0] == texts[1]  # the same sound, in one batch, and in the next
    assert prompt(asr) == (
        "<|audio_bos|><|AUDIO|><|audio_eos|>Detect the language and recognize the speech: <|en|>"
    )
    assert prompt(st).endswith("translate the speech into German: <|en|>")
    chinese = TestSet("x", "st", "en", "zh", (Item("1", ""),))
    assert prompt(chinese).endswith("translate the speech into Mandarin: <|en|>")


def test_seamless_does_asr_st_mt_and_cascades(tests: dict[str, TestSet], tmp_path: Path) -> None:
    model = tiny.tiny_seamless(tmp_path / "seamless", tmp_path)
    made = system("seamless", model, tmp_path / "out")
    keys = list(tests)
    assert [t.key for t in made.chosen(list(tests.values()))] == keys
    texts = answer(made, list(tests.values()))
    assert {key: len(found) for key, found in texts.items()} == {
        "librispeech/test-clean": 4, "fleurs-st/en-de": 3, "flores/en-de": 3, "flores/de-en": 3,
    }  # fmt: skip
    configs = [
        made.config,
        validate(
            {"name": "cascade", "kind": "cascade", "asr": "seamless", "mt": "seamless"},
            CascadeConfig,
            "test",
        ),
    ]
    _, cascade = make_systems(configs, tmp_path / "out2")  # type: ignore[arg-type]
    found = cascade.answer([tests["fleurs-st/en-de"]], UnitTable(), lambda name, done, of: None)
    assert {(each.label, len(each.predictions)) for each in found} == {
        ("", 3), ("gold", 3), ("transcripts", 3)}  # fmt: skip


def test_what_a_baseline_lacks_is_told(tests: dict[str, TestSet], tmp_path: Path) -> None:
    model = tiny.tiny_ctc(tmp_path / "ctc", tmp_path)
    german = TestSet("fleurs/de", "asr", "de", "de", tests["librispeech/test-clean"].items)
    with pytest.raises(SpireError, match="no language 'de', which fleurs/de asks for"):
        system("ctc", model, tmp_path / "out").check([german])
    with pytest.raises(SpireError, match=r"no config\.json"):
        system("ctc", tmp_path, tmp_path / "out")
