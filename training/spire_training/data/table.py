"""What was selected and packed, as tables for people; one of them like the paper's table 1."""

from __future__ import annotations

from typing import Any

from spire_training.data.packed import KINDS, SPLITS

TASKS = {"asr": "ASR", "st": "ST", "multi_turn": "ST"}


def report(manifest: dict[str, Any]) -> str:
    """Markdown: speech as in table 1, tokens per stream, what was dropped, how rows are filled.

    Args:
        manifest: content of a packed folder's `manifest.json`.
    """
    parts = [
        _table(["Dataset", "Task", "Phase", "# DSUs", "# Hours"], speech(manifest)),
        _table(
            ["Stream", "documents", "tokens", "of available", "held out", *KINDS[1:]],
            _streams(manifest),
        ),
        _table(["Source", "what became of its rows", "rows"], _counts(manifest)),
        _table(["Split", "rows", "documents", "tokens", "filled"], _packing(manifest)),
    ]
    return "\n".join(part for part in parts if part)


def speech(manifest: dict[str, Any]) -> list[list[str]]:
    """Rows of the paper's table 1: units and hours of the documents that are in the rows.

    An utterance counts once for each document made of it, as it must for the paper's figures of
    FLEURS. Hours are of audio; the paper's are computed from the number of units.
    """
    phase = str(manifest["stage"]).upper()
    sums: dict[tuple[str, str], list[int]] = {}
    for about in manifest["config"]["sources"]:
        if about["kind"] != "speech":
            continue
        task = ("Pseudo-" if about["pseudo"] else "") + TASKS[about["task"]]
        total = sums.setdefault((about["corpus"] or about["name"], task), [0, 0])
        for stream in manifest["sources"][about["name"]]["streams"].values():
            for split in SPLITS:
                total[0] += stream[split].get("units", 0)
                total[1] += stream[split].get("milliseconds", 0)
    return [
        [name, task, phase, short(units), f"{milliseconds / 3.6e6:,.2f}"]
        for (name, task), (units, milliseconds) in sums.items()
    ]


def short(number: int) -> str:
    """1.2B, 645M, 12K: a count with its thousands as a letter."""
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return str(number)


def _streams(manifest: dict[str, Any]) -> list[list[str]]:
    rows = []
    for source in manifest["sources"].values():
        for name, stream in source["streams"].items():
            train = stream["train"]
            part = train.get("tokens", 0) / max(1, stream["available_tokens"])
            rows.append(
                [
                    name,
                    f"{train.get('documents', 0):,}",
                    f"{train.get('tokens', 0):,}",
                    f"{part:.1%}",
                    f"{stream['held'].get('tokens', 0):,}",
                    *(f"{train.get(kind, 0):,}" for kind in KINDS[1:]),
                ]
            )
    return rows


def _counts(manifest: dict[str, Any]) -> list[list[str]]:
    return [
        [name, what, f"{number:,}"]
        for name, source in manifest["sources"].items()
        for what, number in source["counts"].items()
    ]


def _packing(manifest: dict[str, Any]) -> list[list[str]]:
    return [
        [
            split,
            *(f"{about[key]:,}" for key in ("rows", "documents", "tokens")),
            f"{about['fill_rate']:.2%}",
        ]
        for split, about in manifest["packing"].items()
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
