"""Judges the miniature by the report of its evaluation.

    python -m spire_training.mini.findings WORK [RESULTS.json]

Reads WORK/results/report.json, WORK/runs/spire-base/log.csv, WORK/times.tsv (stage, tab, seconds)
and RESULTS.json (the recipe's, unless another is named), whose figures of the encoder it keeps.
Writes WORK/results/findings.md, WORK/results/findings.html and WORK/RESULTS.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from spire_dsu.errors import SpireError
from spire_dsu.files import write_atomically
from spire_training.mini.findings.learning import read_curves
from spire_training.mini.findings.measured import read_json, read_report, read_seconds
from spire_training.mini.findings.page import as_markdown, as_page, sections
from spire_training.mini.findings.results import results
from spire_training.mini.findings.verdicts import Finding, gates, judge

RECIPE = Path(__file__).parents[3] / "recipes" / "mini" / "RESULTS.json"


def write_findings(work: Path, before: Path | None = None) -> list[Finding]:
    """Writes the three files and returns the findings.

    Args:
        work: the folder of `training/recipes/mini/run.sh`.
        before: the RESULTS.json whose encoder's half is kept.

    Raises:
        InputError: a file that is missing or not what it should be.
    """
    report, seconds = (
        read_report(work / "results" / "report.json"),
        read_seconds(work / "times.tsv"),
    )
    findings, reached = judge(report), gates(report)
    kept = read_json(before) if before else {}
    made = results(report, findings, reached, seconds, kept)
    learned = read_curves(work / "runs" / "spire-base" / "log.csv")
    parts = sections(report, findings, reached, learned, seconds)
    write_atomically(work / "results" / "findings.md", as_markdown(parts).encode())
    write_atomically(work / "results" / "findings.html", as_page(parts).encode())
    write_atomically(work / "RESULTS.json", (json.dumps(made, indent=1) + "\n").encode())
    return findings


def main() -> None:
    """Entry point of `python -m spire_training.mini.findings`."""
    if len(sys.argv) not in (2, 3):
        sys.stderr.write("usage: python -m spire_training.mini.findings WORK [RESULTS.json]\n")
        sys.exit(2)
    default = RECIPE if RECIPE.is_file() else None  # an installed package has no recipe beside it
    before = Path(sys.argv[2]) if len(sys.argv) == 3 else default
    try:
        findings = write_findings(Path(sys.argv[1]), before)
    except SpireError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    for finding in findings:
        sys.stdout.write(f"{finding.claim.id}. {finding.verdict}: {finding.claim.says}\n")


if __name__ == "__main__":
    main()
