"""Files of the Hugging Face hub, fetched when first used: only those needed, local copies first."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from spire_dsu.errors import ModelError

_ID = r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?:@[\w./-]+)?"
_ID_ALONE = re.compile(_ID)
_ID_AND_FILE = re.compile(rf"({_ID}):((?!/)(?!.*\.\.)[\w./-]+)")


@dataclass(frozen=True, slots=True)
class HubId:
    """A repository on the hub, "owner/name" or "owner/name@revision"."""

    repository: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubId | None:
        """The id that the text is, or `None` where it is no id."""
        if not _ID_ALONE.fullmatch(text):
            return None
        repository, _, revision = text.partition("@")
        return cls(repository, revision or None)

    @classmethod
    def parse_file(cls, text: str) -> tuple[HubId, str] | None:
        """The id and the file in it that "owner/name:file" means, or `None` for another form."""
        match = _ID_AND_FILE.fullmatch(text)
        hub_id = cls.parse(match[1]) if match else None
        return (hub_id, match[2]) if match and hub_id else None

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository

    def download_command(self, files: Sequence[str], folder: str) -> str:
        """What a user types, where there is a network, to have the files in a folder."""
        revision = f" --revision {self.revision}" if self.revision else ""
        wanted = " ".join(f"--include {shlex.quote(name)}" for name in files)
        return f"hf download {self.repository} {wanted}{revision} --local-dir {folder}"


def fetch(
    hub_id: HubId, patterns: Sequence[str], is_complete: Callable[[Path], bool], what: str
) -> Path:
    """A local folder with the wanted files of a repository; only missing ones need the network.

    Args:
        hub_id: the repository.
        patterns: names of the wanted files, `*` allowed. Nothing else is fetched.
        is_complete: tells whether a folder holds all that is needed.
        what: the needed files in words, for the error.

    Returns:
        The folder of the snapshot in the hub's own cache ($HF_HOME).

    Raises:
        ModelError: says which files of which repository are missing, and why they were not had.
    """
    from huggingface_hub import snapshot_download

    reason = ""
    for local_only in (True, False):
        try:
            # By snapshot, also for one file: the call for one file retries for 23 s when offline.
            folder = Path(
                snapshot_download(
                    hub_id.repository,
                    revision=hub_id.revision,
                    allow_patterns=list(patterns),
                    local_files_only=local_only,
                )
            )
        except Exception as error:  # whatever the network stack of the day raises
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            continue
        if is_complete(folder):
            return folder
        reason = f"the repository as fetched to {folder} does not hold them"
    raise ModelError(f"{what} of {hub_id}: not on this machine and not fetched ({reason})")
