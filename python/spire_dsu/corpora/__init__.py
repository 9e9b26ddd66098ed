"""The paper's corpora, read in the layouts in which they are published.

    "corpus:NAME:ROOT:SPLIT"                 corpus:librispeech:/data/LibriSpeech:train-clean-100
    "corpus:NAME:ROOT:SPLIT,option=value"    corpus:covost2:/data/cv-corpus-4/en:train,target=zh-CN

Every row of a split is a row here: recordings that are absent get their reason when they are
decoded, they are not left out. Texts are as published; what the paper does to them is a later
stage's. Lhotse has recipes for six of these corpora. They open every recording to learn its length
(hours for the large ones), leave out or stumble over rows whose recording is absent, and some read
another layout than the published one or hold a split in memory, so the layouts are read here; tests
hold the rows against the recipes'. Any recipe can be used through "lhotse:RECIPE:ROOT:PART"
(`lhotse_recipe`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

from spire_dsu.corpora.commonvoice import read_commonvoice
from spire_dsu.corpora.covost2 import read_covost2
from spire_dsu.corpora.europarl_st import read_europarl_st
from spire_dsu.corpora.fleurs import read_fleurs
from spire_dsu.corpora.gigaspeech import read_gigaspeech
from spire_dsu.corpora.lhotse_recipe import read_lhotse_recipe
from spire_dsu.corpora.librispeech import read_librispeech
from spire_dsu.corpora.mls import read_mls
from spire_dsu.corpora.spgispeech import read_spgispeech
from spire_dsu.corpora.voxpopuli import read_voxpopuli
from spire_dsu.errors import ManifestError
from spire_dsu.textio import Note
from spire_dsu.types import Utterance

CORPORA: dict[str, Callable[..., Iterator[Utterance]]] = {
    "commonvoice": read_commonvoice,
    "covost2": read_covost2,
    "europarl-st": read_europarl_st,
    "fleurs": read_fleurs,
    "gigaspeech": read_gigaspeech,
    "librispeech": read_librispeech,
    "mls": read_mls,
    "spgispeech": read_spgispeech,
    "voxpopuli": read_voxpopuli,
}
"""name -> reader(root, split, *, note, options...) of its utterances, in a fixed order."""

__all__ = ["CORPORA", "open_corpus", *sorted(f"read_{n.replace('-', '_')}" for n in CORPORA)]


def open_corpus(text: str) -> tuple[str, Callable[[Note], Iterator[Utterance]]]:
    """The root folder and the reader of "corpus:NAME:ROOT:SPLIT[,option=value...]" or
    "lhotse:RECIPE:ROOT:PART".

    Raises:
        ManifestError: another form, an unknown corpus, or an option that the corpus does not have.
    """
    scheme, _, rest = text.partition(":")
    name, _, rest = rest.partition(":")
    root, _, ending = rest.rpartition(":")
    split, *settings = ending.split(",")
    if not (name and root and split):
        raise ManifestError(f"{text!r}: the form is {scheme}:NAME:ROOT:SPLIT")
    if scheme == "lhotse":
        return root, lambda note: read_lhotse_recipe(name, root, split, note=note)
    if name not in CORPORA:
        raise ManifestError(f"{text!r}: no corpus {name!r}; there are {', '.join(CORPORA)}")
    reader = CORPORA[name]
    known = set(inspect.signature(reader).parameters) - {"root", "split", "note"}
    options = {}
    for setting in settings:
        option, equals, value = setting.partition("=")
        if not equals or option not in known:
            raise ManifestError(f"{text!r}: {setting!r} is no option of {name}: {sorted(known)}")
        options[option] = value
    return root, lambda note: reader(root, split, note=note, **options)
