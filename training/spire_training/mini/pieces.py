"""A SentencePiece model of the world's own text, in place of FLORES-200's.

spBLEU is BLEU over the pieces of FLORES-200's model, a file of 256,000 pieces in 200 languages that
sacrebleu downloads. This one is of the same kind (byte pairs), for a machine that has no network:
its scores rank systems within this world, and are no spBLEU that others could compare with.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import sentencepiece

from spire_dsu.errors import ConfigError
from spire_dsu.files import write_atomically

FILE = "flores200sacrebleuspm"
"""What sacrebleu calls FLORES-200's."""


def write_pieces(texts: Sequence[Path], count: int, out: Path) -> None:
    """Trains `count` pieces on all cells of all lines; equal texts give equal bytes.

    Raises:
        ConfigError: the texts have fewer pieces.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=_cells(texts),
            model_writer=model,
            model_type="bpe",
            vocab_size=count,
            character_coverage=1.0,
            num_threads=1,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ConfigError(f"spm_pieces {count}: the text does not give them: {error}") from error
    write_atomically(out, model.getvalue())


def _cells(texts: Sequence[Path]) -> Iterator[str]:
    for path in texts:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield from line.rstrip("\n").split("\t")
