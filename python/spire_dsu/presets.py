"""From a model's name to its configuration and files: presets, model folders and hub ids.

A preset is a `ModelConfig` in TOML whose file bears its name: `preset_files/spire.toml` is "spire".
Own ones go to `~/.config/spire_dsu/presets/NAME.toml`, or into the file or folder that
$SPIRE_DSU_PRESETS names; relative names in a preset begin at the folder of its file. A bundled
model is a folder in `models/`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from spire_dsu import hub
from spire_dsu.codebook import is_codebook_file, load_codebook
from spire_dsu.config import ModelConfig, load_json, load_toml
from spire_dsu.errors import ConfigError, ModelError
from spire_dsu.files import sha256_of_file

CONFIG_FILE = "config.json"
_PACKAGE = Path(__file__).parent
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = "pytorch_model.bin"
_SAFE_FILES = ("config.json", *_SAFETENSORS, "model-*.safetensors")
_ANYWHERE = (
    "Discretizer.from_parts(encoder=FOLDER, centroids=FILE, layer={layer}, normalize_eps={eps})"
)


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model's configuration and where its relative names begin. Nothing is fetched yet.

    Attributes:
        config: the checked configuration.
        base: the folder that relative names in it refer to.
        confined: names must stay inside `base`, as in a model folder, which anyone may have made.
    """

    config: ModelConfig
    base: Path
    confined: bool

    def encoder_folder(self) -> Path:
        """The folder with the encoder's `config.json` and weights, fetched if need be.

        Raises:
            ModelError: there is none; says what to fetch where, and how to name a local copy.
        """
        try:
            return encoder_folder(self._local(self.config.encoder), self.config.encoder)
        except ModelError as error:
            raise self._advised(error) from error

    def codebook_file(self) -> Path:
        """The codebook as a safetensors or .npy file, fetched if need be.

        A pickle on the hub is never read here. Its imported form is looked up in the cache, by the
        SHA-256 of the pickle: a fixed name there would hand an old codebook to a new model.

        Raises:
            ModelError: there is none; says what to fetch or to import, and how.
        """
        reference = self.config.codebook
        local = self._local(reference)
        if local.is_file():
            return local
        parsed = hub.HubId.parse_file(reference)
        if parsed is None:
            raise ModelError(
                f"model {self.config.name!r}: codebook {reference!r} is neither a file in "
                f"{self.base} nor 'owner/name:file' on the hub"
            )
        hub_id, name = parsed
        try:
            file = hub.fetch(hub_id, [name], lambda f: (f / name).is_file(), name) / name
        except ModelError as error:
            raise self._advised(error) from error
        return file if is_codebook_file(file) else _imported(file, str(hub_id))

    def has_local_parts(self, folder: Path) -> bool:
        """Whether what the configuration names by a relative path is there."""
        encoder, codebook = self.config.encoder, self.config.codebook
        return (hub.HubId.parse(encoder) is not None or _has_encoder(folder / encoder)) and (
            hub.HubId.parse_file(codebook) is not None or (folder / codebook).is_file()
        )

    def _local(self, reference: str) -> Path:
        pure = PurePosixPath(reference)
        if self.confined and (pure.is_absolute() or ".." in pure.parts):
            raise ModelError(f"{self.base / CONFIG_FILE}: {reference!r} leads out of its folder")
        return self.base / Path(reference).expanduser()

    def _advised(self, error: ModelError) -> ModelError:
        """The error, with how to have this model on a machine without a network."""
        commands = []
        encoder = hub.HubId.parse(self.config.encoder)
        if encoder:
            commands.append(
                encoder.download_command(["config.json", "model*.safetensors", _PICKLED], "FOLDER")
            )
        codebook = hub.HubId.parse_file(self.config.codebook)
        if codebook:
            commands.append(codebook[0].download_command([codebook[1]], "."))
        fetch = f"; where there is a network: {' && '.join(commands)}" if commands else ""
        use = _ANYWHERE.format(layer=self.config.layer, eps=self.config.normalize_eps)
        return ModelError(
            f"model {self.config.name!r}: {error}{fetch}; local copies are used with {use}"
        )


def resolve(model: str | os.PathLike[str]) -> ResolvedModel:
    """Finds a model by name.

    Args:
        model: a preset, a model folder, or the hub id of one. A preset goes before a folder of the
            same name; "./NAME" is always a folder.

    Returns:
        Its configuration; the weights are fetched only when asked for.

    Raises:
        ModelError: no such model; lists the presets and says what else is accepted.
        ConfigError: its configuration is wrong; names file, key and value.
    """
    if isinstance(model, str) and (preset := available_presets().get(model)):
        if preset.name == CONFIG_FILE:
            return ResolvedModel(load_json(preset, ModelConfig), preset.parent, confined=True)
        return ResolvedModel(_load_preset(preset), preset.parent, confined=False)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ResolvedModel(_load_folder(folder), folder, confined=True)
    hub_id = hub.HubId.parse(model) if isinstance(model, str) else None
    if hub_id:
        return _resolve_on_hub(hub_id)
    raise ModelError(
        f"unknown model {os.fspath(model)!r}; presets: {', '.join(available_presets())}; else give "
        f"a model folder, a hub id 'owner/name', or add a preset: {_own_presets()}/NAME.toml"
    )


def available_presets() -> dict[str, Path]:
    """Every preset by name, with its file: those bundled first, then the user's own.

    Raises:
        ModelError: $SPIRE_DSU_PRESETS names nothing, or two files claim one name.
    """
    found: dict[str, Path] = {}
    for name, path in _preset_files():
        if name in found:
            raise ModelError(f"preset {name!r} is in two files: {found[name]} and {path}")
        found[name] = path
    return found


def encoder_folder(folder: str | os.PathLike[str], reference: str | None = None) -> Path:
    """The folder of a Hugging Face encoder: `config.json` and weights.

    Weights are safetensors; `pytorch_model.bin`, which only the encoder's own reader opens, is
    fetched from a repository that holds nothing else.

    Args:
        folder: a local folder; or a hub id, which is fetched when first used.
        reference: the name to try on the hub where there is no such folder; `folder` if absent.

    Returns:
        A local folder.

    Raises:
        ModelError: neither is there, or it has no weights.
    """
    reference = os.fspath(folder) if reference is None else reference
    path = Path(folder).expanduser()
    if path.is_dir():
        if not _has_encoder(path):
            raise ModelError(_no_encoder(path))
        return path
    hub_id = hub.HubId.parse(reference)
    if hub_id is None:
        raise ModelError(f"encoder {reference!r}: no such folder, and not a hub id 'owner/name'")
    try:
        return hub.fetch(hub_id, _SAFE_FILES, _has_encoder, "config.json and model.safetensors")
    except ModelError:
        wanted = ["config.json", _PICKLED]
        return hub.fetch(hub_id, wanted, _has_encoder, "config.json and weights")


def cache_folder() -> Path:
    """Where imported codebooks are kept: $SPIRE_DSU_CACHE, or `~/.cache/spire_dsu`."""
    named = os.environ.get("SPIRE_DSU_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "spire_dsu"


def imported_codebook(source: str | os.PathLike[str]) -> Path:
    """Where the imported form of a pickled codebook is looked for: by the SHA-256 of its bytes.

    Raises:
        OSError: the source cannot be read.
    """
    return cache_folder() / "codebooks" / f"{sha256_of_file(source)}.safetensors"


def _resolve_on_hub(hub_id: hub.HubId) -> ResolvedModel:
    try:
        folder = hub.fetch(
            hub_id, [CONFIG_FILE], lambda f: (f / CONFIG_FILE).is_file(), CONFIG_FILE
        )
    except ModelError as error:
        raise ModelError(f"no folder {str(hub_id)!r} here, and as a hub id: {error}") from error
    model = ResolvedModel(_load_folder(folder), folder, confined=True)
    # What the configuration names by a relative path comes from the same repository.
    wanted = []
    if not hub.HubId.parse(model.config.encoder):
        wanted += [f"{model.config.encoder}/{name}" for name in _SAFE_FILES]
    if not hub.HubId.parse_file(model.config.codebook):
        wanted.append(model.config.codebook)
    if wanted:
        hub.fetch(hub_id, wanted, model.has_local_parts, "encoder and codebook")
    return model


def _preset_files() -> Iterator[tuple[str, Path]]:
    for path in sorted((_PACKAGE / "preset_files").glob("*.toml")):
        yield path.stem, path
    for path in sorted((_PACKAGE / "models").glob(f"*/{CONFIG_FILE}")):
        yield path.parent.name, path
    named = os.environ.get("SPIRE_DSU_PRESETS")
    if named:
        place = Path(named).expanduser()
        if not place.exists():
            raise ModelError(f"SPIRE_DSU_PRESETS: no such file or folder: {named!r}")
        for path in sorted(place.glob("*.toml")) if place.is_dir() else [place]:
            yield path.stem, path
    for path in sorted(_own_presets().glob("*.toml")):
        yield path.stem, path


def _own_presets() -> Path:
    return Path.home() / ".config" / "spire_dsu" / "presets"


def _load_preset(path: Path) -> ModelConfig:
    config = load_toml(path, ModelConfig)
    if config.name != path.stem:
        raise ModelError(f"{path}: name {config.name!r} must be the file's, {path.stem!r}")
    return config


def _load_folder(folder: Path) -> ModelConfig:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise ModelError(f"{folder}: no model folder, it has no {CONFIG_FILE}")
    try:
        return load_json(path, ModelConfig)
    except ConfigError as error:
        if '"model_type"' in path.read_text(encoding="utf-8", errors="replace"):
            raise ModelError(
                f"{folder}: this is a Hugging Face encoder, which has no codebook; join the two "
                "with Discretizer.from_parts(encoder=..., centroids=..., layer=...)"
            ) from error
        raise


def _has_encoder(folder: Path) -> bool:
    weights = any((folder / name).is_file() for name in (*_SAFETENSORS, _PICKLED))
    return weights and (folder / "config.json").is_file()


def _no_encoder(folder: Path) -> str:
    here = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    return f"{folder}: no encoder, needs config.json and model.safetensors, has {here}"


def _imported(source: Path, origin: str) -> Path:
    """The imported form of a pickle from the hub, or the error that says how to make it."""
    path = imported_codebook(source)
    if not path.is_file():
        raise ModelError(
            f"the codebook of {origin} is a pickle, and reading a pickle can run code; if you "
            f"trust its source, import it once: spire-dsu import-codebook {source} --trust-pickle "
            f"--out {path}"
        )
    recorded = load_codebook(path).metadata.get("source_sha256")
    if recorded != path.stem:
        raise ModelError(
            f"{path}: was not imported from {source}, its source_sha256 is {recorded!r}"
        )
    return path
