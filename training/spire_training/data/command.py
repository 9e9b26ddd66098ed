"""`spire-dsu train prepare`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from spire_dsu.config import load_toml, validate
from spire_dsu.errors import ConfigError
from spire_training.data.prepare import prepare
from spire_training.data.settings import PrepareConfig
from spire_training.data.table import report


def prepare_command(
    config: Path, workers: int, without: Collection[str] = (), out: Path | None = None
) -> str:
    """Prepares, and returns the report of what was made.

    Args:
        config: TOML file.
        workers: processes that render.
        without: names of sources or groups to leave out: an ablation of the same configuration.
        out: the folder to make, in place of the configuration's.

    Raises:
        SpireError: see `prepare`.
        ConfigError: `without` names no source and no group, or no `out` of its own is named.
    """
    settings = load_toml(config, PrepareConfig)
    if without:
        if out is None:
            raise ConfigError("--without makes other data: name their folder with --out")
        settings = _ablated(settings, without, str(config))
    if out is not None:
        settings = settings.model_copy(update={"out": str(out)})
    return report(prepare(settings, workers=workers))


def _ablated(settings: PrepareConfig, without: Collection[str], source: str) -> PrepareConfig:
    names = {one for source in settings.sources for one in (source.name, source.group)}
    if unknown := sorted(set(without) - names):
        raise ConfigError(f"{source}: no source or group {', '.join(unknown)}: {sorted(names)}")
    content = settings.model_dump(mode="json")
    kept = [s for s in content["sources"] if s["name"] not in without and s["group"] not in without]
    groups = {s["group"] for s in kept}
    content["sources"] = kept
    content["groups"] = {name: g for name, g in content["groups"].items() if name in groups}
    return validate(content, PrepareConfig, source)
