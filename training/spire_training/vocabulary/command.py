"""`spire-dsu train extend-vocab`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast, get_args

from spire_dsu.errors import ConfigError
from spire_training.vocabulary.extend import extend_vocabulary
from spire_training.vocabulary.tokens import Form, Layout


def extend_vocab_command(
    base: Path, out: Path, units: int, seed: int, form: str, chat: bool, layout: str
) -> str:
    """Extends, and says in one line what was made.

    Raises:
        SpireError: see `extend_vocabulary`; or an unknown form or layout.
    """
    for value, kind in ((form, Form), (layout, Layout)):
        if value not in (*get_args(kind), "auto" if kind is Layout else ""):
            raise ConfigError(f"{value!r} is none of {', '.join(get_args(kind))}")
    made = extend_vocabulary(
        base,
        out,
        units=units,
        seed=seed,
        form=cast(Form, form),
        chat=chat,
        layout=None if layout == "auto" else cast(Layout, layout),
        tell=logging.getLogger("spire_dsu").info,
    )
    at = made.vocabulary
    last = at.first_unit_token + at.num_units - 1
    text = (
        f"{made.folder}: units are tokens {at.first_unit_token} to {last} ({at.form}), "
        f"{at.num_tokens} tokens in {made.rows} rows"
    )
    if any(made.ridge.values()):
        text += f"; covariances had to be made positive definite by adding {made.ridge}"
    return text
