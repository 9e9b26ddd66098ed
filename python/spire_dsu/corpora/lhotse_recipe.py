"""Any corpus for which Lhotse has a recipe: "lhotse:RECIPE:ROOT:PART" runs it and reads what it
makes.

Lhotse (the extra `corpora`) opens every recording, so this may take long, leaves out what it cannot
open, and some recipes fetch tables from the network.
"""

from __future__ import annotations

import importlib
import inspect
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from spire_dsu.corpora.layout import at
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note, ignore, utterance
from spire_dsu.types import Utterance


def read_lhotse_recipe(
    recipe: str, root: str | Path, part: str, *, note: Note = ignore, **options: Any
) -> Iterator[Utterance]:
    """Utterances of one part: the recipe's supervisions, each with its recording.

    Args:
        recipe: the name behind `lhotse prepare`, with underscores: "librispeech", "yesno", ...
        root: the corpus, as the recipe wants it.
        part: "test-clean", or a path where the recipe groups its parts: "english/train".
        note: told of the root.
        options: passed on to the recipe.

    Raises:
        ManifestError: Lhotse is absent, it has no such recipe, the recipe fails, or it makes no
            such part.
    """
    prepare = _find_recipe(recipe)
    note(root)
    with tempfile.TemporaryDirectory(prefix="spire-dsu-lhotse-") as work:
        known = inspect.signature(prepare).parameters
        if "output_dir" in known:
            options["output_dir"] = work
        try:
            made = prepare(root, **options)
        except Exception as error:
            raise ManifestError(f"{root}: Lhotse's recipe {recipe} failed: {error!r}") from error
        sets = _choose_part(made, part, recipe)
        recordings = {recording.id: recording for recording in sets["recordings"]}
        for supervision in sets["supervisions"]:
            yield _utterance(root, supervision, recordings[supervision.recording_id])


def _find_recipe(recipe: str) -> Any:
    if not re.fullmatch(r"[a-z0-9_]+", recipe):
        raise ManifestError(f"Lhotse has no recipe {recipe!r}")
    try:
        recipes = importlib.import_module("lhotse.recipes")
    except ImportError as error:
        raise ManifestError(
            f"recipe {recipe!r} needs Lhotse: pip install lhotse ({error})"
        ) from error
    prepare = getattr(recipes, f"prepare_{recipe}", None)
    if prepare is None:
        raise ManifestError(f"Lhotse has no recipe {recipe!r}")
    return prepare


def _choose_part(made: Any, part: str, recipe: str) -> Mapping[str, Any]:
    """The dict of recordings and supervisions below the names in `part`; "-" where the recipe has
    no parts.
    """
    for name in part.split("/") if part != "-" else []:
        if not isinstance(made, Mapping) or name not in made:
            there = sorted(made) if isinstance(made, Mapping) else "nothing"
            raise ManifestError(f"Lhotse's recipe {recipe} makes no {part!r}; it made {there}")
        made = made[name]
    if not isinstance(made, Mapping) or not {"recordings", "supervisions"} <= set(made):
        raise ManifestError(f"Lhotse's recipe {recipe}: {part!r} is not one part: {sorted(made)}")
    return made


def _utterance(root: str | Path, supervision: Any, recording: Any) -> Utterance:
    if len(recording.sources) != 1 or recording.sources[0].type != "file":
        raise ManifestError(f"recording {recording.id!r} is not one file: {recording.sources}")
    channels = recording.sources[0].channels
    whole = supervision.start == 0 and abs(supervision.duration - recording.duration) < 1e-3
    chosen = supervision.channel if isinstance(supervision.channel, int) else None
    return utterance(
        supervision.id,
        **at(root, recording.sources[0].source),
        offset=0.0 if whole else supervision.start,
        duration=None if whole else supervision.duration,
        expected=recording.duration if whole else None,
        text=supervision.text,
        lang=supervision.language,
        speaker=supervision.speaker,
        channel=channels.index(chosen) if len(channels) > 1 and chosen in channels else None,
    )
