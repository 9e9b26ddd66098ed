"""Reading what others wrote: lines, tables, joins on the disk, and JSON larger than the memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spire_dsu.errors import ManifestError
from spire_dsu.textio import clean, json_array, printable, read_lines, read_pairs, read_table
from spire_dsu.textio.json_array import iterate_array
from spire_dsu.textio.lookup import Lookup
from spire_dsu.textio.rows import seconds_of


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=20))
def test_any_text_becomes_text_that_utf8_can_hold(text: str) -> None:
    for made in (clean(text), printable(text)):
        assert made.encode().decode() == made
        if max(text, default="") < "\ud800" or min(text, default="") > "\udfff":
            assert made == text


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=20))
def test_any_bytes_of_a_path_become_text(raw: bytes) -> None:
    assert printable(raw) == printable(os.fsdecode(raw)) == raw.decode(errors="backslashreplace")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1.5", 1.5), ("0", 0.0), ("-2", -2.0), ("1e3", 1000.0)],
)
def test_seconds(text: str, expected: float) -> None:
    assert seconds_of(text) == expected


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-inf", "1_0", " 1", "1e999", "0x10"])
def test_seconds_that_are_none(text: str) -> None:
    assert seconds_of(text) != seconds_of(text)  # NaN


# --- lines and tables ---


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_line_ends_at_a_line_feed_and_nowhere_else(tmp_path: Path) -> None:
    content = "\ufeffa\r\n\n  \nb\u2028\x85\x0cc\rd\nlast".encode()
    path = write(tmp_path / "t", content)
    expected = [(1, "a"), (4, "b\u2028\x85\x0cc\rd"), (5, "last")]
    assert list(read_lines(path)) == expected
    kept = list(read_lines(path, keep_blank=True))
    assert kept == [*expected[:1], (2, ""), (3, "  "), *expected[1:]]


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"ok\n\xff\n")
    assert [line for _, line in read_lines(path, errors="surrogateescape")] == ["ok", "\udcff"]
    with pytest.raises(ManifestError, match=r"t:2: not UTF-8"):
        list(read_lines(path))


def test_a_table_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b'b|a\n"1|x\n2|"y"\n')
    rows = [(2, {"b": '"1', "a": "x"}), (3, {"b": "2", "a": '"y"'})]
    assert list(read_table(path, ("a",), delimiter="|")) == rows
    path = write(tmp_path / "t", b"b|a\n1|x|y\n")
    assert list(read_table(path, ("a",), delimiter="|", open_end=True)) == [
        (2, {"b": "1", "a": "x|y"})
    ]
    with pytest.raises(ManifestError, match="t:2: 3 cells where the header has 2"):
        list(read_table(path, ("a",), delimiter="|"))
    with pytest.raises(ManifestError, match="t: empty"):
        list(read_table(write(tmp_path / "t", b"\n"), ("a",)))


def test_pairs(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"k1 v  w \nk2\n\tk3\t x\n")
    assert list(read_pairs(path)) == [(1, "k1", "v  w"), (2, "k2", ""), (3, "k3", "x")]
    path = write(tmp_path / "t", b"k 1\tv\tw\n")
    assert list(read_pairs(path, separator="\t")) == [(1, "k 1", "v\tw")]


# --- joins ---


def test_a_lookup_holds_any_text() -> None:
    pairs = [(n, f"k{n}\udcff\ud800", f"v{n}\n\0") for n in range(3000)]
    with Lookup(iter(pairs), "t") as table:
        assert all(table.get(key) == value for _, key, value in pairs)
        assert table.get("k") is None


def test_a_lookup_names_both_lines_of_a_key() -> None:
    with pytest.raises(ManifestError, match="t: lines 3 and 9 are both 'k'"):
        Lookup(iter([(3, "k", "a"), (9, "k", "b")]), "t")


# --- JSON larger than the memory ---


def elements(path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    monkeypatch.setattr(json_array, "_CHUNK", chunk)
    return list(iterate_array(path, "audios"))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_is_read_across_all_borders_of_chunks(
    tmp_path: Path, chunk: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    audios = [
        {"n": n, "text": "gr\u00fc\u00df \U0001f600 ]}," * n, "inner": [{}]} for n in range(9)
    ]
    whole = {"version": 1.25e-05, "more": {"audios": [1]}, "audios": audios, "after": None}
    text = json.dumps(whole, indent=indent, ensure_ascii=False)
    path = write(tmp_path / "j", b"\xef\xbb\xbf" * (indent is None) + text.encode())
    assert elements(path, chunk, monkeypatch) == audios


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "'end of the file' where '{' should be"),
        (b"[1]", "'\\[' where '{'"),
        (b'{"audios": 5}', "'5' where '\\['"),
        (b'{"other": []}', "'}' where ','"),
        (b'{"audios": [1]}', "'1', not an object"),
        (b'{"audios": [{"a": 1}', "'end of the file' where ','"),
        (b'{"audios": [{"a": 1} {}]}', "'{' where ','"),
        (b'{"audios": [{"a": ', "Expecting value"),
        (b'{"audios": [{"a": "\xff"}]}', "not UTF-8"),
        (b'{"audios": [{"a": "\xc3', "not UTF-8"),
        (b'{"audios": [' + b"[" * 100_000, "too deeply nested"),
    ],
)
@pytest.mark.parametrize("chunk", [2, 1 << 20])
def test_what_is_no_such_array(
    tmp_path: Path, content: bytes, message: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "j", content)
    with pytest.raises(ManifestError, match=rf"j: character \d+: .*{message}"):
        elements(path, chunk, monkeypatch)


def test_an_element_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_array, "MAX_ELEMENT_BYTES", 1000)
    path = write(tmp_path / "j", b'{"audios": [{"a": "' + b"x" * 100_000)
    with pytest.raises(ManifestError, match="a value of over 1000 bytes"):
        elements(path, 100, monkeypatch)
