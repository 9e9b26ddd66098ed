"""One array inside of a JSON file that is larger than the memory, element by element."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from spire_dsu.errors import ManifestError
from spire_dsu.textio.lines import Note, Path, ignore, open_binary, printable

MAX_ELEMENT_BYTES = 256 << 20
"""The largest element; one long recording of GigaSpeech with all its segments takes under 10 MB."""

_CHUNK = 1 << 20
_WHITE = " \t\r\n"


def iterate_array(path: Path, key: str, note: Note = ignore) -> Iterator[dict[str, Any]]:
    """The objects of the array under `key` of the file's outermost object, in order.

    What stands before the array is read and dropped; what follows it is not looked at.

    Raises:
        ManifestError: names the file and the character where it is no such JSON.
    """
    stream = _Stream(path, note)
    try:
        stream.skip("\ufeff")
        stream.expect("{")
        while True:
            name = stream.value()
            stream.expect(":")
            if name == key:
                break
            stream.value()
            stream.expect(",")
        stream.expect("[")
        if stream.peek() == "]":
            return
        while True:
            element = stream.value()
            if not isinstance(element, dict):
                raise stream.error(f"{key!r} holds {str(element)[:40]!r}, not an object")
            yield element
            if stream.peek() == "]":
                return
            stream.expect(",")
    finally:
        stream.close()


class _Stream:
    """Characters of the file from a position on; what was read is dropped."""

    def __init__(self, path: Path, note: Note) -> None:
        self._name = printable(path)
        self._file = open_binary(path, note)
        self._buffer = ""
        self._at = 0
        self._before = 0
        self._rest = b""
        self._ended = False
        self._decoder = json.JSONDecoder()

    def close(self) -> None:
        self._file.close()

    def error(self, what: str) -> ManifestError:
        return ManifestError(f"{self._name}: character {self._before + self._at}: {what}")

    def peek(self) -> str:
        """The next character that is not white space, "" at the end of the file."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _WHITE:
                self._at += 1
            if self._at < len(self._buffer) or not self._grow():
                return self._buffer[self._at : self._at + 1]

    def expect(self, character: str) -> None:
        found = self.peek()
        if found != character:
            raise self.error(f"{found or 'end of the file'!r} where {character!r} should be")
        self._at += 1

    def skip(self, character: str) -> None:
        if self.peek() == character:
            self._at += 1

    def value(self) -> Any:
        """The next JSON value: more of the file is read until the value is whole."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except RecursionError as error:
                raise self.error("too deeply nested") from error
            except ValueError as error:
                if len(self._buffer) - self._at > MAX_ELEMENT_BYTES:
                    raise self.error(f"a value of over {MAX_ELEMENT_BYTES} bytes") from error
                if not self._grow():
                    raise self.error(str(error)) from error
                continue
            # A number at the end of the buffer may go on behind it: "1", "1.", "1.5e-".
            if end + 2 >= len(self._buffer) and isinstance(value, (int, float)) and self._grow():
                continue
            self._at = end
            return value

    def _grow(self) -> bool:
        """Doubles what is held (so that a long value is not parsed once per chunk); False at the
        end.
        """
        if self._ended:
            return False
        try:
            raw = self._file.read(max(_CHUNK, len(self._buffer) - self._at))
        except (OSError, EOFError) as error:
            raise self.error(f"cannot be read on: {error}") from error
        self._ended = not raw
        raw = self._rest + raw
        try:
            text = raw.decode("utf-8")
            self._rest = b""
        except UnicodeDecodeError as error:
            if self._ended or error.reason != "unexpected end of data":
                raise self.error(f"not UTF-8: {error.reason}") from error
            text, self._rest = raw[: error.start].decode("utf-8"), raw[error.start :]
        self._before += self._at
        self._buffer, self._at = self._buffer[self._at :] + text, 0
        return not self._ended
