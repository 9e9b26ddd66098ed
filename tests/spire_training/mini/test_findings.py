"""Verdicts follow their rules, come from numbers that are there, and say what the paper printed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spire_dsu.errors import InputError
from spire_evaluation.metrics import MetricConfig
from spire_evaluation.scoring import compare
from spire_evaluation.segments import Segment, join
from spire_evaluation.significance import Resampling
from spire_evaluation.significance import holm as holm_of_evaluation
from spire_training.encoder.package import write_results
from spire_training.encoder.settings import read_settings
from spire_training.mini.findings.__main__ import RECIPE, write_findings
from spire_training.mini.findings.claims import ASR, CASCADE, CLAIMS, COVOST, FULL, MT, ST
from spire_training.mini.findings.learning import read_curves
from spire_training.mini.findings.measured import FIGURES, Report, figures, read_seconds
from spire_training.mini.findings.verdicts import Finding, gates, holm, judge

ROOT = Path(__file__).parents[3]
PRINTED = ROOT / "evaluation" / "spire_evaluation" / "paper" / "published.json"
LIKE_THE_PAPER = {
    "wer": {
        "spire-full": 0.06,
        "tower-full": 0.14,
        "spire-no-blocks": 0.061,
        "spire-no-pseudo": 0.058,
        "hubert-ctc": 0.09,
        "spire-base": 0.2,
    },
    "mt": {
        "spire-full": 71.0,
        "tower-instruct": 71.2,
        "spire-no-blocks": 55.0,
        "tower-full": 71.1,
        "spire-no-pseudo": 70.6,
    },
    "st": {"spire-full": 45.0, "spire-full cascade": 55.0, "spire-no-pseudo": 10.0},
}
Scores = dict[str, dict[str, float]]


def document(scores: Scores, half_width: float = 0.4, p_value: float = 0.0001) -> dict[str, Any]:
    """A report as `spire-dsu eval run` writes it: intervals of `half_width` points everywhere;
    `p_value` for differences beyond it.
    """
    tests = {
        **dict.fromkeys(ASR, ("asr", "wer")),
        **dict.fromkeys(MT, ("mt", "spbleu")),
        **dict.fromkeys((*ST, *COVOST), ("st", "spbleu")),
    }
    made: dict[str, Any] = {}
    for test, (task, metric) in tests.items():
        values = scores["wer" if task == "asr" else task]
        width = half_width / 100 if metric == "wer" else half_width
        made[test] = {
            "systems": {
                metric: {
                    name: {
                        "score": value,
                        "interval": {"low": value - width, "high": value + width},
                    }
                    for name, value in values.items()
                }
            },
            "pairs": [
                _pair(metric, (first, second), values[second] - values[first], width, p_value)
                for place, first in enumerate(values)
                for second in list(values)[place + 1 :]
            ],
        }
    systems = list(dict.fromkeys(name for values in scores.values() for name in values))
    return {
        "format": "spire-eval-report",
        "systems": systems,
        "tests": {test: {"task": task} for test, (task, _) in tests.items()},
        "scores": made,
    }


def _pair(
    metric: str, names: tuple[str, str], difference: float, width: float, p_value: float
) -> dict[str, Any]:
    return {
        "metric": metric,
        "first": names[0],
        "second": names[1],
        "difference": difference,
        "interval": {"low": difference - width, "high": difference + width},
        "p_value": p_value if abs(difference) > width else 0.8,
    }


def changed(part: str, **values: float) -> Scores:
    names = {name.replace("_", "-"): value for name, value in values.items()}
    names = {name.replace("full-cascade", "full cascade"): v for name, v in names.items()}
    return LIKE_THE_PAPER | {part: LIKE_THE_PAPER[part] | names}


def verdicts(made: dict[str, Any]) -> dict[str, str]:
    return {each.claim.id: each.verdict for each in judge(Report(made))}


def finding(made: dict[str, Any], name: str) -> Finding:
    return next(each for each in judge(Report(made)) if each.claim.id == name)


def test_what_is_as_in_the_paper_is_held() -> None:
    assert verdicts(document(LIKE_THE_PAPER)) == dict.fromkeys("abcdef", "held")


@pytest.mark.parametrize(
    ("name", "scores", "verdict"),
    [
        ("a", changed("wer", tower_full=0.05), "not held"),
        ("a", changed("wer", tower_full=0.062), "not decided"),
        ("b", changed("mt", tower_instruct=75.0), "not held"),
        ("b", changed("mt", tower_instruct=71.9), "held"),  # significant, and smaller than a point
        ("b", changed("mt", tower_instruct=60.0), "held"),  # better is no loss
        ("c", changed("mt", spire_no_blocks=71.1), "not decided"),
        ("c", changed("mt", spire_no_blocks=74.0), "not held"),
        ("c", changed("wer", spire_no_blocks=0.09), "not held"),
        ("d", changed("st", spire_no_pseudo=30.0), "not held"),
        ("d", changed("st", spire_no_pseudo=22.4), "not decided"),
        ("d", changed("wer", spire_no_pseudo=0.08), "not held"),
        ("e", changed("st", spire_full_cascade=40.0), "not held"),
        ("e", changed("st", spire_full_cascade=45.1), "not decided"),
        ("f", changed("wer", hubert_ctc=0.05), "not held"),
        ("f", changed("wer", hubert_ctc=0.061), "not decided"),
    ],
)
def test_each_finding_can_fail(name: str, scores: Scores, verdict: str) -> None:
    assert verdicts(document(scores))[name] == verdict


def test_wide_intervals_decide_nothing() -> None:
    found = verdicts(document(LIKE_THE_PAPER, half_width=40.0))
    assert found == dict.fromkeys("abcdef", "not decided")


def test_unchanged_needs_an_interval_that_rules_out_a_loss() -> None:
    for width, verdict in ((4.0, "held"), (5.5, "not decided")):  # points around a loss of 0.2
        made = document(LIKE_THE_PAPER, half_width=width)
        assert verdicts(made)["b"] == verdict


def test_finding_f_goes_by_the_majority() -> None:
    made = document(LIKE_THE_PAPER)
    worse = document(changed("wer", hubert_ctc=0.03))
    made["scores"]["voxpopuli/en"] = worse["scores"]["voxpopuli/en"]  # as in the paper
    assert verdicts(made)["f"] == "held"
    for test in ("fleurs/en", "librispeech/test-other"):
        made["scores"][test] = worse["scores"][test]
    assert verdicts(made)["f"] == "not held"


@pytest.mark.parametrize("missing", [*ASR, *MT, *ST, *COVOST])
def test_no_verdict_and_no_figure_comes_from_a_missing_number(missing: str) -> None:
    made = document(LIKE_THE_PAPER)
    del made["scores"][missing]
    report = Report(made)
    concerned = {c.id for c in CLAIMS if any(missing in check.tests for check in c.checks)}
    for each in judge(report):
        assert (each.verdict == "not measured") == (each.claim.id in concerned)
        assert any(missing in what for what in each.missing) == (each.claim.id in concerned)
    of_it = {name for name, (_, tests, _) in FIGURES.items() if missing in tests}
    assert of_it
    assert all(report.mean(*FIGURES[name]) is None for name in of_it)


def test_gates_are_met_at_their_limits_and_not_beyond() -> None:
    exactly = {"wer": {FULL: 0.10}, "mt": {FULL: 60.0}, "st": {FULL: 30.0}}
    assert [gate.met for gate in gates(Report(document(exactly)))] == [True, True, True]
    beyond = {"wer": {FULL: 0.101}, "mt": {FULL: 59.9}, "st": {FULL: 29.9}}
    assert [gate.met for gate in gates(Report(document(beyond)))] == [False, False, False]
    nothing = {"wer": {"spire-base": 0.1}, "mt": {}, "st": {FULL: 30.0}}
    assert [gate.met for gate in gates(Report(document(nothing)))] == [None, None, None]


def test_a_comparison_does_not_depend_on_the_order_of_the_pair() -> None:
    made = document(LIKE_THE_PAPER)
    report = Report(made)
    one = report.compare("wer", ASR[0], FULL, "tower-full")
    other = report.compare("wer", ASR[0], "tower-full", FULL)
    assert one is not None
    assert other is not None
    assert one.worse == pytest.approx(-8.0)  # points
    assert other.worse == pytest.approx(8.0)
    assert (one.low, one.high) == (-other.high, -other.low)
    better = report.compare("spbleu", ST[0], CASCADE, FULL)
    assert better is not None
    assert better.worse == pytest.approx(-10.0)


def test_speakers_count_where_they_are_known() -> None:
    made = document(LIKE_THE_PAPER)
    for test in ASR:
        for pair in made["scores"][test]["pairs"]:
            pair["by_speaker"] = {
                "difference": pair["difference"],
                "interval": {"low": pair["difference"] - 0.2, "high": pair["difference"] + 0.2},
                "p_value": 0.3,
            }
    found = finding(made, "a")
    assert found.verdict == "not decided"
    assert all(each.by.p_value == 0.3 for each in found.judged)
    assert found.judged[0].by.high == pytest.approx(12.0)


@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_is_that_of_the_evaluation(p_values: list[float]) -> None:
    assert holm(p_values) == holm_of_evaluation(p_values)


def test_what_the_evaluation_writes_can_be_read() -> None:
    references = [Segment(str(k), "the old dog sleeps", speaker=f"s{k % 3}") for k in range(9)]
    answers = {
        "spire-full": [Segment(str(k), "the old dog sleeps") for k in range(9)],
        "tower-full": [Segment(str(k), "the old fog sleeps") for k in range(9)],
    }
    systems = {name: join(references, rows, name) for name, rows in answers.items()}
    made = compare(["wer"], systems, MetricConfig(lang="en"), Resampling(draws=200))
    report = Report({"scores": {ASR[0]: made}, "tests": {}, "systems": list(systems)})
    score = report.score("wer", ASR[0], "tower-full")
    assert score is not None
    assert (score.value, score.low) == (0.25, 0.25)
    by = report.compare("wer", ASR[0], "spire-full", "tower-full")
    assert by is not None
    assert by.worse == pytest.approx(-25.0)


def test_printed_numbers_are_those_of_the_paper() -> None:
    tables = {table["number"]: table for table in json.loads(PRINTED.read_text())["tables"]}
    seen = 0
    for claim in CLAIMS:
        for cell in claim.paper:
            table = tables[cell.table]
            place = [column["name"] for column in table["columns"]].index(cell.column)
            rows = {row["id"]: row["values"] for row in table["rows"]}
            for name, value in cell.values.items():
                assert rows[name][place] == value
                seen += 1
    assert seen > 30


def work_folder(tmp_path: Path, made: dict[str, Any]) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "report.json").write_text(json.dumps(made))
    (tmp_path / "times.tsv").write_text("world\t30\ncpt\t60\nworld\t30\n")
    return tmp_path


def test_one_file_serves_both_recipes(tmp_path: Path) -> None:
    work = work_folder(tmp_path, document(LIKE_THE_PAPER))
    before = tmp_path / "before.json"
    old = json.loads(RECIPE.read_text())
    # A figure of an earlier run that this one has not measured must not stay.
    old["figures"]["mt_spbleu_wmt23_spire_full"] = 1.0
    before.write_text(json.dumps(old))
    write_findings(work, before)
    made = json.loads((work / "RESULTS.json").read_text())
    assert made["encoder"] == old["encoder"]
    assert made["figures"]["pnmi_gain_over_mfcc"] == old["figures"]["pnmi_gain_over_mfcc"]
    assert made["figures"]["asr_wer_spire_full"] == 0.06
    assert made["figures"]["st_cascade_spbleu_spire_full"] == 55.0
    assert made["figures"]["minutes"] == 2.0
    assert "mt_spbleu_wmt23_spire_full" not in made["figures"]
    assert all(isinstance(value, int | float) for value in made["figures"].values())
    assert made["tables"][MT[0]]["spbleu"][FULL] == {"score": 71.0, "low": 70.6, "high": 71.4}
    assert {each["id"]: each["verdict"] for each in made["findings"]} == dict.fromkeys(
        "abcdef", "held"
    )
    # And the other way: the encoder's recipe replaces its half alone.
    settings = read_settings(RECIPE.with_name("encoder.toml"))
    write_results(work / "RESULTS.json", settings, {"pnmi_mini": 0.9}, {1: 0.5})
    again = json.loads((work / "RESULTS.json").read_text())
    assert again["figures"] == made["figures"] | {"pnmi_mini": 0.9}
    assert again["encoder"]["dev_pnmi_by_layer"] == {"1": 0.5}
    assert {k: v for k, v in again.items() if k not in ("figures", "encoder")} == {
        k: v for k, v in made.items() if k not in ("figures", "encoder")
    }


def test_stages_side_by_side_are_not_added_up(tmp_path: Path) -> None:
    path = tmp_path / "times.tsv"
    path.write_text("world\t60\ntower\t600\nunits\t600\nclock\t660\n")
    report = Report(document(LIKE_THE_PAPER))
    assert figures(report, read_seconds(path))["minutes"] == 11.0
    path.write_text("world\t60\ntower\t600\n")
    assert figures(report, read_seconds(path))["minutes"] == 11.0
    assert "minutes" not in figures(report, read_seconds(tmp_path / "none.tsv"))


def test_the_page_opens_offline_and_shows_every_finding(tmp_path: Path) -> None:
    work = work_folder(tmp_path, document(changed("wer", tower_full=0.05)))
    log = work / "runs/spire-base/log.csv"
    log.parent.mkdir(parents=True)
    columns = "step,loss_transcript,held_transcript,held_parallel"
    lines = [
        f"{n},{4 / n},{'' if n % 60 else 0.5},{1.25 if n == 120 else ''}" for n in range(1, 121)
    ]
    log.write_text("\n".join([columns, *lines]))
    write_findings(work)
    page = (work / "results" / "findings.html").read_text()
    text = (work / "results" / "findings.md").read_text()
    assert "<script" not in page
    assert "http" not in page
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(charts) == len(CLAIMS) + 3  # and one for each metric, and the losses
    for chart in charts:
        places = [float(x) for x in re.findall(r' (?:x|x1|x2|cx)="([^"]*)"', chart)]
        assert all(0 <= x <= 760 for x in places)
        ElementTree.fromstring(chart)
    for claim in CLAIMS:
        assert claim.says in text
    assert "Here: not held." in text
    assert "6.0 [5.6, 6.4]" in text
    assert "spire-full 6.0, tower-full 5.0" in text
    assert "6.0 % (10.0 % asked)" in text
    assert "45.0 (35.5 asked)" in text
    assert "| sentence pairs, held out | 1.25 | 1.25 | 1.25 |" in text
    means = [sum(4 / n for n in part) / len(part) for part in (range(1, 51), range(101, 121))]
    assert f"| transcripts, training | {means[0]:.3g} | {means[1]:.3g} | {means[1]:.3g} |" in text
    assert "transcripts, held out: 0.5</text>" in page


def test_what_is_wrong_is_said_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "spire_training.mini.findings", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("report.json: no such file")
    (tmp_path / "times.tsv").write_text("world\t3\ncpt 4\n")
    with pytest.raises(InputError, match=r"line 2: 'cpt 4' is not"):
        read_seconds(tmp_path / "times.tsv")
    log = tmp_path / "log.csv"
    assert read_curves(log) == {}
    log.write_text("step,held_transcript\n1,0.5\n2,half\n")
    with pytest.raises(InputError, match=r"log.csv: held_transcript of update 2 is 'half', not"):
        read_curves(log)
