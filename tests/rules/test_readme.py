"""What the README says is what was measured, and what the tree really holds."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_speed_section_is_written_from_the_result_files() -> None:
    script = ROOT / "benchmarks" / "speed_section.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0, (
        "run: python benchmarks/speed_section.py"
    )


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "docs/architecture.md"):
        named = set(re.findall(r"`make ([a-z][a-z-]*)", (ROOT / name).read_text()))
        assert named <= targets, f"{name} names {sorted(named - targets)}"


def test_every_linked_file_exists() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
