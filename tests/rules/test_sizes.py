"""Files stay small enough to read, and the tree speaks of itself alone."""

from __future__ import annotations

import re
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = {".py", ".cpp", ".h", ".cu", ".cuh"}


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    return [
        ROOT / name for name in listing.decode().split("\0") if name and (ROOT / name).is_file()
    ]


def test_no_source_file_is_over_500_lines_and_the_median_is_under_200() -> None:
    lines = {p: len(p.read_text().splitlines()) for p in tracked() if p.suffix in SOURCE}
    assert lines
    too_long = {str(p.relative_to(ROOT)): n for p, n in lines.items() if n > 500}
    assert not too_long
    assert statistics.median(lines.values()) < 200


def test_no_tracked_file_is_heavy() -> None:
    heavy = {
        str(p.relative_to(ROOT)): p.stat().st_size
        for p in tracked()
        if p.stat().st_size > 6_500_000
    }
    assert not heavy


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    pattern = re.compile(r"(?<![\w.])/(work|farm|root|home/\w+)/")
    for path in tracked():
        if path.suffix in SOURCE | {".md", ".toml", ".sh", ".txt", ".json"} and path != Path(
            __file__
        ):
            found = pattern.search(path.read_text(errors="replace"))
            assert not found, f"{path.relative_to(ROOT)}: {found.group()}" if found else ""
