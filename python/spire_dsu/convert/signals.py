"""SIGTERM and SIGINT: the first one ends a conversion in good order, the second one at once."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from spire_dsu.convert.job import Interrupted

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """Notes the first signal, for `check` to raise it; a context manager.

    Outside of the main thread signals stay as they are.
    """

    def __init__(self) -> None:
        self._came: signal.Signals | None = None
        self._is_main = threading.current_thread() is threading.main_thread()
        self._before = {number: signal.getsignal(number) for number in _NUMBERS}

    def __enter__(self) -> Signals:
        self.install()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._is_main:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Takes the signals; again after a library that takes them for itself."""
        if self._is_main and self._came is None:
            for number in _NUMBERS:
                signal.signal(number, self._note)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._came = signal.Signals(number)
        for each in _NUMBERS:
            signal.signal(each, signal.SIG_DFL)

    def check(self) -> None:
        """Raises `Interrupted` once a signal has come."""
        if self._came is not None:
            raise Interrupted(
                f"stopped by {self._came.name}; the same command goes on from what is committed"
            )
