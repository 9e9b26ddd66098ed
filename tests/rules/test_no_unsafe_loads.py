"""Nothing in the project can be made to run code by a file it reads: no unpickler, eval or shell.

No file is exempt. `import_pickle` reads pickles with an interpreter of its own, and imports none.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("python", "training", "evaluation", "benchmarks")

MODULES = {
    "pickle", "_pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal",
    "jsonpickle", "pandas.io.pickle",
}  # fmt: skip
NAMES = {
    "torch.load", "torch.hub.load", "torch.jit.load", "torch.serialization.load",
    "numpy.lib.npyio.NpzFile", "pandas.read_pickle", "pandas.read_hdf",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load",
    "yaml.unsafe_load_all", "yaml.Loader", "yaml.FullLoader", "yaml.UnsafeLoader",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__",
}  # fmt: skip
# Keywords that must be false, whatever is called: a value that is not a constant counts as true.
SWITCHES = {"allow_pickle", "shell", "trust_remote_code"}


class Scanner(ast.NodeVisitor):
    """Collects what one module uses that could run foreign code."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.aliases: dict[str, str] = {}

    def report(self, node: ast.AST, what: str) -> None:
        self.found.append(f"line {getattr(node, 'lineno', 0)}: {what}")

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self.imported(node, alias.name)
            root = alias.name.split(".")[0]
            self.aliases[alias.asname or root] = alias.name if alias.asname else root

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level:
            return
        for alias in node.names:
            name = f"{node.module}.{alias.name}"
            self.imported(node, str(node.module))
            self.imported(node, name)
            self.aliases[alias.asname or alias.name] = name
            if name in NAMES or alias.name == "*":
                self.report(node, name)

    def imported(self, node: ast.AST, name: str) -> None:
        if any(name == module or name.startswith(f"{module}.") for module in MODULES):
            self.report(node, f"import of {name}")

    def dotted(self, node: ast.AST) -> str:
        """The full name of an expression like `np.lib.x`, aliases undone; empty for others."""
        if isinstance(node, ast.Name):
            return self.aliases.get(node.id, f"builtins.{node.id}")
        if isinstance(node, ast.Attribute):
            before = self.dotted(node.value)
            return f"{before}.{node.attr}" if before else ""
        return ""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if self.dotted(node) in NAMES:  # also where it is only handed on
            self.report(node, self.dotted(node))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if self.dotted(node) in NAMES and isinstance(node.ctx, ast.Load):
            self.report(node, self.dotted(node))

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            self.switch(node, keyword.arg, keyword.value)
            if keyword.arg == "weights_only" and not is_constant(keyword.value, True):
                self.report(node, "weights_only is not True")
        if self.dotted(node.func).endswith("import_module") and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant):
                self.imported(node, str(name.value))
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant):
                self.switch(node, key.value, value)
        self.generic_visit(node)

    def switch(self, node: ast.AST, name: object, value: ast.expr) -> None:
        if name in SWITCHES and not is_constant(value, False):
            self.report(node, f"{name} is not False")


def is_constant(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def scan(source: str) -> list[str]:
    scanner = Scanner()
    scanner.visit(ast.parse(source))
    return scanner.found


def files() -> list[Path]:
    return sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_file_loads_nothing_that_can_run_code(path: Path) -> None:
    assert scan(path.read_text(encoding="utf-8")) == []


def test_the_files_of_the_project_are_among_those_scanned() -> None:
    names = {
        str(p.relative_to(ROOT / "python" / "spire_dsu")) for p in files() if "spire_dsu" in p.parts
    }
    assert {"errors.py", "codebook.py", "import_pickle/machine.py", "cli/small.py"} <= names


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "import _pickle",
        "import joblib.numpy_pickle",
        "from joblib import load",
        "from pickle import loads as harmless",
        "import dill, os",
        "import cloudpickle",
        "import shelve",
        "import marshal",
        "def f():\n    import pickle",
        "import importlib\nimportlib.import_module('pickle')",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=True)",
        "import torch as t\nt.load('x')",
        "from torch import load\nload('x')",
        "from torch import load as read",
        "import torch\nread = torch.load",
        "import torch\nmap(torch.load, [])",
        "import torch\ntorch.hub.load('a', 'b')",
        "import torch.serialization\ntorch.serialization.load('x')",
        "import x\nx.load('x', weights_only=False)",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import numpy as np\nnp.load('x', allow_pickle=flag)",
        "from numpy import load\nload('x', allow_pickle=1)",
        "import numpy as np\nnp.lib.format.read_array(f, allow_pickle=True)",
        "import yaml\nyaml.load('x')",
        "import yaml\nyaml.load('x', Loader=yaml.SafeLoader)",
        "import yaml\nyaml.unsafe_load('x')",
        "from yaml import unsafe_load",
        "from yaml import *",
        "import yaml\nyaml.full_load('x')",
        "eval('1')",
        "exec('x = 1')",
        "f = eval",
        "import builtins\nbuiltins.eval('1')",
        "__import__('os')",
        "compile('1', '', 'eval')",
        "import os\nos.system('ls')",
        "from os import system",
        "import os as o\no.popen('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess\nsubprocess.run('ls', shell=flag)",
        "import subprocess\nsubprocess.getoutput('ls')",
        "x.from_pretrained('a', trust_remote_code=True)",
        "options = {'trust_remote_code': True}",
        "import pandas as pd\npd.read_pickle('x')",
    ],
)  # fmt: skip
def test_the_scanner_sees(source: str) -> None:
    assert scan(source)


@pytest.mark.parametrize(
    "source",
    [
        "import numpy as np\nnp.load('x')\nnp.load('x', allow_pickle=False)",
        "import json\njson.load(f)\njson.loads('1')",
        "import yaml\nyaml.safe_load('x')",
        "import subprocess\nsubprocess.run(['ls'], shell=False)\nsubprocess.run(['ls'])",
        "import re\nre.compile('x')",
        "import torch\nmodel.load_state_dict(x)\nmodel.eval()\ntorch.save(x, 'y')",
        "from safetensors.torch import load_file\nload_file('x')",
        "x.from_pretrained('a', trust_remote_code=False)",
        "import os\nos.path.join('a', 'b')",
        "text = 'import pickle; eval(1)'  # pickle.load",
        "from spire_dsu.import_pickle import import_codebook",
    ],
)
def test_the_scanner_lets_pass(source: str) -> None:
    assert scan(source) == []
