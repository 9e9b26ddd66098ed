"""Arrows run one way: the native layers know no Python, a stage never imports a later one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "spire_dsu"

# The order in which data flows; a module may import those before it, never one after it.
STAGES = [
    "errors",
    "types",
    "storage",
    "files",
    "config",
    "llm",
    "textio",
    "corpora",
    "manifest",
    "audio",
    "codebook",
    "hub",
    "presets",
    "hubert",
    "features",
    "_core",
    "_cuda",
    "cuda_units",
    "units",
    "kmeans",
    "purity",
    "discretizer",
    "demo",
    "locking",
    "shards",
    "journal",
    "verify",
    "convert",
    "fit",
    "export",
    "report",
    "plot",
    "cli",
]
# Beside the flow: the readable meaning of the kernels, and the only reader of pickles.
ASIDE = {"reference", "import_pickle", "models", "assets"}


def imports_of(path: Path) -> set[str]:
    """The spire_dsu modules that a file imports, also inside functions and for type checking."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("spire_dsu.")
            }
        elif (
            isinstance(node, ast.ImportFrom)
            and node.module
            and node.module.split(".")[0] == "spire_dsu"
        ):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found


def modules() -> list[tuple[str, Path]]:
    return [
        (p.relative_to(PACKAGE).parts[0].removesuffix(".py"), p)
        for p in sorted(PACKAGE.rglob("*.py"))
    ]


def test_every_module_has_a_place() -> None:
    names = {name for name, _ in modules()} - {"__init__"}
    assert names <= {*STAGES, *ASIDE}, (
        f"not placed in the flow: {sorted(names - {*STAGES, *ASIDE})}"
    )


@pytest.mark.parametrize(
    ("name", "path"), [m for m in modules() if m[0] in STAGES], ids=lambda v: str(v)[-40:]
)
def test_a_stage_imports_only_earlier_stages(name: str, path: Path) -> None:
    later = [
        other
        for other in imports_of(path)
        if other in STAGES and STAGES.index(other) > STAGES.index(name)
    ]
    assert not later, f"{path.name} imports later stages {later}"


def test_the_core_package_knows_neither_training_nor_evaluation() -> None:
    for package, forbidden in (
        ("python/spire_dsu", ("spire_training", "spire_evaluation")),
        ("evaluation/spire_evaluation", ("spire_training",)),
        ("training/spire_training", ("spire_evaluation",)),
    ):
        for path in (ROOT / package).rglob("*.py"):
            if path.parent.name == "cli":
                continue  # the command line hands over to the other two
            tree = ast.parse(path.read_text())
            roots = {
                name.split(".")[0]
                for node in ast.walk(tree)
                for name in (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
            }
            assert not roots & set(forbidden), f"{path} imports {roots & set(forbidden)}"


def test_native_code_above_the_bindings_knows_no_framework() -> None:
    forbidden = re.compile(r'#\s*include\s*[<"](torch|ATen|c10|Python\.h|pybind11|numpy)')
    files = [p for d in ("include", "cpu", "cuda") for p in (ROOT / "csrc" / d).rglob("*.*")]
    assert files
    for path in files:
        assert not forbidden.search(path.read_text()), f"{path} includes a framework header"


def test_one_operation_has_one_name_everywhere() -> None:
    csrc = ROOT / "csrc"
    for op in ("assign", "run_length", "quantize"):
        for place in (
            csrc / "include" / "spire_dsu" / f"{op}.h",
            csrc / "cpu" / f"{op}.cpp",
            csrc / "bindings" / f"{op}.cpp",
            ROOT / "tests" / "spire_dsu" / f"test_{op}.py",
        ):
            assert place.is_file(), f"{place.relative_to(ROOT)} is missing"
