"""Writes the miniature's world: text, test sets, and speech corpora in their published layouts.

    python -m spire_training.mini.world SETTINGS.toml OUT

    OUT/text/parallel.en-de.tsv ...   sentence pairs: English, tab, the other language
    OUT/text/mono.LANG.txt            sentences, one a line
    OUT/text/instructions.jsonl       translations asked for in TowerBlocks' form, and post-editing
                                      and named entities where the settings want them
    OUT/flores/devtest/*.devtest      FLORES-200's layout
    OUT/wmt23/wmt23.SRC-TGT/*         tower-eval's layout, as are
    OUT/ape/*, OUT/ner/*              the tests of post-editing and named entities
    OUT/flores200sacrebleuspm         a SentencePiece model that stands for FLORES-200's
    OUT/corpora/NAME/...              one folder per corpus
    OUT/world.json                    last: the settings, and what was written

A corpus that stands is not spoken again; equal settings give equal bytes (an Ogg file has a random
stream number, its samples are equal).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from spire_dsu.config import fingerprint, load_toml, write_resolved
from spire_dsu.errors import ConfigError, SpireError
from spire_dsu.files import write_atomically
from spire_dsu.llm import prompts
from spire_training.mini import tower_tasks
from spire_training.mini.layouts import WRITERS, write_lines
from spire_training.mini.pieces import FILE, write_pieces
from spire_training.mini.sentences import LANGUAGES, Source, Triple
from spire_training.mini.settings import World
from spire_training.mini.speech import speak
from spire_training.mini.tower_tasks import FOREIGN, Pair, Row

FLORES_NAMES = {"en": "eng_Latn", "de": "deu_Latn", "es": "spa_Latn"}
DONE = "world.json"


def make_world(world: World, out: Path, *, workers: int | None = None) -> None:
    """Writes everything into `out`; goes on where an earlier run was stopped.

    Raises:
        ConfigError: `out` holds a world of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    note = out / "settings.json"
    if note.exists():
        old = World.model_validate_json(note.read_bytes())
        if fingerprint(old) != fingerprint(world):
            raise ConfigError(f"{out}: holds a world of other settings: choose another folder")
    write_resolved(world, note)
    source = Source(world.seed, world.words, world.kinds)
    # Test sets are drawn first, so that a larger training set leaves them as they are.
    numbered = list(enumerate(world.corpora))
    tests = {index: source.draw(c.rows) for index, c in numbered if c.voices == "test"}
    wmt = _write_tests(world, source, out)
    spoken = {index: tests.get(index) or source.draw(corpus.rows) for index, corpus in numbered}
    translations = _write_text(world, source, out / "text")
    # Drawn last, so that a world keeps its other sentences when these are asked for.
    tower_tasks.write_tests(world, source, wmt, out)
    _write_instructions(world, translations + tower_tasks.instructions(world, source), out)
    if world.text.spm_pieces:
        texts = [*(out / "text").glob("*.tsv"), *(out / "text").glob("*.txt")]
        write_pieces(sorted(texts), world.text.spm_pieces, out / FILE)
    counts = {}
    for index, sentences in spoken.items():
        corpus = world.corpora[index]
        root = out / "corpora" / corpus.name
        mark = root / f"{corpus.split}.done"
        if not mark.exists():
            recordings = speak(world, corpus, index, sentences, workers or os.cpu_count() or 1)
            WRITERS[corpus.name](root, corpus.split, recordings)
            write_atomically(mark, b"")
        counts[f"{corpus.name} {corpus.split}"] = corpus.rows
        sys.stderr.write(f"{corpus.name} {corpus.split}: {corpus.rows} recordings\n")
    done = {"fingerprint": fingerprint(world), "rows": counts}
    write_atomically(out / DONE, json.dumps(done, indent=1).encode() + b"\n")


def _write_tests(world: World, source: Source, out: Path) -> list[Pair]:
    """Writes the tests of translation; gives WMT23's sentences with their meanings."""
    flores = source.draw(world.text.flores)
    for code, name in FLORES_NAMES.items():
        write_lines(out / "flores" / "devtest" / f"{name}.devtest", [row[code] for row in flores])
    wmt = source.draw_meanings(world.text.wmt)
    for code in FOREIGN:
        for src, tgt in (("en", code), (code, "en")):
            rows = [{"src": row[src], "ref": row[tgt]} for _, row in wmt]
            path = out / "wmt23" / f"wmt23.{src}-{tgt}" / "test.jsonl"
            write_lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])
    return wmt


def _write_text(world: World, source: Source, folder: Path) -> list[Row]:
    """Writes what has no questions; gives the instructions to translate."""
    pairs = source.draw(world.text.parallel)
    for code in FOREIGN:
        write_lines(folder / f"parallel.en-{code}.tsv", [f"{p['en']}\t{p[code]}" for p in pairs])
    for code in LANGUAGES:
        drawn = source.draw(world.text.monolingual)
        write_lines(folder / f"mono.{code}.txt", [row[code] for row in drawn])
    rng = np.random.default_rng([world.seed, 5])
    return [_translation(triple, rng) for triple in source.draw(world.text.instructions)]


def _translation(triple: Triple, rng: np.random.Generator) -> Row:
    src, tgt = tower_tasks.direction(rng)
    asked = prompts.translation(triple[src], src, tgt, None)
    return tower_tasks.instruction(asked, triple[tgt], f"{src}-{tgt}", "machine_translation")


def _write_instructions(world: World, rows: list[Row], out: Path) -> None:
    """All instructions, mixed; a world of translations alone keeps the order they were drawn in."""
    if len(rows) > world.text.instructions:
        order = np.random.default_rng([world.seed, 10]).permutation(len(rows))
        rows = [rows[index] for index in order]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    write_lines(out / "text" / "instructions.jsonl", lines)


def main() -> None:
    """Entry point of `python -m spire_training.mini.world`."""
    if len(sys.argv) != 3:
        sys.stderr.write("usage: python -m spire_training.mini.world SETTINGS.toml OUT\n")
        sys.exit(2)
    try:
        make_world(load_toml(sys.argv[1], World), Path(sys.argv[2]))
    except SpireError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
