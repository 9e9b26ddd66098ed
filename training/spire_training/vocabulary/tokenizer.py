"""The files of a Llama-family tokenizer, with more tokens.

`tokenizer.json` is edited as data, and `tokenizer.model` (SentencePiece) as the protocol buffer
that it is: so the form of the files does not depend on the version that is installed, and 5,000
tokens cost no more than one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spire_dsu.errors import ModelError
from spire_dsu.llm.rendering import CHAT_TEMPLATE, TURN_END
from spire_dsu.llm.vocabulary import VocabularyError
from spire_dsu.storage import write_file
from spire_training.vocabulary.tokens import PAD, Addition

FAST, PIECES, SETTINGS = "tokenizer.json", "tokenizer.model", "tokenizer_config.json"
SPECIAL_MAP = "special_tokens_map.json"
CHAT_FILE = "chat_template.jinja"
_NORMAL, _USER_DEFINED = 1, 4  # types of SentencePiece's pieces


def read_fast(folder: Path) -> dict[str, Any]:
    """The content of `tokenizer.json`; made from `tokenizer.model` where there is none.

    Raises:
        ModelError: the folder holds no tokenizer.
        VocabularyError: the tokenizer is no BPE, as those of the Llama family are.
    """
    path = folder / FAST
    try:
        if path.is_file():
            content: dict[str, Any] = json.loads(path.read_bytes())
        else:
            from transformers import AutoTokenizer

            made = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            content = json.loads(made.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"{folder}: its tokenizer cannot be read: {error}") from error
    kind = content.get("model", {}).get("type")
    if kind != "BPE":
        raise VocabularyError(f"{folder}: a tokenizer of type {kind!r}, not BPE as Llama's")
    return content


def known_tokens(content: dict[str, Any]) -> dict[str, int]:
    """Every token of a `tokenizer.json` and its id."""
    added = {token["content"]: token["id"] for token in content["added_tokens"]}
    return {**content["model"]["vocab"], **added}


def extend_fast(content: dict[str, Any], addition: Addition) -> dict[str, Any]:
    """A `tokenizer.json` with the new tokens.

    All tokens stand in the model's vocabulary, also those that are added tokens: a loader numbers
    an added token that is not there itself, behind the vocabulary. Private-use characters are
    plain pieces, as in the released tokenizers, where the model reads characters; where it reads
    bytes they are added tokens.
    """
    model = content["model"]
    vocabulary = dict(model["vocab"])
    for token in content["added_tokens"]:
        vocabulary.setdefault(token["content"], token["id"])
    first = addition.first_id
    new = {name: first + place for place, name in enumerate(addition.names)}
    pieces = set(addition.units) if addition.form == "pua" and reads_characters(content) else set()
    added = [
        {
            "id": number,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": name in addition.specials or name in addition.chat,
        }
        for name, number in new.items()
        if name not in pieces
    ]
    return {
        **content,
        "added_tokens": [*content["added_tokens"], *added],
        "model": {**model, "vocab": {**vocabulary, **new}},
    }


def reads_characters(content: dict[str, Any]) -> bool:
    """Whether the tokenizer's pieces are of characters (SentencePiece), not of bytes (GPT-2)."""
    return bool(content["model"].get("byte_fallback")) and "ByteLevel" not in json.dumps(
        [content.get("pre_tokenizer"), content.get("normalizer")]
    )


def extend_pieces(data: bytes, known: dict[str, int], addition: Addition) -> bytes:
    """A SentencePiece model with the new tokens at the same ids.

    Args:
        data: content of `tokenizer.model`.
        known: tokens of the base; those that the model lacks (added tokens) are filled in.
        addition: the new tokens.

    Raises:
        VocabularyError: a piece has another id than in the tokenizer.
    """
    from sentencepiece import sentencepiece_model_pb2

    model: Any = getattr(sentencepiece_model_pb2, "ModelProto")()  # noqa: B009  (made at run time)
    model.ParseFromString(data)
    names = {number: name for name, number in known.items()}
    for number, piece in enumerate(model.pieces):
        if names.get(number) != piece.piece:
            raise VocabularyError(
                f"tokenizer.model: piece {number} is {piece.piece!r}, and {names.get(number)!r} in "
                "the tokenizer"
            )
    score = min(piece.score for piece in model.pieces)
    missing = [names[number] for number in range(len(model.pieces), addition.first_id)]
    plain = set(addition.units) if addition.form == "pua" else set()
    for name in (*missing, *addition.names):
        score -= 1
        model.pieces.add(piece=name, score=score, type=_NORMAL if name in plain else _USER_DEFINED)
    model.trainer_spec.vocab_size = len(model.pieces)
    return bytes(model.SerializeToString())


def extend_settings(content: dict[str, Any], addition: Addition, chat: bool) -> dict[str, Any]:
    """A `tokenizer_config.json` that knows the new tokens; with `chat`, an answer ends a text.

    The released instruct tokenizer ends in `<|im_end|>`; its pad token is the end of sequence,
    which a trainer that masks by value never learns to write, so here `<PAD>` is used if there is
    one.
    """
    made = dict(content)
    if "added_tokens_decoder" in made:
        plain = set(addition.units) if addition.form == "pua" else set()
        made["added_tokens_decoder"] = {
            **made["added_tokens_decoder"],
            **{
                str(addition.first_id + place): {
                    "content": name,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": name not in addition.units,
                }
                for place, name in enumerate(addition.names)
                if name not in plain
            },
        }
    if chat:
        made |= {"chat_template": CHAT_TEMPLATE, "eos_token": TURN_END}
    if PAD in addition.specials:
        made["pad_token"] = PAD
    return made


def write_tokenizer(base: Path, out: Path, addition: Addition, chat: bool) -> None:
    """Writes the extended tokenizer's files.

    Raises:
        ModelError: a file of the base cannot be read.
        VocabularyError: its files disagree.
    """
    content = read_fast(base)
    extended = extend_fast(content, addition)
    _write_json(out / FAST, extended)
    if (base / PIECES).is_file():
        pieces = extend_pieces((base / PIECES).read_bytes(), known_tokens(content), addition)
        write_file(out / PIECES, pieces)
    settings = extend_settings(_read_json(base / SETTINGS), addition, chat)
    _write_json(out / SETTINGS, settings)
    if (base / SPECIAL_MAP).is_file():
        changed: dict[str, Any] = {
            key: settings[key] for key in ("eos_token", "pad_token") if key in settings
        }
        _write_json(out / SPECIAL_MAP, {**_read_json(base / SPECIAL_MAP), **changed})
    if (base / CHAT_FILE).is_file() and not chat:
        write_file(out / CHAT_FILE, (base / CHAT_FILE).read_bytes())


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    return content


def _write_json(path: Path, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_file(path, text.encode(errors="surrogatepass") + b"\n")
