"""The paper's recipe: its script parses, and what it names is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from spire_dsu.corpora import open_corpus

RECIPE = Path(__file__).resolve().parents[2] / "training" / "recipes" / "spire"
SCRIPT = (RECIPE / "run.sh").read_text("utf-8")
CORPORA = re.findall(r"^[\w/-]+ +(\S+:\$corpora\S+)$", SCRIPT, re.MULTILINE)


def test_the_script_parses() -> None:
    subprocess.run(["bash", "-n", str(RECIPE / "run.sh")], check=True)


def test_all_of_table_1_is_converted() -> None:
    assert len(CORPORA) == 13


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_corpus_has_its_reader_and_options(corpus: str) -> None:
    root, _ = open_corpus("corpus:" + corpus.replace("$corpora", "corpora"))
    assert root.startswith("corpora/")


def test_every_configuration_is_there() -> None:
    named = set(re.findall(r"\$recipe/([\w./]+\.toml)", SCRIPT))
    variants = re.findall(r"for variant in ((?:\w+ ?)+)", SCRIPT)
    named |= {f"it_{name}.toml" for names in variants for name in names.split()}
    assert len(named) >= 9
    assert [name for name in named if not (RECIPE / name).is_file()] == []
