"""Units that the bundled miniature gave when it was made, and must give for ever.

Written by `python tests/golden/test_golden.py`, which is right only when the model itself changes.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from spire_dsu import Discretizer
from spire_dsu.audio import read_audio
from spire_dsu.demo import DEMO_AUDIO

GOLDEN = Path(__file__).parent / "mini.json"
# float32 rounds differently on other processors; a frame this close to a border is not held.
NOISE = 1e-4


def signals() -> dict[str, np.ndarray]:
    """The bundled speech, whole and in part, and signals that need no file."""
    speech = read_audio(DEMO_AUDIO)
    time_S = np.arange(24_000) / 16_000
    chirp = np.sin(2 * np.pi * (100 + 1500 * time_S) * time_S) * 0.3
    noise = np.random.Generator(np.random.PCG64(1)).integers(-9_000, 9_000, 12_345) / 32768
    return {
        "speech": speech,
        "second half, quiet": speech[speech.size // 2 :] * np.float32(0.003),
        "chirp": chirp.astype(np.float32),
        "noise": noise.astype(np.float32),
        "one frame": speech[4_000:4_400],
        "silence": np.zeros(8_000, np.float32),
    }


def units_and_gaps(mini: Discretizer, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit of each frame, and how much farther the second nearest centroid is (relative)."""
    features_TD = mini.features(samples).astype(np.float64)
    centroids_KD = mini.codebook.centroids.astype(np.float64)
    distances_TK = ((features_TD[:, None] - centroids_KD) ** 2).sum(2)
    first, second = np.partition(distances_TK, 1, axis=1)[:, :2].T
    return mini.encode(samples, deduplicate=False).ids, (second - first) / second


@pytest.fixture(scope="module")
def mini() -> Discretizer:
    return Discretizer.from_pretrained("mini", device="cpu", precision="exact")


@pytest.mark.parametrize("name", list(signals()))
def test_units_of_the_miniature_stay(mini: Discretizer, name: str) -> None:
    golden = json.loads(GOLDEN.read_text())[name]
    units, gaps = units_and_gaps(mini, signals()[name])
    assert len(golden) == units.size
    clear = gaps > NOISE
    assert clear.mean() > 0.9
    assert np.array_equal(np.array(golden)[clear], units[clear])


if __name__ == "__main__":
    model = Discretizer.from_pretrained("mini", device="cpu", precision="exact")
    rows = {name: units_and_gaps(model, wave)[0].tolist() for name, wave in signals().items()}
    GOLDEN.write_text(
        "{\n" + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items()) + "\n}\n"
    )
