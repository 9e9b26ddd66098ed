"""`spire-dsu eval score` and `compare`: what they print, and what they say to bad input."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from pathlib import Path
from typing import Any

import pytest
from scored_texts import references, spoil
from typer.testing import CliRunner

from spire_dsu.errors import SpireError
from spire_evaluation.cli import MetricName, app
from spire_evaluation.metrics import Metric, MetricConfig, known_metric
from spire_evaluation.scoring import compare
from spire_evaluation.segments import read_joined
from spire_evaluation.significance import Resampling

TEXTS = references(40)
SYSTEMS = {
    "good": spoil(TEXTS, 0.05, 1),
    "bad": spoil(TEXTS, 0.3, 2),
    "same": spoil(TEXTS, 0.05, 1),
}


def lines(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """References with speakers, and a file per system, its lines in another order."""
    refs = [
        {"id": f"u{i}", "text": text, "speaker": i % 8, "lang": "en"}
        for i, text in enumerate(TEXTS)
    ]
    found = {"refs": lines(tmp_path / "refs.jsonl", refs)}
    for name, answers in SYSTEMS.items():
        rows: list[dict[str, object]] = [{"id": f"u{i}", "text": t} for i, t in enumerate(answers)]
        found[name] = lines(tmp_path / f"{name}.jsonl", rows[::-1])
    return found


def call(*words: str) -> str:
    return CliRunner().invoke(app, list(words), catch_exceptions=False).stdout


def failure(*words: str) -> str:
    with pytest.raises(SpireError) as caught:
        call(*words)
    return str(caught.value)


def scored(files: dict[str, str], metric: str, *more: str) -> dict[str, Any]:
    out = call("score", "--metric", metric, "--refs", files["refs"], "--hyps", files["good"], *more)
    assert out.count("\n") == 1
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("metric", ["wer", "cer", "bleu", "chrf", "ter"])
def test_one_object_is_printed_and_its_last_key_is_the_score(
    files: dict[str, str], metric: str
) -> None:
    found = scored(files, metric, "--draws", "100")
    assert list(found)[-1] == "score"
    assert found["interval"]["low"] <= found["score"] <= found["interval"]["high"]
    assert found["interval"]["units"] == found["segments"] == 40
    assert found["interval_by_speaker"]["units"] == 8
    assert found["unit"] == ("fraction" if metric in ("wer", "cer") else "points")
    assert found["signature"]
    assert found["versions"]
    assert found["resampling"] == {"seed": 12345, "draws": 100, "level": 0.95}
    assert scored(files, metric, "--draws", "100") == found


def test_counts_of_each_segment_are_written_on_request(
    files: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "each.jsonl"
    found = scored(files, "wer", "--draws", "50", "--per-segment", str(out))
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [f"u{i}" for i in range(40)]
    for name in ("substitutions", "deletions", "insertions", "reference_length"):
        assert sum(row[name] for row in rows) == found["sums"][name]
    errors = rows[0]["substitutions"] + rows[0]["deletions"] + rows[0]["insertions"]
    assert rows[0]["score"] == errors / rows[0]["reference_length"]
    references = [json.loads(line) for line in Path(files["refs"]).read_text().splitlines()]
    for speaker in {each["speaker"] for each in references}:
        own = [
            row for row, each in zip(rows, references, strict=True) if each["speaker"] == speaker
        ]
        wrong = sum(
            row[name] for row in own for name in ("substitutions", "deletions", "insertions")
        )
        assert found["speakers"][str(speaker)] == wrong / sum(
            row["reference_length"] for row in own
        )


def test_a_crowd_of_speakers_is_not_listed(files: dict[str, str], tmp_path: Path) -> None:
    rows = [{"id": f"u{i}", "text": "one two", "speaker": f"s{i}"} for i in range(101)]
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    for path, count in ((few, 100), (many, 101)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
        out = call("score", "--metric", "wer", "--refs", str(path), "--hyps", str(path))
        found = json.loads(out)
        assert ("speakers" in found) == (path == few)
        assert found["interval_by_speaker"]["units"] == count


def test_every_pair_is_compared_and_corrected_together(files: dict[str, str]) -> None:
    out = call(
        "compare", "--metric", "wer", "--metric", "bleu", "--refs", files["refs"], "--draws", "200",
        *(word for name in SYSTEMS for word in ("--hyps", f"{name}={files[name]}")),
    )  # fmt: skip
    found = json.loads(out)
    assert set(found["systems"]) == {"wer", "bleu"}
    assert found["systems"]["wer"]["good"] == scored(files, "wer", "--draws", "200")
    pairs = {(p["metric"], p["first"], p["second"]): p for p in found["pairs"]}
    assert len(pairs) == 2 * 3
    for metric, better in (("wer", -1), ("bleu", 1)):
        worse = pairs[metric, "good", "bad"]
        assert worse["difference"] * better < 0
        assert worse["probability_of_improvement"] < 0.01
        assert worse["p_value"] == pytest.approx(1 / 201)
        assert worse["p_holm"] == pytest.approx(6 / 201)
        assert worse["by_speaker"]["interval"]["units"] == 8
        assert worse["by_speaker"]["p_holm"] >= worse["by_speaker"]["p_value"]
        same = pairs[metric, "good", "same"]
        assert (same["difference"], same["ties"], same["p_value"], same["p_holm"]) == (0, 1, 1, 1)
    assert pairs["wer", "good", "bad"]["test"] == "bootstrap"
    assert pairs["bleu", "good", "bad"]["test"] == "sacrebleu-bootstrap"


def test_approximate_randomisation_is_there_for_every_metric(files: dict[str, str]) -> None:
    out = call(
        "compare", "--metric", "chrf", "--metric", "cer", "--test", "randomization",
        "--refs", files["refs"], "--draws", "100",
        "--hyps", f"a={files['good']}", "--hyps", f"b={files['bad']}",
    )  # fmt: skip
    pairs = json.loads(out)["pairs"]
    assert [p["test"] for p in pairs] == ["randomization"] * 2
    assert [p["p_value"] for p in pairs] == pytest.approx([1 / 101] * 2)


def test_ner_reads_tags_and_model_answers(tmp_path: Path) -> None:
    tags = {"tokens": ["Anna", "slept"], "tags": ["B-Person", "O"]}
    refs = lines(tmp_path / "r", [{"id": 0, **tags}, {"id": 1, **tags}])
    hyps = lines(
        tmp_path / "h",
        [{"id": 0, "text": '[("Anna", "B-Person"), ("slept", "O")]'}, {"id": 1, "text": "No."}],
    )
    found = json.loads(call("score", "--metric", "ner", "--refs", refs, "--hyps", hyps))
    assert found["score"] == pytest.approx(100 * 2 / 3)
    assert (found["unreadable"], found["wrong_length"]) == (1, 1)
    assert "empty_references" not in found  # their tags are read, not their texts


def test_bad_input_is_one_clear_sentence(files: dict[str, str], tmp_path: Path) -> None:
    short = lines(tmp_path / "short", [{"id": "u0", "text": "x"}])
    start = ("score", "--refs", files["refs"], "--metric")
    assert failure(*start, "wer", "--hyps", short).startswith(
        "short: 40 references but 1 hypotheses; no hypothesis for 'u1', 'u2'"
    )
    assert "draws" in failure(*start, "wer", "--hyps", files["good"], "--draws", "3")
    assert "flores_sha256" in failure(
        *start, "spbleu", "--hyps", files["good"], "--flores-sha256", "xyz"
    )
    assert "gone" in failure(*start, "wer", "--hyps", str(tmp_path / "gone"))
    assert "reference 'u0' has no source" in failure(*start, "comet", "--hyps", files["good"])
    mixed = lines(
        tmp_path / "mixed",
        [{"id": "a", "text": "x", "lang": "en"}, {"id": "b", "text": "y", "lang": "de"}],
    )
    said = failure("score", "--refs", mixed, "--hyps", mixed, "--metric", "wer")
    assert said == "references in several languages (de, en): name one (--lang)"


@pytest.mark.parametrize(
    ("hyps", "said"),
    [
        (["a={good}"], "two systems at least, not 1"),
        (["a={good}", "a={bad}"], "names system 'a' twice"),
        (["{good}", "b={bad}"], "is not NAME=FILE"),
    ],
)
def test_a_comparison_needs_named_systems(
    files: dict[str, str], hyps: list[str], said: str
) -> None:
    words = [word for each in hyps for word in ("--hyps", each.format(**files))]
    assert said in failure("compare", "--metric", "wer", "--refs", files["refs"], *words)
    assert "unknown metric 'wre': use one of wer," in failure(
        "compare", "--metric", "wre", "--refs", files["refs"], *words
    )


def test_systems_must_share_their_references(files: dict[str, str], tmp_path: Path) -> None:
    other = lines(tmp_path / "other", [{"id": f"u{i}", "text": "x"} for i in range(40)])
    systems = {
        "a": read_joined(files["refs"], files["good"]),
        "b": read_joined(other, files["good"]),
    }
    with pytest.raises(SpireError, match="system 'b' was joined to other references"):
        compare(["wer"], systems, MetricConfig(), Resampling(draws=50))


@pytest.mark.parametrize(
    ("metric", "package"), [("wer", "jiwer"), ("ter", "sacrebleu"), ("spbleu", "sentencepiece")]
)
def test_a_package_that_is_not_installed_is_named(
    files: dict[str, str], metric: str, package: str
) -> None:
    words = ["score", "--metric", metric, "--refs", files["refs"], "--hyps", files["good"]]
    code = (  # a new process: here, the package is imported already
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from spire_dsu.errors import SpireError\n"
        "from spire_evaluation.cli import app\n"
        "try: app(sys.argv[2:])\n"
        "except SpireError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, package, *words], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"{metric} needs {package}, which is not installed: pip install 'spire-dsu[eval]'\n"
    )


def test_the_command_knows_every_metric() -> None:
    assert typing.get_args(MetricName) == typing.get_args(Metric)
    assert [known_metric(name) for name in typing.get_args(Metric)]
