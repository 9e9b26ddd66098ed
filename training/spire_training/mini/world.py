"""Writes the miniature's world: text, test sets, and speech corpora in their published layouts.

    python -m spire_training.mini.world SETTINGS.toml OUT

    OUT/text/parallel.en-de.tsv ...   sentence pairs: English, tab, the other language
    OUT/text/mono.LANG.txt            sentences, one a line
    OUT/text/instructions.jsonl       translations asked for in TowerBlocks' form
    OUT/flores/devtest/*.devtest      FLORES-200's layout
    OUT/wmt23/wmt23.SRC-TGT/*         tower-eval's layout
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
from spire_training.mini.layouts import WRITERS
from spire_training.mini.sentences import LANGUAGES, Source, Triple
from spire_training.mini.settings import World
from spire_training.mini.speech import speak

FLORES_NAMES = {"en": "eng_Latn", "de": "deu_Latn", "es": "spa_Latn"}
FOREIGN = ("de", "es")
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
    _write_tests(world, source, out)
    spoken = {index: tests.get(index) or source.draw(corpus.rows) for index, corpus in numbered}
    _write_text(world, source, out / "text")
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


def _write_tests(world: World, source: Source, out: Path) -> None:
    flores = source.draw(world.text.flores)
    for code, name in FLORES_NAMES.items():
        _lines(out / "flores" / "devtest" / f"{name}.devtest", [row[code] for row in flores])
    wmt = source.draw(world.text.wmt)
    for code in FOREIGN:
        for src, tgt in (("en", code), (code, "en")):
            rows = [{"src": row[src], "ref": row[tgt]} for row in wmt]
            path = out / "wmt23" / f"wmt23.{src}-{tgt}" / "test.jsonl"
            _lines(path, [json.dumps(row, ensure_ascii=False) for row in rows])


def _write_text(world: World, source: Source, folder: Path) -> None:
    pairs = source.draw(world.text.parallel)
    for code in FOREIGN:
        _lines(folder / f"parallel.en-{code}.tsv", [f"{p['en']}\t{p[code]}" for p in pairs])
    for code in LANGUAGES:
        drawn = source.draw(world.text.monolingual)
        _lines(folder / f"mono.{code}.txt", [row[code] for row in drawn])
    rng = np.random.default_rng([world.seed, 5])
    rows = [_instruction(triple, rng) for triple in source.draw(world.text.instructions)]
    _lines(folder / "instructions.jsonl", [json.dumps(row, ensure_ascii=False) for row in rows])


def _instruction(triple: Triple, rng: np.random.Generator) -> dict[str, object]:
    """A translation as TowerBlocks has them: a conversation between a human and a model."""
    code = FOREIGN[rng.integers(len(FOREIGN))]
    src, tgt = ("en", code) if rng.random() < 0.5 else (code, "en")
    (asked,) = prompts.translation(triple[src], src, tgt, None)
    turns = [
        {"from": "human", "value": "".join(str(part) for part in asked.parts)},
        {"from": "gpt", "value": triple[tgt]},
    ]
    return {"conversations": turns, "lang": f"{src}-{tgt}", "task": "machine_translation"}


def _lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(f"{line}\n" for line in lines).encode())


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
