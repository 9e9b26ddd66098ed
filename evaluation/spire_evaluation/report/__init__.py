"""The report: one document, written as JSON, Markdown and a page.

document    what there is to report, as plain data
tables      the paper's tables with our numbers beside the printed ones
audits      lengths, cascades, units
sections    the document as titled tables, the same ones for both renderings
markdown, page, charts   the renderings
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spire_dsu.errors import InputError
from spire_dsu.files import write_atomically
from spire_evaluation.config import RunConfig
from spire_evaluation.items import TestSet
from spire_evaluation.report.document import FORMAT, build
from spire_evaluation.report.markdown import as_markdown
from spire_evaluation.report.page import as_page
from spire_evaluation.report.sections import sections
from spire_evaluation.results import Results
from spire_evaluation.speech import UnitTable

Json = dict[str, Any]


def write_report(
    config: RunConfig,
    tests: Sequence[TestSet],
    results: Results,
    units: UnitTable,
    provenance: Json,
) -> Path:
    """Writes OUT/report.json, .md and .html; returns the Markdown.

    The same results give the same bytes: nothing in them tells when or where they were made.
    """
    document = build(config, tests, results, units, provenance)
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(config.out / "report.json", text.encode() + b"\n")
    return render(config.out)


def render(out: Path) -> Path:
    """Writes report.md and report.html anew from report.json.

    Raises:
        InputError: there is no report.json, or it is none of ours.
    """
    path = out / "report.json"
    if not path.is_file():
        raise InputError(f"{path}: no such report; `spire-dsu eval run` writes it")
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path}: not a report of `spire-dsu eval run`")
    parts = sections(document)
    write_atomically(out / "report.html", as_page(parts).encode())
    return write_atomically(out / "report.md", as_markdown(parts).encode())
