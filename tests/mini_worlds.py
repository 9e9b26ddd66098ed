"""Small worlds of the miniature."""

from __future__ import annotations

import json

from spire_training.mini.settings import World


def mini_world(**changes: object) -> World:
    """A world of few words and three voices; `text` and `corpora` are to be given."""
    settings = {
        "seed": 3,
        "words": 0.2,
        "voices": {
            "accents": ["gmw/en-US"],
            "train": 2,
            "test": 1,
            "words_per_minute": [150, 190],
            "pitch": [40, 60],
        },
        "distortion": {
            "noise_probability": 0.5,
            "snr_db": [15.0, 30.0],
            "room_probability": 0.5,
            "reverberation_seconds": [0.1, 0.3],
            "direct_to_reverberant_db": [3.0, 12.0],
            "gain_db": [-6.0, 0.0],
        },
        **changes,
    }
    return World.model_validate_json(json.dumps(settings))
