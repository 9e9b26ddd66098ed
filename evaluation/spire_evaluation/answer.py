"""Audio files in, transcripts or translations out: what a user of a released model does."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spire_dsu.discretizer import Discretizer
from spire_dsu.errors import ConfigError, Reason
from spire_dsu.hub import HubId, fetch
from spire_dsu.llm import prompts
from spire_dsu.llm.generation import Answer, GenerationConfig, Request, generate, read_answers
from spire_dsu.llm.generation.checkpoint import Checkpoint
from spire_dsu.llm.rendering import Renderer
from spire_dsu.llm.vocabulary import VocabularyError

_FILES = ("*.json", "*.safetensors", "tokenizer.model")


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one recording says.

    Attributes:
        id: derived from the file's name, unique among the files.
        source: the file.
        status: ok, or why there is no answer.
        text: the answer, empty where there is none.
        finish: why it ended: "end", "stop" or "length".
        message: what is wrong with the file, in one sentence.
    """

    id: str
    source: str
    status: Reason
    text: str = ""
    finish: str = ""
    message: str = ""


def answer_files(
    paths: Sequence[Path],
    *,
    model: str,
    discretizer: Discretizer,
    target: str = "en",
    style: str = "spirelm",
    config: GenerationConfig | None = None,
) -> Iterator[Spoken]:
    """Transcribes (target "en") or translates English speech with an instructed Spire model.

    Args:
        paths: audio files of any rate and channel count.
        model: a Hugging Face folder, or a hub id.
        discretizer: the one whose units the model was trained on.
        target: language of the answer.
        style: white space of the prompt, see `spire_dsu.llm.prompts`.
        config: how answers are generated; the default is vLLM, bf16, 256 tokens.

    Yields:
        One for each path, in order. A file that cannot be read stops no other.

    Raises:
        SpireError: the model, its vocabulary, the language, or the engine.
    """
    asked = prompts.speech_translation(target, None, style=style)
    checkpoint = Checkpoint(model_folder(model))
    renderer = Renderer(checkpoint.tokenizer, layout="chatml")
    if discretizer.num_units > renderer.vocabulary.num_units:
        raise VocabularyError(
            f"{model} knows {renderer.vocabulary.num_units} units, and {discretizer.name!r} makes "
            f"{discretizer.num_units}: it is not the model's"
        )
    files = list(discretizer.encode_files(paths))
    requests = [
        Request(file.id, renderer.prompt(asked, file.units.ids)) for file in files if file.units
    ]
    answers: dict[str, Answer] = {}
    if requests:
        with tempfile.TemporaryDirectory(prefix="spire-answers-") as scratch:
            out = Path(scratch) / "answers.jsonl"
            generate(checkpoint.folder, requests, out, config or GenerationConfig())
            answers = read_answers(out)
    for file in files:
        if file.id in answers:
            found = answers[file.id]
            yield Spoken(file.id, file.source, Reason.OK, found.text.strip(), found.finish)
        else:
            yield Spoken(file.id, file.source, file.status, message=file.message)


def target_of(task: str) -> str:
    """The language of the answer: "asr" is English, "st:de" German.

    Raises:
        ConfigError: another form, or a language that is none of the ten.
    """
    if task == "asr":
        return "en"
    name, _, code = task.partition(":")
    if name != "st" or not code:
        raise ConfigError(f'unknown task {task!r}: "asr", or "st:" and a language, as "st:de"')
    prompts.language(code)
    return code


def model_folder(model: str) -> Path:
    """A local folder, or what is fetched for a hub id when it is not on this machine yet.

    Raises:
        ConfigError: neither.
        ModelError: the hub has it not.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    hub_id = HubId.parse(model)
    if hub_id is None:
        raise ConfigError(f"unknown model {model!r}: neither a folder nor a hub id, owner/name")
    return fetch(hub_id, _FILES, _is_whole, "configuration, tokenizer and weights")


def _is_whole(folder: Path) -> bool:
    """Whether the configuration and every file of the weights are there."""
    if not (folder / "config.json").is_file():
        return False
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return any(folder.glob("*.safetensors"))
    files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return all((folder / name).is_file() for name in files)
