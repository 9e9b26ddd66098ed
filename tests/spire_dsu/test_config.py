"""Configuration: what is accepted, what is refused and how, and what a fingerprint sees."""

from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from spire_dsu.config import (
    ChunkingConfig,
    Config,
    ModelConfig,
    fingerprint,
    load_json,
    load_toml,
    write_resolved,
)
from spire_dsu.errors import ConfigError

MODEL = """
name = "m"
encoder = "encoder"
codebook = "codebook.safetensors"
layer = 22
normalize_eps = 1e-5
"""


class Colour(enum.Enum):
    RED = "red"


class Inner(Config):
    depth: int = 1


class Example(Config):
    path: Path
    colour: Colour = Colour.RED
    sizes: tuple[int, ...] = ()
    share: float = 0.5
    inner: Inner = Inner()


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_toml_gives_typed_values(tmp_path: Path) -> None:
    text = 'path = "a/b"\ncolour = "red"\nsizes = [1, 2]\nshare = 1\n[inner]\ndepth = 3\n'
    assert load_toml(toml(tmp_path, text), Example) == Example(
        path=Path("a/b"), colour=Colour.RED, sizes=(1, 2), share=1.0, inner=Inner(depth=3)
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('path = "p"\nshara = 0.5', ["unknown key 'shara'", "0.5", "did you mean 'share'"]),
        ('path = "p"\n[inner]\ndeph = 7', ["unknown key 'inner.deph'", "7", "'depth'"]),
        ('path = "p"\nzzz = 1', ["unknown key 'zzz'", "value 1"]),
        ("share = 0.5", ["key 'path' is missing"]),
        ('path = "p"\nshare = "0.5"', ["key 'share'", "'0.5'"]),
        ('path = "p"\nshare = nan', ["key 'share'", "finite", "nan"]),
        ('path = "p"\nshare = inf', ["key 'share'", "finite", "inf"]),
        ('path = "p"\nshare = true', ["key 'share'", "True"]),
        ('path = "p"\nsizes = [1, 2.5]', ["key 'sizes.1'", "2.5"]),
        ('path = "p"\nsizes = ["1"]', ["key 'sizes.0'", "'1'"]),
        ('path = "p"\ncolour = "blue"', ["key 'colour'", "'blue'"]),
        ("path = 3", ["key 'path'", "3"]),
        ('path = "p"\n[inner]\ndepth = 1.5', ["key 'inner.depth'", "1.5"]),
        ('path = "p"\ninner = 4', ["key 'inner'", "4"]),
        ('path = "p"\nshare = "' + "x" * 500 + '"', ["key 'share'", "xxx..."]),
        ("path = ", ["not TOML"]),
        ('path = "p"\npath = "q"', ["not TOML"]),
        ("a = " + "[" * 5000, ["not TOML"]),
    ],
)
def test_an_error_names_file_key_and_value(tmp_path: Path, text: str, words: list[str]) -> None:
    path = toml(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_toml(path, Example)
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 600


def test_every_wrong_key_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_toml(toml(tmp_path, 'share = "a"\nother = 1\n'), Example)
    for key in ("'path'", "'share'", "'other'"):
        assert key in str(caught.value)


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_toml(tmp_path / "absent.toml", Example)
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_toml(tmp_path, Example)
    (tmp_path / "latin.toml").write_bytes(b'path = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_toml(tmp_path / "latin.toml", Example)
    (tmp_path / "large.toml").write_bytes(b"#" * (5 << 20))
    with pytest.raises(ConfigError, match="5242880 bytes is too large"):
        load_toml(tmp_path / "large.toml", Example)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ConfigError, match="not JSON"):
        load_json(tmp_path / "broken.json", Example)


def test_a_configuration_is_frozen() -> None:
    config = Example(path=Path("p"))
    with pytest.raises(ValidationError, match="frozen"):
        config.share = 0.1  # type: ignore[misc]


def test_a_fingerprint_sees_every_value_and_no_formatting(tmp_path: Path) -> None:
    one = load_toml(toml(tmp_path, 'path = "p"\nshare = 0.5 # the default\n'), Example)
    two = load_toml(toml(tmp_path, 'sizes = []\npath    = "p"\n'), Example)
    assert fingerprint(one) == fingerprint(two)
    changes: list[dict[str, Any]] = [
        {"path": Path("q")}, {"sizes": (1,)}, {"sizes": (1, 1)}, {"share": 0.5000000000000001},
        {"inner": Inner(depth=2)},
    ]  # fmt: skip
    prints = {fingerprint(one.model_copy(update=change)) for change in changes}
    assert len(prints | {fingerprint(one)}) == 6
    assert all(len(p) == 64 and int(p, 16) for p in prints)


def test_a_fingerprint_is_the_same_for_ever() -> None:
    # Outputs of one version are compared with those of the next. printf '{"depth":2}' | sha256sum
    assert fingerprint(Inner(depth=2)) == (
        "43cba8a4fbdeabfe6c6bc825be52deeb95b884491ac0afd2c250a6e600467b0b"
    )


@given(
    share=st.floats(allow_nan=False, allow_infinity=False),
    sizes=st.lists(st.integers(-(2**70), 2**70), max_size=4),
    name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
)
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, share: float, sizes: list[int], name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.json"
    config = Example(path=Path("a", name.replace("\0", "")), share=share, sizes=tuple(sizes))
    write_resolved(config, path)
    first = path.read_bytes()
    again = load_json(path, Example)
    assert again == config
    assert fingerprint(again) == fingerprint(config)
    write_resolved(again, path)
    assert path.read_bytes() == first


def test_a_model_configuration_from_toml(tmp_path: Path) -> None:
    config = load_toml(toml(tmp_path, MODEL), ModelConfig)
    assert (config.format, config.version, config.sampling_rate) == ("spire-dsu-model", 1, 16_000)
    assert (config.layer, config.normalize_eps) == (22, 1e-5)
    assert config.chunking == ChunkingConfig()
    text = MODEL.replace("1e-5", '"none"') + "[provenance]\nhours = 1.5\nnested = {a = 1}\n"
    config = load_toml(toml(tmp_path, text), ModelConfig)
    assert config.normalize_eps is None
    assert config.provenance == {"hours": 1.5, "nested": {"a": 1}}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("layer = 0", "0"),
        ("sampling_rate = 8000", "8000"),
        ("version = 2", "version"),
        ('format = "other"', "other"),
        ("normalize_eps = 0.0", "normalize_eps"),
        ('name = ""', "name"),
        ("[chunking]\nwindow_seconds = 5.0", "overlap_seconds 10.0"),
        ("[chunking]\nwindow_seconds = -1.0", "-1.0"),
        ('[chunking]\npolicy = "cut"', "cut"),
    ],
)
def test_a_model_configuration_refuses(tmp_path: Path, change: str, word: str) -> None:
    key = change.split(" ")[0]
    lines = [line for line in MODEL.splitlines() if not line.startswith(key)]
    with pytest.raises(ConfigError) as caught:
        load_toml(toml(tmp_path, "\n".join([*lines, change])), ModelConfig)
    assert word in str(caught.value)


def test_normalisation_is_never_left_to_a_default(tmp_path: Path) -> None:
    data = {"name": "m", "encoder": "e", "codebook": "c", "layer": 1}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="'normalize_eps' is missing"):
        load_json(path, ModelConfig)
    path.write_text(json.dumps({**data, "normalize_eps": None}))
    assert load_json(path, ModelConfig).normalize_eps is None
