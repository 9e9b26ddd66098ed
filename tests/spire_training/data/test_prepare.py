"""From shards and texts to packed rows: what is in them, and what is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_makers import (
    UNITS,
    config_of,
    cpt_settings,
    it_settings,
    make_inputs,
    make_shards,
    make_tokenizer,
    write_lines,
)
from transformers import AutoTokenizer
from unit_rows import tree

from spire_dsu.errors import ConfigError, ManifestError, SpireError
from spire_dsu.llm import prompts
from spire_dsu.llm.rendering import Renderer
from spire_dsu.llm.vocabulary import VocabularyError
from spire_dsu.shards import ShardError, open_shards
from spire_training.data import isolation
from spire_training.data.packed import (
    ANSWER,
    KIND,
    KINDS,
    LEARNED,
    MONOLINGUAL,
    PADDING,
    PARALLEL,
    PROMPT,
    START,
    TRANSCRIPT,
    PackedRows,
    RowWriter,
)
from spire_training.data.packed import UNITS as UNIT_KIND
from spire_training.data.prepare import prepare
from spire_training.data.table import report, short, speech


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def cpt(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "cpt"
    prepare(config_of(cpt_settings(inputs, out)))
    return out


@pytest.fixture(scope="module")
def it(inputs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "it"
    prepare(config_of(it_settings(inputs, out)))
    return out


Doc = tuple[tuple[int, ...], tuple[int, ...]]


def documents(folder: Path, split: Any) -> list[Doc]:
    """(tokens, marks) of every document of a split."""
    rows = PackedRows(folder, split)
    found = []
    for number in range(len(rows)):
        tokens, marks = rows[number]
        ends = np.cumsum(isolation.lengths(marks))
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            if marks[start] & KIND != PADDING:
                found.append((tuple(tokens[start:end].tolist()), tuple(marks[start:end].tolist())))
    return found


def all_documents(folder: Path) -> list[Doc]:
    return documents(folder, "train") + documents(folder, "held")


def test_every_cpt_document_is_what_the_renderer_makes(cpt: Path, inputs: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs["tokenizer"])
    renderer = Renderer(tokenizer, layout="plain")
    expected: Counter[tuple[int, ...]] = Counter()
    for row in open_shards(inputs["shards"]):
        made = renderer.example(prompts.asr_cpt(row.text), row.units)
        expected[tuple(made.ids.tolist())] += 1
    pairs = [("en", "de", *line.split("\t")) for line in inputs["pairs"].read_text().splitlines()]
    import json

    for line in inputs["more_pairs"].read_text().splitlines():
        pairs.append(("en", "fr", json.loads(line)["en"], json.loads(line)["fr"]))
    for src, tgt, one, other in pairs:
        for turns in (prompts.mt_cpt(one, src, tgt, other), prompts.mt_cpt(other, tgt, src, one)):
            expected[tuple(renderer.example(turns).ids.tolist())] += 1
    for line in inputs["text"].read_text().splitlines():
        ids = [*tokenizer(line)["input_ids"], tokenizer.eos_token_id]
        for first in range(0, len(ids), 128):
            expected[tuple(ids[first : first + 128])] += 1
    assert Counter(tokens for tokens, _ in all_documents(cpt)) == expected


def test_marks_of_cpt_documents(cpt: Path) -> None:
    """All tokens but a document's first are learned; kinds follow from what the tokens are."""
    vocabulary = PackedRows(cpt).manifest["vocabulary"]
    units = range(vocabulary["first_unit_token"], vocabulary["first_unit_token"] + UNITS)
    seen = set()
    for tokens, marks in all_documents(cpt):
        assert marks[0] & START
        assert not marks[0] & LEARNED
        assert all(mark & LEARNED and not mark & START for mark in marks[1:])
        kinds = [mark & KIND for mark in marks]
        assert [kind == UNIT_KIND for kind in kinds] == [token in units for token in tokens]
        seen.add(frozenset(kinds))
        if UNIT_KIND in kinds:
            first, last = kinds.index(UNIT_KIND), len(kinds) - kinds[::-1].index(UNIT_KIND)
            answer = kinds.index(TRANSCRIPT)
            assert set(kinds[:first]) == {PROMPT}
            assert set(kinds[first:last]) == {UNIT_KIND}
            assert set(kinds[last:answer]) == {PROMPT}
            assert set(kinds[answer:]) == {TRANSCRIPT}
    assert seen == {
        frozenset({PROMPT, UNIT_KIND, TRANSCRIPT}),
        frozenset({PARALLEL}),
        frozenset({MONOLINGUAL}),
    }


def test_answers_alone_can_be_learned_in_cpt_too(inputs: dict[str, Path], tmp_path: Path) -> None:
    prepare(config_of(cpt_settings(inputs, tmp_path / "o", learn="answers")))
    for _, marks in all_documents(tmp_path / "o"):
        for mark in marks[1:]:
            if mark & KIND in (PROMPT, UNIT_KIND):
                assert not mark & LEARNED
            elif mark & KIND == TRANSCRIPT:
                assert mark & LEARNED


def test_only_answers_are_learned_in_it(it: Path, inputs: dict[str, Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(inputs["tokenizer"])
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    turns: Counter[int] = Counter()
    for tokens, marks in all_documents(it):
        learned = [bool(mark & LEARNED) for mark in marks]
        assert learned == [mark & KIND == ANSWER for mark in marks]
        answers = [t for t, mark in zip(tokens, learned, strict=True) if mark]
        assert answers[-1] == end
        turns[answers.count(end)] += 1
        assert tokens[1] == tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert turns[1] > 50
    assert turns[2] > 20  # transcribe, then translate; and instructions of two turns


@pytest.mark.parametrize("stage", ["cpt", "it"])
def test_an_evaluation_prompt_is_a_prefix_of_a_packed_document(
    stage: str, request: pytest.FixtureRequest, inputs: dict[str, Path]
) -> None:
    folder = request.getfixturevalue(stage)
    tokenizer = AutoTokenizer.from_pretrained(inputs["tokenizer"])
    renderer = Renderer(tokenizer, layout="plain" if stage == "cpt" else "chatml")
    make = prompts.asr_cpt if stage == "cpt" else prompts.asr
    found = [tokens for tokens, _ in all_documents(folder)]
    for row in open_shards(inputs["shards"]):
        prompt = tuple(renderer.prompt(make(None), row.units).tolist())
        assert any(tokens[: len(prompt)] == prompt for tokens in found)


def test_held_out_utterances_are_in_no_training_row(it: Path) -> None:
    """An utterance is transcribed, translated twice and translated in turns: all on one side."""
    vocabulary = PackedRows(it).manifest["vocabulary"]

    def utterances(split: Any) -> Counter[tuple[int, ...]]:
        made: Counter[tuple[int, ...]] = Counter()
        for tokens, marks in documents(it, split):
            spoken = [t for t, m in zip(tokens, marks, strict=True) if m & KIND == UNIT_KIND]
            if spoken:
                made[tuple(t - vocabulary["first_unit_token"] for t in spoken)] += 1
        return made

    train, held = utterances("train"), utterances("held")
    assert len(train) + len(held) == 60
    assert not train.keys() & held.keys()
    assert max(held.values()) == 3


def test_parts_share_no_utterance(it: Path) -> None:
    counts = PackedRows(it).manifest["sources"]
    direct, turns = (
        sum(s["train"].get("documents", 0) + s["held"].get("documents", 0) for s in streams)
        for streams in (counts[name]["streams"].values() for name in ("st", "turns"))
    )
    assert direct + turns == 60  # 30 translated utterances, two languages, once each


def test_counts_are_those_of_the_rows(cpt: Path) -> None:
    content = PackedRows(cpt).manifest
    for split in ("train", "held"):
        kinds: Counter[str] = Counter()
        rows = PackedRows(cpt, split)  # type: ignore[arg-type]
        for number in range(len(rows)):
            for kind, amount in enumerate(np.bincount(rows[number][1] & KIND).tolist()):
                kinds[KINDS[kind]] += amount
        padding = kinds.pop("padding", 0)
        assert {k: n for k, n in kinds.items() if n} == content["tokens"][split]
        about = content["packing"][split]
        assert about["tokens"] == sum(kinds.values())
        assert about["rows"] == len(rows)
        assert about["documents"] == len(documents(cpt, split))  # type: ignore[arg-type]
        assert about["fill_rate"] == pytest.approx(1 - padding / (len(rows) * 128), abs=1e-6)
        assert about["fill_rate"] > 0.7


def test_the_same_configuration_makes_the_same_bytes(
    cpt: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    """With two processes, another shuffle's buckets, and another order of the sources."""
    settings = cpt_settings(inputs, cpt)
    data = {name: digest for name, digest in tree(cpt).items() if name != "manifest.json"}
    again = tmp_path / "again"
    prepare(config_of({**settings, "out": str(again)}), workers=2)
    assert {k: v for k, v in tree(again).items() if k != "manifest.json"} == data
    other = tmp_path / "other"
    shuffled = list(reversed(settings["sources"]))
    prepare(config_of({**settings, "out": str(other), "buckets": 64, "sources": shuffled}))
    assert {k: v for k, v in tree(other).items() if k != "manifest.json"} == data


def test_the_seed_shuffles(cpt: Path, inputs: dict[str, Path], tmp_path: Path) -> None:
    prepare(config_of(cpt_settings(inputs, tmp_path / "o", seed=1)))
    assert Counter(all_documents(tmp_path / "o")) == Counter(all_documents(cpt))
    assert tree(tmp_path / "o")["train.bin"] != tree(cpt)["train.bin"]


def test_a_finished_folder_is_left_alone(cpt: Path, inputs: dict[str, Path]) -> None:
    before = tree(cpt)
    prepare(config_of(cpt_settings(inputs, cpt)))
    assert tree(cpt) == before
    with pytest.raises(ConfigError, match="another configuration"):
        prepare(config_of(cpt_settings(inputs, cpt, seed=5)))
    assert tree(cpt) == before


def test_a_finished_folder_that_was_damaged_is_refused(
    cpt: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "cpt"
    settings = cpt_settings(inputs, out)
    prepare(config_of(settings))
    data = bytearray((out / "held.bin").read_bytes())
    data[7] ^= 4
    (out / "held.bin").write_bytes(data)
    with pytest.raises(SpireError, match=r"held\.bin"):
        prepare(config_of(settings))


KILLED = """
import sys, time
from spire_training.data import prepare as module
from spire_training.data.packing import BestFit
from data_makers import config_of, cpt_settings
from pathlib import Path
inputs = {name: Path(path) for name, path in zip(sys.argv[2::2], sys.argv[3::2])}
add = BestFit.add
def slow(self, *document):
    print("packing", flush=True)
    time.sleep(0.05)
    return add(self, *document)
BestFit.add = slow
module.prepare(config_of(cpt_settings(inputs, Path(sys.argv[1]))))
"""


def test_a_killed_run_leaves_nothing_finished_and_starts_anew(
    cpt: Path, inputs: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "cpt"
    pairs = [str(part) for item in inputs.items() for part in item]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(out), *pairs],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"packing\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
    assert out.exists()
    assert not (out / "manifest.json").exists()
    with pytest.raises(SpireError, match="finished"):
        PackedRows(out)
    prepare(config_of(cpt_settings(inputs, out)))
    same = ("train.bin", "train.marks.bin", "held.bin", "held.marks.bin")
    assert [tree(out)[name] for name in same] == [tree(cpt)[name] for name in same]
    assert sorted(tree(out)) == sorted(tree(cpt))


def refused(settings: dict[str, Any], kind: type[SpireError], message: str) -> None:
    with pytest.raises(kind, match=message):
        prepare(config_of(settings))
    assert not Path(settings["out"]).exists()


def test_damaged_shards_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "shards"
    shutil.copytree(inputs["shards"], broken)
    name = broken / "units-00002.parquet"
    data = bytearray(name.read_bytes())
    data[len(data) // 2] ^= 1
    name.write_bytes(data)
    settings = cpt_settings({**inputs, "shards": broken}, tmp_path / "out")
    refused(settings, ShardError, "units-00002.parquet")
    (broken / "manifest.json").unlink()
    refused(settings, ShardError, "finished")


def test_another_codebook_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer", units=51)
    settings = cpt_settings({**inputs, "tokenizer": tokenizer}, tmp_path / "out")
    refused(settings, VocabularyError, "codebook of 50.*knows 51")


def test_a_tokenizer_without_units_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    tokenizer = make_tokenizer(tmp_path / "tokenizer", units=0)
    settings = cpt_settings({**inputs, "tokenizer": tokenizer}, tmp_path / "out")
    refused(settings, VocabularyError, "extend-vocab")


def test_shards_of_different_models_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    other = make_shards(tmp_path / "shards", 10, layer=3)
    settings = cpt_settings(inputs, tmp_path / "out")
    settings["sources"].append(
        {"kind": "speech", "name": "more", "group": "speech", "shards": str(other)}
    )
    refused(settings, ShardError, "different fingerprints .layer.")
    same = make_shards(tmp_path / "same", 10, manifest="other recordings")
    settings["sources"][-1]["shards"] = str(same)
    prepare(config_of(settings))


def test_texts_that_are_not_there_are_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = cpt_settings({**inputs, "text": tmp_path / "none*.txt"}, tmp_path / "out")
    refused(settings, ManifestError, r"none\*.txt")


def test_a_bad_row_is_named(inputs: dict[str, Path], tmp_path: Path) -> None:
    pairs = write_lines(tmp_path / "p.tsv", ["one\teins", "two"])
    with pytest.raises(ManifestError, match=r"p\.tsv:2: 1 columns"):
        prepare(config_of(cpt_settings({**inputs, "pairs": pairs}, tmp_path / "out")))
    assert list((tmp_path / "out").iterdir()) == []


def test_two_runs_do_not_write_one_folder(inputs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with RowWriter(out, "train", 128, 500):
        before = sorted(out.iterdir())
        with pytest.raises(OSError, match="another process"):
            prepare(config_of(cpt_settings(inputs, out)))
        assert sorted(out.iterdir()) == before


def test_budgets_are_kept(inputs: dict[str, Path], tmp_path: Path) -> None:
    groups = {"speech": {"ratio": 5.0}, "text": {"ratio": 1.0, "split": "even"}}
    settings = cpt_settings(inputs, tmp_path / "o", tokens=4800, groups=groups, held_out=0.0)
    content = prepare(config_of(settings))
    given = Counter[str]()
    streams = {}
    for source in content["sources"].values():
        for name, stream in source["streams"].items():
            given[source["group"]] += stream["train"].get("tokens", 0)
            streams[name] = stream
    assert 4000 - 200 < given["speech"] <= 4000
    assert 800 - 5 * 130 < given["text"] <= 800
    quotas = [stream["quota"] for name, stream in streams.items() if name != "asr"]
    assert quotas == [160] * 5
    assert all(s["train"]["tokens"] <= s["quota"] for s in streams.values())


def test_documents_are_repeated_and_limited(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = it_settings(inputs, tmp_path / "o", held_out=0.0)
    asr, st, _, blocks = settings["sources"]
    asr["repeat"], st["documents"], blocks["repeat"] = 2.0, 5, 0.5
    st["part"] = [0, 1]
    content = prepare(config_of(settings))
    streams = {n: s for about in content["sources"].values() for n, s in about["streams"].items()}
    assert streams["asr"]["train"]["documents"] == 120
    assert streams["st/de"]["train"]["documents"] == streams["st/fr"]["train"]["documents"] == 5
    assert 5 <= streams["blocks"]["train"]["documents"] <= 28  # of 32


def test_long_documents(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Speech and pairs that are longer than a row are dropped and counted, running text is cut."""
    content = prepare(
        config_of(cpt_settings(inputs, tmp_path / "o", sequence_length=64, held_out=0.0))
    )
    asr, mono = content["sources"]["asr"], content["sources"]["mono"]
    dropped = asr["counts"]["dropped: too long"]
    assert 0 < dropped < 60
    assert asr["streams"]["asr"]["train"]["documents"] == 60 - dropped
    assert mono["counts"]["split"] > 20
    assert "dropped: too long" not in mono["counts"]
    starts = [tokens for tokens, marks in documents(tmp_path / "o", "train")]
    assert max(map(len, starts)) == 64


def test_text_that_spells_a_unit_is_dropped(inputs: dict[str, Path], tmp_path: Path) -> None:
    text = write_lines(tmp_path / "t.txt", ["hello <extra_id_3> world", "hello world"])
    pairs = write_lines(tmp_path / "p.tsv", ["hello <extra_id_3>\tworld", "hello\tworld"])
    changed = {**inputs, "text": text, "pairs": pairs}
    content = prepare(config_of(cpt_settings(changed, tmp_path / "o")))
    assert content["sources"]["mono"]["counts"]["dropped: holds a unit's spelling"] == 1
    assert content["sources"]["ende"]["counts"]["dropped: holds a unit's spelling"] == 2


def test_instructions_whose_turns_are_wrong_are_counted(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    human, gpt = {"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}
    rows = [[human, gpt], [human], [gpt, human], [human, {"from": "gpt", "value": " "}], []]
    blocks = write_lines(tmp_path / "b.jsonl", [{"conversations": row} for row in rows])
    settings = it_settings({**inputs, "instructions": blocks}, tmp_path / "o")
    counts = prepare(config_of(settings))["sources"]["blocks"]["counts"]
    assert counts == {
        "read": 5,
        "taken": 1,
        "dropped: turns do not alternate": 3,
        "dropped: empty turn": 1,
    }


def test_selection_is_counted_and_tabled(inputs: dict[str, Path], tmp_path: Path) -> None:
    flores = write_lines(tmp_path / "flores.txt", [next(iter(open_shards(inputs["shards"]))).text])
    settings = cpt_settings(inputs, tmp_path / "o", held_out=0.0)
    settings["sources"][0] |= {
        "corpus": "MLS",
        "select": {
            "corpus": "mls",
            "max_per_speaker": 4,
            "min_seconds": 0.6,
            "without_texts": str(flores),
        },
    }
    content = prepare(config_of(settings))
    counts = content["sources"]["asr"]["counts"]
    dropped = {why: n for why, n in counts.items() if why.startswith("dropped")}
    assert set(dropped) >= {"dropped: max_per_speaker", "dropped: min_seconds"}
    assert dropped["dropped: without_texts"] >= 1
    assert counts["taken"] == 60 - sum(dropped.values()) <= 7 * 4
    stream = content["sources"]["asr"]["streams"]["asr"]["train"]
    hours = stream["milliseconds"] / 3.6e6
    assert speech(content) == [["MLS", "ASR", "CPT", short(stream["units"]), f"{hours:,.2f}"]]
    text = report(content)
    assert "| Dataset | Task | Phase | # DSUs | # Hours |" in text
    assert f"| asr | dropped: max_per_speaker | {dropped['dropped: max_per_speaker']} |" in text


@pytest.mark.parametrize(
    ("number", "text"), [(12, "12"), (4_400_000_000, "4.4B"), (645_120_000, "645M"), (1500, "1.5K")]
)
def test_short_numbers(number: int, text: str) -> None:
    assert short(number) == text


def test_the_command(inputs: dict[str, Path], tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from spire_training.cli import app

    settings = cpt_settings(inputs, tmp_path / "out")
    lines = [f"{k} = {_toml(v)}" for k, v in settings.items() if k not in ("groups", "sources")]
    lines += ["[groups.speech]", "[groups.text]", "split = 'even'"]
    for source in settings["sources"]:
        lines += ["[[sources]]", *(f"{k} = {_toml(v)}" for k, v in source.items())]
    path = write_lines(tmp_path / "c.toml", lines)
    result = CliRunner().invoke(app, ["prepare", str(path)])
    assert result.exit_code == 0, result.output
    assert "| asr | ASR | CPT |" in result.output
    PackedRows(tmp_path / "out").verify()


def _toml(value: Any) -> str:
    import json

    return json.dumps(value)
