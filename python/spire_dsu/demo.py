"""The bundled recording: synthetic speech that the miniature never heard in training."""

from __future__ import annotations

import json
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
DEMO_AUDIO = ASSETS / "demo.flac"


def demo_text() -> str:
    """What the bundled recording says."""
    text = json.loads((ASSETS / "demo.json").read_text(encoding="utf-8"))["text"]
    assert isinstance(text, str)
    return text
