"""Who speaks: espeak-ng accents x variants and flite voices, with whole voices and accents kept for
the test.
"""

from __future__ import annotations

import numpy as np

TRAIN_ACCENTS = (
    "gmw/en-US",
    "gmw/en",
    "gmw/en-GB-scotland",
    "gmw/en-GB-x-rp",
    "gmw/en-GB-x-gbcwmd",
    "gmw/en-029",
)
TEST_ACCENTS = (*TRAIN_ACCENTS, "gmw/en-GB-x-gbclan", "gmw/en-US-nyc")

# fmt: off
TRAIN_VARIANTS = (
    "adam", "Alex", "Alicia", "Andrea", "Annie", "anika", "antonio", "aunty", "belinda",
    "benjamin", "boris", "caleb", "david", "Denis", "Diogo", "ed", "f1", "f2", "f3", "f5", "Gene",
    "grandma", "grandpa", "gustave", "Henrique", "Hugo", "iven", "iven2", "iven3", "Jacky",
    "john", "klatt", "klatt2", "klatt3", "klatt5", "klatt6", "Lee", "linda", "m1", "m2", "m4",
    "m5", "m6", "m7", "marcelo", "Marco", "Mario", "max", "michel", "Michael", "miguel", "Mike",
    "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph",
    "steph3", "Storm", "Tweaky", "victor",
)
TEST_VARIANTS = (
    "Andy", "edward", "f4", "Gene2", "iven4", "klatt4", "m3", "m8", "Nguyen", "steph2", "travis",
    "zac",
)
# fmt: on

TRAIN_FLITE = ("kal16", "rms", "slt")
TEST_FLITE = ("awb",)  # Scottish, unlike all others


def espeak_voices(
    accents: tuple[str, ...], variants: tuple[str, ...], count: int, rng: np.random.Generator
) -> list[str]:
    """`count` distinct voices "accent+variant": every variant before any comes twice, accents in
    turn.
    """
    pairs = [
        (variant, i) for i in range(len(accents)) for variant in rng.permutation(list(variants))
    ]
    offset = {variant: int(rng.integers(len(accents))) for variant in variants}
    names = [f"{accents[(offset[variant] + i) % len(accents)]}+{variant}" for variant, i in pairs]
    return names[:count]
