"""Items -> tokens and marks, in batches, in this process or in several."""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from spire_dsu.errors import InputError, ModelError
from spire_dsu.llm.rendering import TURN_END, TURN_START, Renderer
from spire_dsu.llm.vocabulary import UnitVocabulary, VocabularyError
from spire_dsu.types import Int32
from spire_training.data.packed import (
    LEARNED,
    MONOLINGUAL,
    PARALLEL,
    PROMPT,
    START,
    UNITS,
    Marks,
)
from spire_training.data.settings import PrepareConfig, SpeechSource
from spire_training.data.sources import Item

BATCH = 256


class Made(NamedTuple):
    """A document.

    Attributes:
        stream, key, seconds: of its item.
        chunk: number of the piece, where running text is longer than a row.
        tokens: int32 [n].
        marks: uint8 [n].
    """

    stream: str
    key: str
    seconds: float
    chunk: int
    tokens: Int32
    marks: Marks


Batch = tuple[list[Made], Counter[tuple[str, str]]]
"""Documents, and (stream, what) of items that were dropped or cut."""


def load_tokenizer(folder: str) -> Any:
    """A tokenizer of transformers from a local folder.

    Raises:
        ModelError: the folder holds none.
    """
    from transformers import AutoTokenizer

    if not Path(folder).is_dir():
        raise ModelError(f"{folder}: no such folder; a tokenizer is read from a local one")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: its tokenizer cannot be read: {error}") from error


class Maker:
    """Makes documents of items.

    Raises:
        VocabularyError: the tokenizer lacks a token that the stage needs.
        ModelError: there is no tokenizer.
    """

    def __init__(self, config: PrepareConfig) -> None:
        self.tokenizer = load_tokenizer(config.tokenizer)
        end = None
        if config.end_token:
            end = self.tokenizer.get_vocab().get(config.end_token)
            if end is None:
                raise VocabularyError(f"{config.tokenizer}: no token {config.end_token!r}")
        layout: Any = "plain" if config.stage == "cpt" else "chatml"
        self.renderer = Renderer(self.tokenizer, layout=layout, end_token=end)
        speech = any(isinstance(source, SpeechSource) for source in config.sources)
        self.vocabulary = (
            self.renderer.vocabulary if speech else UnitVocabulary.without_units(self.tokenizer)
        )
        self._control = self._control_tokens()
        self._length, self._all = config.sequence_length, config.learns_all

    def batch(self, items: list[Item]) -> Batch:
        """The documents of some items, in their order."""
        made: list[Made] = []
        notes: Counter[tuple[str, str]] = Counter()
        fit: list[Item] = []
        for item in items:
            if self._spells_control(item):
                notes[item.stream, "dropped: holds a control token's spelling"] += 1
            else:
                fit.append(item)
        texts = [item.text for item in fit if item.conversation is None]
        encoded = iter(self.tokenizer(texts, add_special_tokens=True)["input_ids"] if texts else ())
        with self.renderer.together(item.conversation for item in fit if item.conversation):
            for item in fit:
                try:
                    tokens, marks = (
                        self._running(next(encoded))
                        if item.conversation is None
                        else self._conversation(item)
                    )
                except InputError:
                    notes[item.stream, "dropped: holds a unit's spelling"] += 1
                    continue
                if tokens.size > self._length and item.conversation is not None:
                    notes[item.stream, "dropped: too long"] += 1
                    continue
                if tokens.size > self._length:
                    notes[item.stream, "split"] += 1
                for chunk, first in enumerate(range(0, tokens.size, self._length)):
                    piece = slice(first, first + self._length)
                    marks[first] = (marks[first] & ~np.uint8(LEARNED)) | np.uint8(START)
                    made.append(
                        Made(
                            item.stream, item.key, item.seconds, chunk, tokens[piece], marks[piece]
                        )
                    )
        return made, notes

    def _control_tokens(self) -> re.Pattern[str]:
        """What a text may not hold: a tokenizer reads `</s>` or `<|im_end|>` as that token wherever
        it stands, and a text could end itself or speak for the other side.
        """
        known = self.tokenizer.get_vocab()
        named = {*self.tokenizer.all_special_tokens, TURN_START, TURN_END} & known.keys()
        control = sorted(name for name in named if not self.vocabulary.is_unit(known[name]))
        return re.compile("|".join(map(re.escape, control)) or r"(?!)")

    def _spells_control(self, item: Item) -> bool:
        texts: Iterable[object] = (
            [item.text]
            if item.conversation is None
            else (part for message in item.conversation for part in message.parts)
        )
        return any(isinstance(text, str) and self._control.search(text) for text in texts)

    def _running(self, ids: list[int]) -> tuple[Int32, Marks]:
        tokens = np.asarray([*ids, self.renderer.end_token], np.int32)
        if self.vocabulary.is_unit(tokens).any():
            raise InputError("the text holds the spelling of a unit")
        return tokens, np.full(tokens.size, MONOLINGUAL | LEARNED, np.uint8)

    def _conversation(self, item: Item) -> tuple[Int32, Marks]:
        conversation = item.conversation
        assert conversation is not None
        rendered = self.renderer.example(conversation, item.units)
        units = self.vocabulary.is_unit(rendered.ids)
        if int(units.sum()) != (0 if item.units is None else item.units.size):
            raise InputError("the text holds the spelling of a unit")
        kinds: npt.NDArray[np.uint8] = np.where(
            rendered.learned | (item.kind == PARALLEL), item.kind, PROMPT
        ).astype(np.uint8)
        kinds[units] = UNITS
        learned = np.ones(units.size, bool) if self._all else rendered.learned
        return rendered.ids, kinds | np.where(learned, LEARNED, 0).astype(np.uint8)


def documents_of(maker: Maker, items: Iterable[Item]) -> Iterator[Batch]:
    """Batches of documents, made in this process."""
    for batch in _batches(items):
        yield maker.batch(batch)


_maker: list[Maker] = []  # of a worker process


def _start(config: PrepareConfig) -> None:
    _maker.append(Maker(config))


def _work(batch: list[Item]) -> Batch:
    return _maker[0].batch(batch)


class Pool:
    """Processes that make documents; the batches come back in order.

    Args:
        config: for their makers.
        workers: how many processes.
    """

    def __init__(self, config: PrepareConfig, workers: int) -> None:
        self._workers = workers
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), _start, (config,)
        )

    def documents_of(self, items: Iterable[Item]) -> Iterator[Batch]:
        """Batches of documents; a few batches per process are in memory."""
        running: deque[Future[Batch]] = deque()
        for batch in _batches(items):
            running.append(self._pool.submit(_work, batch))
            if len(running) >= 3 * self._workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()

    def close(self) -> None:
        """Ends the processes."""
        self._pool.shutdown(cancel_futures=True)


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
