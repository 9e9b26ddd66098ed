"""LZ4 frames in plain Python: joblib offers LZ4, and the standard library cannot read it.

Format: the LZ4 frame and block descriptions at https://github.com/lz4/lz4/tree/dev/doc. Checksums
are read over, not verified: what comes out is checked as a pickle and then as a codebook.
"""

from __future__ import annotations

_MAGIC = b"\x04\x22\x4d\x18"
_WINDOW = 1 << 16  # how far back a match may reach
_BLOCK_SIZES = {4: 64 << 10, 5: 256 << 10, 6: 1 << 20, 7: 4 << 20}
_UNCOMPRESSED = 1 << 31
_SHORTEST_MATCH = 4


class Lz4Frame:
    """A decompressor of one frame, with the interface of those in the standard library."""

    def __init__(self) -> None:
        self._input = bytearray()
        self._output = bytearray()
        self._history = b""  # the last of what came before, for matches that reach over a border
        self._largest_block = 0  # 0 until the header is read
        self._linked = self._block_checksum = self._content_checksum = False
        self._ended = False

    @property
    def eof(self) -> bool:
        """The frame is at its end, and all of it was given out."""
        return self._ended and not self._output

    @property
    def unused_data(self) -> bytes:
        """What follows the frame."""
        return bytes(self._input) if self._ended else b""

    @property
    def needs_input(self) -> bool:
        """Nothing more comes out before more goes in."""
        return not self._output

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` further bytes.

        Raises:
            ValueError: no LZ4 frame, or a damaged one.
        """
        self._input += data
        while not self._ended and len(self._output) < max_length and self._advance():
            pass
        piece = bytes(self._output[:max_length])
        del self._output[:max_length]
        # One block further, so that an empty output means that nothing is left to give.
        while not self._ended and not self._output and self._advance():
            pass
        return piece

    def _advance(self) -> bool:
        """Reads the header or one block; false where its bytes are not all there yet."""
        if not self._largest_block:
            return self._read_header()
        if len(self._input) < 4:
            return False
        word = int.from_bytes(self._input[:4], "little")
        if word == 0:  # the end mark
            length = 4 + 4 * self._content_checksum
            if len(self._input) < length:
                return False
            del self._input[:length]
            self._ended = True
            return True
        size = word & ~_UNCOMPRESSED
        if size > self._largest_block:
            raise ValueError(f"a block of {size} bytes, the most is {self._largest_block}")
        length = 4 + size + 4 * self._block_checksum
        if len(self._input) < length:
            return False
        block = bytes(self._input[4 : 4 + size])
        del self._input[:length]
        history = self._history if self._linked else b""
        if not word & _UNCOMPRESSED:
            block = decompress_block(block, history, self._largest_block)
        self._history = (history + block)[-_WINDOW:]
        self._output += block
        return True

    def _read_header(self) -> bool:
        if len(self._input) < 7:
            return False
        flags, sizes = self._input[4], self._input[5]
        if not self._input.startswith(_MAGIC) or flags >> 6 != 1 or flags & 0b11:
            raise ValueError(f"not a plain frame: flags 0x{flags:02x}")
        length = 7 + 8 * bool(flags & 0b1000)  # with or without the size of the content
        if len(self._input) < length:
            return False
        largest = _BLOCK_SIZES.get(sizes >> 4 & 0b111)
        if largest is None:
            raise ValueError(f"unknown block size 0x{sizes:02x}")
        self._linked = not flags & 0b100000
        self._block_checksum = bool(flags & 0b10000)
        self._content_checksum = bool(flags & 0b100)
        self._largest_block = largest
        del self._input[:length]
        return True


def decompress_block(block: bytes, history: bytes, limit: int) -> bytes:
    """One compressed block: literals and matches in turn, ended by literals.

    Args:
        block: the compressed bytes.
        history: what came before, which matches may reach into.
        limit: the most bytes that may come out.

    Raises:
        ValueError: it is damaged, or more comes out.
    """
    out = bytearray(history)
    limit += len(history)
    at, end = 0, len(block)
    try:
        while True:
            token = block[at]
            literals, at = _length(block, at + 1, token >> 4)
            if at + literals > end:
                raise ValueError(f"{literals} literals where {end - at} bytes are left")
            out += block[at : at + literals]
            at += literals
            if at == end:
                break
            offset = block[at] | block[at + 1] << 8
            match, at = _length(block, at + 2, token & 15)
            match += _SHORTEST_MATCH
            if not 1 <= offset <= len(out):
                raise ValueError(f"a match {offset} bytes back where {len(out)} bytes are")
            if len(out) + match > limit:
                raise ValueError(f"a block unpacks to over {limit - len(history)} bytes")
            piece = out[len(out) - offset : len(out) - offset + match]
            if match > offset:  # it repeats what it is writing
                piece = (piece * (match // offset + 1))[:match]
            out += piece
    except IndexError:
        raise ValueError("a block ends inside a match") from None
    if len(out) > limit:
        raise ValueError(f"a block unpacks to over {limit - len(history)} bytes")
    return bytes(out[len(history) :])


def _length(block: bytes, at: int, nibble: int) -> tuple[int, int]:
    """A length and where it ends: 15 goes on in the bytes that follow, up to one under 255."""
    total = nibble
    if nibble == 15:
        while True:
            byte = block[at]
            at += 1
            total += byte
            if byte != 255:
                break
    return total, at
