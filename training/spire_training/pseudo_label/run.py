"""A run from transcripts to samples of pseudo-labels."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spire_dsu.config import write_resolved
from spire_dsu.files import write_atomically
from spire_dsu.llm import prompts
from spire_dsu.llm.generation import Request, generate, read_answers
from spire_dsu.llm.generation.checkpoint import Checkpoint
from spire_dsu.llm.generation.lines import ResumableLines
from spire_dsu.llm.rendering import Renderer
from spire_training.pseudo_label.labels import Label, keep, sample, translations
from spire_training.pseudo_label.scorers import Scorer, scorer_of
from spire_training.pseudo_label.settings import PseudoLabelConfig
from spire_training.pseudo_label.transcripts import choose

SCORED_AT_ONCE = 20_000
"""Pairs per call of the scorer: it loads its model each time, and a kill costs one call."""


def pseudo_label(config: PseudoLabelConfig) -> Path:
    """Translates transcripts, keeps what scores well, and draws the paper's two samples.

    Writes for each corpus OUT/NAME.direct.jsonl and OUT/NAME.multi_turn.jsonl, JSON lines {"id",
    "lang", "text", "score"} that `train prepare` joins to the units by id, and OUT/report.json with
    the counts. Answers and scores stay in OUT/work: a run that was killed goes on with them.

    Args:
        config: the run.

    Returns:
        OUT/report.json.

    Raises:
        SpireError: transcripts, model or scorer cannot be used; or OUT holds answers or scores
            that were made otherwise.
    """
    out = Path(config.out)
    translator = _Translator(config)
    scorer = scorer_of(config)
    report: dict[str, Any] = {}
    for source in config.transcripts:
        counts: Counter[str] = Counter()
        texts = choose(source, config.seed, counts)
        report[source.name] = {"transcripts": dict(counts), "languages": {}}
        direct: list[Label] = []
        multi_turn: list[Label] = []
        for lang in config.languages:
            made: Counter[str] = Counter()
            name = f"{source.name}.{lang}"
            answered = translations(translator(name, lang, texts, made), made)
            pairs = {key: (texts[key], text) for key, text in answered.items()}
            scores = _scores(out / "work" / f"{name}.scores.jsonl", pairs, scorer, config)
            kept = keep(answered, scores, lang, config.threshold, made)
            both = sample(
                kept, config.direct, config.multi_turn, config.seed, "sample", source.name, lang
            )
            direct += both[0]
            multi_turn += both[1]
            made.update({"direct": len(both[0]), "multi_turn": len(both[1])})
            report[source.name]["languages"][lang] = dict(made)
            _say(f"{name}: " + ", ".join(f"{value:,} {key}" for key, value in made.items()))
        _write(out / f"{source.name}.direct.jsonl", direct)
        _write(out / f"{source.name}.multi_turn.jsonl", multi_turn)
    write_resolved(config, out / "config.json")
    content = {"scorer": config.scorer, "threshold": config.threshold, "sources": report}
    return write_atomically(out / "report.json", json.dumps(content, indent=1).encode() + b"\n")


class _Translator:
    """The model and its prompts."""

    def __init__(self, config: PseudoLabelConfig) -> None:
        self._config, self._model = config, Path(config.model)
        checkpoint = Checkpoint(self._model)
        self._renderer = Renderer(checkpoint.tokenizer, layout=config.layout)
        longest = config.generation.max_model_len or checkpoint.longest
        self._room = longest - config.generation.max_new_tokens

    def __call__(
        self, name: str, lang: str, texts: Mapping[str, str], counts: Counter[str]
    ) -> Mapping[str, Any]:
        """Answers by id; prompts that do not fit the model are counted and left out."""
        requests = []
        for key, text in texts.items():
            asked = (
                prompts.translation(text, "en", lang, None)
                if self._config.layout == "chatml"
                else prompts.mt_cpt(text, "en", lang, None)
            )
            prompt = self._renderer.prompt(asked)
            if prompt.size <= self._room:
                requests.append(Request(key, prompt))
            else:
                counts["refused: prompt too long"] += 1
        path = Path(self._config.out) / "work" / f"{name}.answers.jsonl"
        generate(self._model, requests, path, self._config.generation, progress=_progress(name))
        return read_answers(path)


def _scores(
    path: Path,
    pairs: Mapping[str, tuple[str, str]],
    scorer: Scorer,
    config: PseudoLabelConfig,
) -> dict[str, float]:
    """Scores by id; those that a killed run made of the same texts are taken from the file."""
    model = config.comet_model if config.scorer == "comet" else ""
    header = {"format": "spire-scores", "version": 1, "scorer": config.scorer, "model": model}
    lines = ResumableLines(path, header)
    digests = {key: _digest(*pair) for key, pair in pairs.items()}
    missing = [key for key in pairs if lines.known.get(key, {}).get("pair") != digests[key]]
    for first in range(0, len(missing), SCORED_AT_ONCE):
        keys = missing[first : first + SCORED_AT_ONCE]
        scores = scorer([pairs[key] for key in keys])
        about = json.dumps(scorer.about, indent=1).encode()
        write_atomically(path.with_suffix(".about.json"), about)
        lines.append(
            {"id": key, "score": score, "pair": digests[key]}
            for key, score in zip(keys, scores, strict=True)
        )
        _say(f"{path.name}: {first + len(keys):,} of {len(missing):,} scored")
    lines.finish(list(pairs))
    return {key: float(lines.known[key]["score"]) for key in pairs}


def _digest(source: str, translation: str) -> str:
    return hashlib.sha256(f"{source}\n{translation}".encode()).hexdigest()[:16]


def _write(path: Path, labels: list[Label]) -> None:
    write_atomically(
        path,
        (
            json.dumps(
                {"id": label.id, "lang": label.lang, "text": label.text, "score": label.score},
                ensure_ascii=False,
            ).encode()
            + b"\n"
            for label in labels
        ),
    )


def _progress(name: str) -> Any:
    def show(done: int, total: int) -> None:
        if done == total or done * 20 // total != (done - 1) * 20 // total:
            _say(f"{name}: {done:,} of {total:,} translated")

    return show


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
