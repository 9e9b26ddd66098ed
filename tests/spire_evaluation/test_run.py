"""`eval run` end to end on tiny test sets and a tiny model: predictions, scores, one report."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluation_layouts as layouts
import pytest
from convert_makers import make_model
from tiny_llm import tiny_llama
from typer.testing import CliRunner

from spire_dsu.config import validate
from spire_dsu.errors import SpireError
from spire_evaluation.cli import app
from spire_evaluation.config import RunConfig
from spire_evaluation.run import evaluate

UNITS = 60
GENERATION = {"engine": "transformers", "dtype": "float32", "max_new_tokens": 6}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Test sets, a model of units, a language model, and answers of another program."""
    root = tmp_path_factory.mktemp("world")
    layouts.librispeech(root / "LibriSpeech")
    layouts.fleurs(root / "fleurs")
    layouts.flores(root / "flores")
    layouts.tower(root / "tower")
    make_model(root / "units")
    tiny_llama(root / "llm", units=UNITS)
    rows = [("121-121726-0000", "a made up line"), ("121-121726-0001", "another lime"),
            ("237-134500-0000", "a third one"), ("237-134500-0001", "")]  # fmt: skip
    lines = [json.dumps({"id": name, "text": text}) + "\n" for name, text in reversed(rows)]
    (root / "other.jsonl").write_text("".join(lines))
    return root


def settings(root: Path, out: Path) -> dict[str, Any]:
    llm = {"kind": "llm", "model": str(root / "llm"), "generation": GENERATION}
    return {
        "out": str(out),
        "tests": [
            {"kind": "librispeech", "folder": str(root / "LibriSpeech"), "parts": ["test-clean"],
             "noise": [10.0], "speed": [1.25]},
            {"kind": "flores", "folder": str(root / "flores"), "parts": ["en-de", "de-en"]},
            {"kind": "fleurs-st", "folder": str(root / "fleurs"), "parts": ["en-de"]},
            {"kind": "ape", "folder": str(root / "tower"), "parts": ["en-de"]},
            {"kind": "ner", "folder": str(root / "tower"), "parts": ["en"]},
        ],
        "systems": [
            {"name": "spire", "published": "SPIREFULL", **llm},
            {"name": "spire cascade", "kind": "cascade", "asr": "spire", "mt": "spire",
             "published": "SPIREFULL/cascade"},
            {"name": "base", "layout": "plain", "shots": 2, "tests": ["flores/*"], **llm},
            {"name": "other", "kind": "imported", "published": "SALMONN",
             "files": {"librispeech/test-clean": str(root / "other.jsonl")}},
        ],
        "speech": {"model": str(root / "units"), "workers": 1},
        "metrics": {"asr": ["wer"], "mt": ["chrf"], "st": ["chrf"], "ape": ["chrf"],
                    "ner": ["ner"]},
        "resampling": {"draws": 100},
    }  # fmt: skip


def config(root: Path, out: Path, **changes: Any) -> RunConfig:
    return validate(settings(root, out) | changes, RunConfig, "test")


@pytest.fixture(scope="module")
def done(world: Path) -> Path:
    said: list[str] = []
    evaluate(config(world, world / "out"), say=said.append)
    assert any("units of 4 test sets" in line for line in said)
    return world / "out"


def compared(out: Path) -> dict[str, bytes]:
    """Everything that a reader takes from a run."""
    folders = ("predictions", "scores", "references")
    files = [path for name in folders for path in sorted((out / name).rglob("*.json*"))]
    files += [out / f"report.{end}" for end in ("json", "md", "html")]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def test_every_item_is_answered_by_every_system(done: Path) -> None:
    names = {str(p.relative_to(done / "predictions")) for p in done.rglob("predictions/*/*")}
    assert names == {
        *(f"spire/{key}.jsonl" for key in ("librispeech.test-clean", "flores.en-de",
           "flores.de-en", "fleurs-st.en-de", "ape.en-de", "ner.en",
           "librispeech.test-clean@noise10", "librispeech.test-clean@speed1.25")),
        *(f"spire cascade{label}/fleurs-st.en-de.jsonl" for label in ("", ".gold", ".transcripts")),
        "base/flores.en-de.jsonl", "base/flores.de-en.jsonl", "other/librispeech.test-clean.jsonl",
    }  # fmt: skip
    rows = (done / "predictions/spire/librispeech.test-clean.jsonl").read_text().splitlines()
    answers = [json.loads(row) for row in rows]
    references = (done / "references/librispeech.test-clean.jsonl").read_text().splitlines()
    assert [a["id"] for a in answers] == [json.loads(r)["id"] for r in references]
    assert [a["finish"] for a in answers][-1] == "no speech"
    assert all(a["prompt_tokens"] > 5 for a in answers[:-1])
    assert all(0 < a["answer_tokens"] <= 6 for a in answers[:-1])


@pytest.mark.parametrize(
    ("metric", "key"),
    [("wer", "librispeech/test-clean"), ("chrf", "flores/en-de"), ("ner", "ner/en")],
)
def test_one_file_of_a_run_can_be_scored_again(done: Path, metric: str, key: str) -> None:
    name = key.replace("/", ".") + ".jsonl"
    words = ["--refs", str(done / "references" / name), "--draws", "100"]
    words += ["--hyps", str(done / "predictions/spire" / name)]
    result = CliRunner().invoke(app, ["score", "--metric", metric, *words], catch_exceptions=False)
    report = json.loads((done / "report.json").read_text())["scores"][key]["systems"]
    assert json.loads(result.stdout)["score"] == report[metric]["spire"]["score"]


def test_the_report_has_the_papers_tables(done: Path) -> None:
    document = json.loads((done / "report.json").read_text())
    tables = {table["number"]: table for table in document["tables"]}
    assert set(tables) == {2, 9}  # those with LibriSpeech clean; chrF is in none of them
    rows = {row["name"]: row for row in tables[2]["rows"]}
    assert rows["SPIREFULL"]["system"] == "spire"
    assert rows["SPIREFULL"]["published"] == [4.2, 7.1, 10.7, 15.8]
    assert rows["SALMONN"]["ours"][0]["value"] == pytest.approx(100 * 4 / 12)
    assert rows["Whisper-base"]["system"] is None
    scores = document["scores"]
    assert set(scores["flores/en-de"]["systems"]["chrf"]) == {"spire", "base"}
    (pair,) = scores["librispeech/test-clean"]["pairs"]
    assert {pair["first"], pair["second"]} == {"spire", "other"}
    assert pair["p_holm"] >= pair["p_value"]
    (cascade,) = document["cascades"]
    assert cascade["lost_by_asr"] == cascade["gold_transcript"] - cascade["cascade"]
    curves = {row["change"]: row for row in document["curves"]}
    assert [point["at"] for point in curves["noise"]["points"]] == [None, 10.0]
    assert [point["at"] for point in curves["speed"]["points"]] == [1.0, 1.25]
    assert scores["librispeech/test-clean@noise10"]["pairs"] == []
    units = {row["test"]: row for row in document["units"]}
    faster = units["librispeech/test-clean@speed1.25"]["seconds"]
    assert faster == pytest.approx(units["librispeech/test-clean"]["seconds"] / 1.25, rel=0.06)
    assert units["librispeech/test-clean"]["without_units"] == {"missing": 1}
    assert units["fleurs-st/en-de"]["frames_per_unit"] > 1
    lengths = {(row["system"], row["test"]): row for row in document["lengths"]}
    assert lengths["spire", "librispeech/test-clean"]["no_speech"] == 1
    assert lengths["other", "librispeech/test-clean"]["cut"] is None


def test_systems_that_answer_apart_give_the_same_report(done: Path, world: Path) -> None:
    settled = config(world, world / "apart")
    where = evaluate(settled, only=["base"])
    assert where == world / "apart/predictions"
    assert [path.name for path in where.iterdir()] == ["base"]
    assert not (world / "apart/scores").exists()
    evaluate(settled, only=["spire cascade", "other"])
    said: list[str] = []
    evaluate(settled, say=said.append)
    asked = {name for line in said for name in re.findall(r"^(.+): \d+ of \d+$", line)}
    assert "spire" in asked
    assert not asked & {"base", "spire cascade"}, "nothing is asked anew"
    assert compared(world / "apart") == compared(done)


def test_a_system_that_answers_alone_needs_no_other_model(done: Path, world: Path) -> None:
    del done
    changed = settings(world, world / "alone")
    changed["systems"][0]["model"] = str(world / "not trained yet")
    evaluate(validate(changed, RunConfig, "test"), only=["base"])
    with pytest.raises(SpireError, match="not trained yet"):
        evaluate(validate(changed, RunConfig, "test"), only=["spire cascade"])
    with pytest.raises(SpireError, match="no system 'bass': there are 'spire'"):
        evaluate(validate(changed, RunConfig, "test"), only=["base", "bass"])


def test_the_renderings_hold_the_numbers(done: Path) -> None:
    text, page = (done / "report.md").read_text(), (done / "report.html").read_text()
    assert "| SALMONN, here other | 33.33 [" in text
    assert "] (2.4) | (5.3) |" in text
    assert "| Whisper-base | (5.0) | (11.9) |" in text  # as many digits as are printed
    assert "(27.1?)" in text
    speakers = text.split("## The hardest speakers")[1].split("\n## ")[0]
    assert "| test set | metric | speaker | spire | other |" in speakers
    assert re.search(r"\| librispeech/test-clean \| wer \| 237 \| [\d.]+ \| [\d.]+ \|", speakers)
    alone = json.loads((done / "report.json").read_text())["scores"]["librispeech/test-clean"]
    assert set(alone["systems"]["wer"]["other"]["speakers"]) == {"121", "237"}
    assert "?" not in text.split("## Table 2")[1].split("##")[0]
    assert "33.33" in page
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    result = CliRunner().invoke(app, ["report", str(done)])
    assert result.exit_code == 0
    assert (done / "report.md").read_text() == text


def test_two_runs_have_the_same_bytes(world: Path, done: Path) -> None:
    before = compared(done)
    evaluate(config(world, done))  # again in the same folder: nothing is asked anew
    assert compared(done) == before
    evaluate(config(world, world / "again"))
    assert compared(world / "again") == before


KILLED = """
import json, os, signal, sys
from pathlib import Path
from spire_dsu.config import validate
from spire_evaluation.config import RunConfig
from spire_evaluation.run import evaluate
def say(text):
    if sys.argv[2] in text:
        os.kill(os.getpid(), signal.SIGKILL)
evaluate(validate(json.loads(sys.argv[1]), RunConfig, "test"), say=say)
"""


def test_a_killed_run_goes_on_to_the_same_report(world: Path, done: Path) -> None:
    out = world / "killed"
    text = json.dumps(settings(world, out))
    for moment in ("scores of fleurs-st/en-de",):
        job = subprocess.run([sys.executable, "-c", KILLED, text, moment], check=False)
        assert job.returncode == -signal.SIGKILL
    assert not (out / "report.md").exists()
    evaluate(config(world, out))
    assert compared(out) == compared(done)


def refused(world: Path, tmp_path: Path, message: str, **changes: Any) -> None:
    with pytest.raises(SpireError, match=message):
        evaluate(config(world, tmp_path / "out", **changes))
    assert not (tmp_path / "out" / "answers").exists()


def test_bad_input_is_told_before_anything_is_generated(world: Path, tmp_path: Path) -> None:
    given = settings(world, tmp_path)
    spire, _, base, other = given["systems"]
    hypotheses = tmp_path / "short.jsonl"
    hypotheses.write_text('{"id": "121-121726-0000", "text": "x"}\n{"id": "no", "text": "x"}\n')
    short = other | {"files": {"librispeech/test-clean": str(hypotheses)}}
    refused(world, tmp_path, "4 references but 2 .* '237-134500-0000'", systems=[spire, short])
    hypotheses.write_text('{"id": "a", "text": "x"}\n{"id": "a", "text": "x"}\n')
    refused(world, tmp_path, "'a' was already on line 1", systems=[spire, short])
    gone = other | {"files": {"fleurs/en": str(hypotheses)}}
    refused(world, tmp_path, "'fleurs/en', which is no test set", systems=[gone])
    refused(world, tmp_path, "no test set fits 'wmt", systems=[spire | {"tests": ["wmt23/*"]}])
    tiny_llama(tmp_path / "text-only")
    without = spire | {"model": str(tmp_path / "text-only")}
    refused(world, tmp_path, "no unit tokens", systems=[without])
    many = base | {"shots": 5}
    refused(world, tmp_path, "3 worked examples, not 5", systems=[many])
    bad = given["tests"][1] | {"parts": ["en-xx"]}
    refused(world, tmp_path, "'xx'", tests=[bad])
    refused(
        world, tmp_path, "there twice: flores/de-en, flores/en-de", tests=[given["tests"][1]] * 2
    )


def test_a_vocabulary_must_hold_the_codebook(world: Path, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "few", units=UNITS - 1)
    spire = settings(world, tmp_path)["systems"][0] | {"model": str(tmp_path / "few")}
    with pytest.raises(SpireError, match=r"knows 59 units, .* a codebook of 60"):
        evaluate(config(world, tmp_path / "out", systems=[spire]))
    assert not list((tmp_path / "out").rglob("*answers.jsonl*"))


def test_configurations_that_contradict_themselves(world: Path, tmp_path: Path) -> None:
    spire, cascade, base, _ = settings(world, tmp_path)["systems"]
    for systems, message in (
        ([spire, spire], "of one name: spire"),
        ([cascade], "no system 'spire'"),
        ([base | {"layout": "chatml"}], "shots go with layout plain"),
    ):
        with pytest.raises(SpireError, match=message):
            config(world, tmp_path, systems=systems)


def test_the_command_reads_toml(world: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
out = "{tmp_path}/out"
metrics = {{ asr = ["wer"] }}
[[tests]]
kind = "librispeech"
folder = "{world}/LibriSpeech"
parts = ["test-clean"]
[[systems]]
name = "other"
kind = "imported"
files = {{ "librispeech/test-clean" = "{world}/other.jsonl" }}
"""
    )
    result = CliRunner().invoke(app, ["run", str(path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out/report.md").read_text().startswith("# Evaluation\n")


def test_the_harness_gets_a_configuration_of_each_language_model(done: Path, world: Path) -> None:
    found = {p.stem: json.loads(p.read_text()) for p in (done / "harness").iterdir()}
    assert set(found) == {"spire", "base"}
    assert found["spire"]["model_args"] == {"pretrained": str(world / "llm"), "dtype": "float32"}
    assert found["spire"]["apply_chat_template"] is True
    assert found["base"]["apply_chat_template"] is False
    assert set(found["base"]["tasks"]) == {"mmlu", "arc_challenge", "belebele", "hellaswag"}


def test_answer_transcribes_and_translates(world: Path, done: Path, tmp_path: Path) -> None:
    audio = world / "LibriSpeech/test-clean/121/121726/121-121726-0000.flac"
    arguments = ["answer", str(audio), str(tmp_path / "gone.wav"), "--model", str(world / "llm"),
                 "--units", str(world / "units"), "--engine", "transformers", "--dtype", "float32",
                 "--max-new-tokens", "6"]  # fmt: skip
    outputs = {}
    for task in ("asr", "st:de"):
        result = CliRunner().invoke(app, [*arguments, "--task", task])
        assert result.exit_code == 1, result.output  # one of the two files is not there
        rows = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
        assert [row["status"] for row in rows] == ["ok", "missing"]
        assert "gone.wav" in rows[1]["message"]
        outputs[task] = rows[0]["text"]
    # The very answer that `eval run` gave to the same recording, of the same prompt.
    lines = (done / "predictions/spire/librispeech.test-clean.jsonl").read_text().splitlines()
    assert outputs["asr"] == json.loads(lines[0])["text"]
    for task, message in (("tts", "unknown task 'tts'"), ("st:xx", "'xx'")):
        result = CliRunner().invoke(app, [*arguments, "--task", task])
        assert isinstance(result.exception, SpireError)
        assert message in str(result.exception)
