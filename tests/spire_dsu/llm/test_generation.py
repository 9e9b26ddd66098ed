"""Generation: vLLM and transformers agree token by token; files resume; bad requests are named."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_llm import tiny_llama

from spire_dsu.llm.generation import (
    GenerationConfig,
    GenerationError,
    Request,
    generate,
    read_answers,
)
from spire_dsu.llm.generation.answers import as_prompt
from spire_dsu.llm.generation.checkpoint import Checkpoint
from spire_dsu.llm.generation.vllm_engine import VARIABLE, interpreter

UNITS = 20
PLAIN = GenerationConfig(engine="transformers", dtype="float32", max_new_tokens=24, batch_size=4)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose table has padding rows, as the released models' has."""
    folder = tiny_llama(tmp_path_factory.mktemp("llm") / "tiny", units=UNITS)
    import torch
    from transformers import AutoModelForCausalLM

    llama = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(1)
    llama.resize_token_embeddings(len(Checkpoint(folder).tokenizer) + 32, mean_resizing=False)
    with torch.no_grad():  # padding rows that would win often, were they not masked
        llama.lm_head.weight[-32:] *= 4
    llama.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def requests_(model: Path) -> list[Request]:
    rng = np.random.default_rng(0)
    known = Checkpoint(model).num_tokens
    sizes = rng.integers(3, 40, 16)
    return [
        Request(f"r{at}", rng.integers(3, known, size, dtype=np.int32))
        for at, size in enumerate(sizes)
    ]


@pytest.fixture(scope="module")
def plain(model: Path, requests_: list[Request], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "answers.jsonl"
    generate(model, requests_, out, PLAIN)
    return out


def test_an_answer_is_the_argmax_chain(model: Path, requests_: list[Request], plain: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    checkpoint, answers = Checkpoint(model), read_answers(plain)
    llama = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    unmasked = 0
    for request in requests_[:4]:
        answer = answers[request.id]
        ids = [*request.prompt.tolist(), *answer.tokens]
        with torch.inference_mode():
            logits = llama(torch.tensor([ids])).logits[0]
        for at, token in enumerate(answer.tokens, start=request.prompt.size - 1):
            assert token == int(logits[at, : checkpoint.num_tokens].argmax())
            unmasked += token != int(logits[at].argmax())
    assert unmasked > 0, "no padding row would have won: the mask is not tested"


def test_one_by_one_gives_what_batches_give(
    model: Path, requests_: list[Request], plain: Path, tmp_path: Path
) -> None:
    config = PLAIN.model_copy(update={"batch_invariant": True})
    generate(model, requests_[:5], tmp_path / "a.jsonl", config)
    batched = read_answers(plain)
    assert all(
        batched[name] == answer for name, answer in read_answers(tmp_path / "a.jsonl").items()
    )


def test_stop_texts_end_an_answer(
    model: Path, requests_: list[Request], plain: Path, tmp_path: Path
) -> None:
    whole = read_answers(plain)
    text = next(a.text for a in whole.values() if len(a.text) > 12)
    stop = text[6:8]
    generate(model, requests_, tmp_path / "a.jsonl", PLAIN.model_copy(update={"stop": [stop]}))
    cut = read_answers(tmp_path / "a.jsonl")
    for name, answer in cut.items():
        if stop in whole[name].text:
            assert answer.finish == "stop"
            assert answer.text == whole[name].text.split(stop)[0]
            assert answer.tokens == whole[name].tokens[: len(answer.tokens)]
        else:
            assert answer == whole[name]


def test_vllm_equals_transformers(
    model: Path,
    requests_: list[Request],
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real vLLM, started once: same tokens, texts and finishes, padding rows masked."""
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    config = GenerationConfig(
        engine="vllm", dtype="float32", max_new_tokens=24, eager=True, kv_cache_gib=1
    )
    seen: list[tuple[int, int]] = []
    generate(
        model,
        requests_,
        tmp_path / "vllm.jsonl",
        config,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert read_answers(tmp_path / "vllm.jsonl") == read_answers(plain)
    assert list(read_answers(tmp_path / "vllm.jsonl")) == [r.id for r in requests_]
    assert seen[-1] == (16, 16)


def test_a_vllm_that_fails_says_why(
    model: Path, requests_: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, sys.executable)  # an interpreter without vLLM
    with pytest.raises(GenerationError, match=r"16 of 16 prompts unanswered(.|\n)*vllm"):
        generate(model, requests_, tmp_path / "a.jsonl", GenerationConfig())
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(GenerationError, match="nowhere"):
        interpreter()


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from spire_dsu.llm.generation import GenerationConfig, Request, generate
prompts = np.load(sys.argv[3], allow_pickle=False)
requests = [Request(name, prompts[name]) for name in prompts.files]
def stop(done, of):
    if done >= 8:
        os.kill(os.getpid(), signal.SIGKILL)
config = GenerationConfig(engine="transformers", dtype="float32", max_new_tokens=24, batch_size=4)
generate(Path(sys.argv[1]), requests, Path(sys.argv[2]), config, progress=stop)
"""


def test_a_killed_run_ends_in_the_same_bytes(
    model: Path, requests_: list[Request], plain: Path, tmp_path: Path
) -> None:
    out, prompts = tmp_path / "a.jsonl", tmp_path / "prompts.npz"
    np.savez(prompts, **{request.id: request.prompt for request in requests_})
    job = subprocess.run([sys.executable, "-c", KILLED, model, out, prompts], check=False)
    assert job.returncode == -signal.SIGKILL
    assert not out.exists()
    partial = tmp_path / ".a.jsonl.partial"
    assert len(partial.read_bytes().splitlines()) == 1 + 8
    with partial.open("ab") as file:  # and a line that was never whole
        file.write(b'{"id":"r3","te')
    counts: list[int] = []
    generate(model, requests_, out, PLAIN, progress=lambda done, of: counts.append(done))
    assert counts == [12, 16]
    assert out.read_bytes() == plain.read_bytes()
    assert not partial.exists()


def test_a_finished_file_is_left_alone_and_a_new_prompt_answered(
    model: Path, requests_: list[Request], plain: Path
) -> None:
    before = plain.read_bytes()
    generate(model, requests_, plain, PLAIN, progress=lambda done, of: pytest.fail("generated"))
    assert plain.read_bytes() == before
    counts: list[int] = []
    other = [Request("r0", as_prompt([5, 6, 7])), *requests_[1:]]
    out = plain.with_name("changed.jsonl")
    out.write_bytes(before)
    generate(model, other, out, PLAIN, progress=lambda done, of: counts.append(done))
    assert counts == [16]


def test_answers_of_other_settings_are_not_mixed(
    model: Path, requests_: list[Request], plain: Path
) -> None:
    with pytest.raises(GenerationError, match="other settings"):
        generate(model, requests_, plain, PLAIN.model_copy(update={"max_new_tokens": 5}))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"a": [1, 2], "b": []}, "'b': the prompt is empty"),
        ({"a": [1, 2], "b": [5] * 500}, "'b': a prompt of 500 tokens and .* 24 .* the 512"),
        ({"a": [1, 9_999]}, "'a': token 9999 is none"),
    ],
)
def test_bad_requests_are_named(
    model: Path, tmp_path: Path, prompts: dict[str, list[int]], message: str
) -> None:
    requests = [Request(name, as_prompt(ids)) for name, ids in prompts.items()]
    with pytest.raises(GenerationError, match=message):
        generate(model, requests, tmp_path / "a.jsonl", PLAIN)
    assert list(tmp_path.iterdir()) == []


def test_repeated_ids_are_refused(model: Path, tmp_path: Path) -> None:
    twice = [Request("same", as_prompt([1, 2]))] * 2
    with pytest.raises(GenerationError, match="'same'"):
        generate(model, twice, tmp_path / "a.jsonl", PLAIN)


def test_folders_that_are_no_models_are_named(model: Path, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match=r"config\.json"):
        Checkpoint(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 9}))
    with pytest.raises(GenerationError, match="safetensors"):
        Checkpoint(tmp_path)
    (tmp_path / "model.safetensors").touch()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((model / name).read_bytes())
    with pytest.raises(GenerationError, match="another model"):
        _ = Checkpoint(tmp_path).rows
    (tmp_path / "x.jsonl").write_text("{}\n")
    with pytest.raises(GenerationError, match="not a file of answers"):
        read_answers(tmp_path / "x.jsonl")
