"""`spire-dsu train cpt`: starts the processes of a run, or is one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from spire_dsu.config import load_toml
from spire_dsu.errors import ConfigError, SpireError
from spire_training.cpt.config import CptConfig, check_tokenizer, pieces, run_facts
from spire_training.data.packed import PackedRows


class RunError(SpireError):
    """A process of the run failed; what it said is on the screen."""


def run(path: Path, processes: int) -> bool:
    """Trains as a configuration file says, or goes on with what it says.

    Under torchrun this process is one of those that torchrun started. Otherwise it trains alone,
    or has torchrun start `processes` on this machine.

    Args:
        path: a TOML file, a `CptConfig`.
        processes: how many on this machine; 1 under torchrun.

    Returns:
        Whether the run is finished; False after SIGTERM.

    Raises:
        SpireError: the configuration, the data or the model cannot be used, or the loss went bad.
    """
    config = load_toml(path, CptConfig)
    if processes > 1 and "RANK" in os.environ:
        raise ConfigError(f"--nproc {processes}: torchrun has already started the processes")
    if processes == 1:
        from spire_training.cpt.loop import train

        return train(config)
    return _launch(path, config, processes)


def _check(config: CptConfig, processes: int) -> None:
    """Says once, and before anything starts, what every process would say in its own words."""
    rows = PackedRows(config.data)
    config.num_steps(len(rows))
    check_tokenizer(config, rows.manifest)
    run_facts(config)
    config.accumulation(processes // pieces(config.parallel, processes))


def _launch(path: Path, config: CptConfig, processes: int) -> bool:
    _check(config, processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", "spire_training.cpt.worker", str(path)]
    told = False
    with subprocess.Popen(command) as launcher:  # noqa: S603  (our own interpreter and module)

        def pass_on(number: int, _: FrameType | None) -> None:
            nonlocal told
            told = True
            launcher.send_signal(number)

        before = signal.signal(signal.SIGTERM, pass_on)
        try:
            status = launcher.wait()
        finally:
            signal.signal(signal.SIGTERM, before)
    if status and not told:
        raise RunError(f"{path}: the processes of the run ended with status {status}, see above")
    return (config.out / "hf").exists()
