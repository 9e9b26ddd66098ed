"""Whole runs on a CPU: they learn, they agree however they are divided, and they survive."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import cpt_inside
import cpt_makers
import numpy as np
import pytest
from cpt_makers import curve, run, start, weights

from spire_dsu.errors import ConfigError
from spire_dsu.locking import lock_folder
from spire_dsu.storage import DISK
from spire_training.cpt import command

KILLS = 5 * int(os.environ.get("SPIRE_TEST_MULTIPLIER", "1"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model, data, and the run that the others are compared with."""
    made = tmp_path_factory.mktemp("cpt")
    cpt_makers.base(made / "base")
    vocabulary = json.loads((made / "base" / "config.json").read_text())["vocab_size"]
    cpt_makers.packed(made / "data", vocabulary)
    assert run(cpt_inside.train, cpt_makers.config(made, "alone", log=_held()))
    return made


def _held() -> dict[str, Any]:
    return {"held_every": 6, "held_rows": 4, "tensorboard": False}


def losses(rows: list[dict[str, str]]) -> list[float]:
    return [float(row["loss"]) for row in rows]


def test_it_learns_and_tells(folder: Path) -> None:
    rows = curve(folder / "alone")
    assert [int(row["step"]) for row in rows] == list(range(1, 13))
    assert losses(rows)[-1] < 0.6 * losses(rows)[0]
    assert float(rows[-1]["held_loss"]) < 0.6 * losses(rows)[0]
    for kind in ("units", "transcript", "parallel", "monolingual"):
        assert float(rows[-1][f"loss_{kind}"]) < float(rows[0][f"loss_{kind}"])
        assert float(rows[-1][f"held_{kind}"]) > 0
    assert rows[0]["held_loss"] == rows[0]["loss_prompt"] == ""
    assert float(rows[0]["lr"]) == 0.0
    assert max(float(row["lr"]) for row in rows) == pytest.approx(3e-3)
    assert int(rows[-1]["sequences"]) == 12 * 8


def test_product_is_a_hugging_face_folder(folder: Path) -> None:
    import transformers

    model, about = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "alone" / "hf", output_loading_info=True
    )
    assert not any(about.values())
    assert model.dtype.is_floating_point
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "alone" / "hf")
    assert len(tokenizer) == model.config.vocab_size
    old = weights(folder / "base")
    assert any(
        not np.array_equal(old[name], new) for name, new in weights(folder / "alone" / "hf").items()
    )


@pytest.mark.parametrize(
    "parallel",
    [
        {},
        {"distributed_optimizer": True},
        {"tensor": 2},
        {"pipeline": 2},
    ],
    ids=["data", "data, distributed optimizer", "tensor", "pipeline"],
)
def test_two_processes_learn_the_same(folder: Path, parallel: dict[str, Any]) -> None:
    name = "two-" + "-".join(parallel)
    two = cpt_makers.config(folder, name, parallel=parallel, log=_held())
    assert run(cpt_inside.train, two, world=2)
    for mine, other in zip(curve(folder / "alone"), curve(folder / name), strict=True):
        for key, value in mine.items():
            assert (value == "") == (other[key] == "")
            if value:
                assert float(other[key]) == pytest.approx(float(value), rel=1e-5), key
    for weight, value in weights(folder / "alone" / "hf").items():
        np.testing.assert_allclose(weights(folder / name / "hf")[weight], value, atol=2e-5)


def test_killed_anywhere_it_ends_the_same(folder: Path) -> None:
    """The loss of every update and every final weight, bit for bit."""
    whole = cpt_makers.config(folder, "whole")
    assert run(cpt_inside.train, whole)
    killed = cpt_makers.config(folder, "killed")
    chance = random.Random(4)
    done = 0
    for kill in range(KILLS):
        if (killed.out / "hf").exists():
            killed.out.rename(folder / f"killed-{kill}")
        at = min(11, _lines(killed.out) + chance.randrange(4))
        processes, wait = start(cpt_inside.train, killed)
        while processes[0].is_alive() and _lines(killed.out) < at:
            time.sleep(0.002)
        processes[0].kill()
        wait()
        done += 1
    assert done == KILLS
    assert run(cpt_inside.train, killed)
    assert curve(killed.out) == curve(whole.out)
    for name, value in weights(whole.out / "hf").items():
        np.testing.assert_array_equal(weights(killed.out / "hf")[name], value)


def _lines(out: Path) -> int:
    try:
        return (out / "log.csv").read_bytes().count(b"\n") - 1
    except FileNotFoundError:
        return 0


def test_number_of_processes_may_change(folder: Path) -> None:
    """SIGTERM ends a run in good order; it goes on with more processes and the same rows."""
    config = cpt_makers.config(folder, "grown", parallel={"distributed_optimizer": True})
    processes, wait = start(cpt_inside.train, config)
    while _lines(config.out) < 4:
        time.sleep(0.002)
    os.kill(processes[0].pid, signal.SIGTERM)
    assert wait() == [(False,)]
    stopped = _lines(config.out)
    latest = json.loads((config.out / "checkpoints" / "latest.json").read_text())
    assert latest["step"] == stopped < 12
    assert run(cpt_inside.train, config, world=2)
    reference = losses(curve(folder / "alone"))
    assert losses(curve(config.out)) == pytest.approx(reference, rel=1e-5)


def test_bfloat16_goes_on_exactly(folder: Path) -> None:
    """The weights are rounded; what goes on are the float32 ones behind them."""
    whole = cpt_makers.config(folder, "whole-bf16", precision="bf16")
    assert run(cpt_inside.train, whole)
    assert losses(curve(whole.out))[-1] < 0.7 * losses(curve(whole.out))[0]
    parted = cpt_makers.config(folder, "parted-bf16", precision="bf16")
    processes, wait = start(cpt_inside.train, parted)
    while _lines(parted.out) < 4:
        time.sleep(0.002)
    os.kill(processes[0].pid, signal.SIGTERM)
    assert wait() == [(False,)]
    assert run(cpt_inside.train, parted)
    assert curve(parted.out) == curve(whole.out)
    for name, value in _raw(whole.out / "hf").items():
        assert _raw(parted.out / "hf")[name] == value


def _raw(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_a_finished_run_stays(folder: Path) -> None:
    before = (folder / "alone" / "log.csv").read_bytes()
    assert run(cpt_inside.train, cpt_makers.config(folder, "alone"))
    assert (folder / "alone" / "log.csv").read_bytes() == before


def test_another_run_is_refused_by_name(folder: Path) -> None:
    assert run(cpt_inside.train, cpt_makers.config(folder, "other", steps=3))
    (folder / "other" / "hf").rename(folder / "other" / "hf-away")
    changed = {"lr": 2e-3, "min_lr": 1e-4, "warmup_steps": 2}
    config = cpt_makers.config(folder, "other", steps=3, optimizer=changed)
    result = start(cpt_inside.train, config)[1]()[0]
    assert "CheckpointError" in result
    assert "optimizer.lr was 0.003, is 0.002" in result


def test_a_second_run_in_the_folder_is_refused(folder: Path) -> None:
    config = cpt_makers.config(folder, "busy")
    lock = lock_folder(config.out / ".tmp" / "run", DISK)
    result = start(cpt_inside.train, config)[1]()[0]
    os.close(lock)
    assert "LockedError" in result
    assert f"{config.out} is in use by process {os.getpid()}" in result


def test_processes_are_checked_before_they_start(folder: Path) -> None:
    path = folder / "odd.toml"
    paths = {name: str(folder / name) for name in ("base", "data", "odd")}
    path.write_text(
        f'model = "{paths["base"]}"\ndata = "{paths["data"]}"\nout = "{paths["odd"]}"\n'
        "batch = {sequences = 8}\nparallel = {tensor = 2}\n"
    )
    with pytest.raises(ConfigError, match="3 processes are no multiple of"):
        command.run(path, 3)
    assert not (folder / "odd").exists()


@pytest.mark.parametrize(
    ("at", "stops", "saved", "reason"),
    [(4, 5, 3, "the loss is nan"), (6, 6, 3, "a weight is not a number")],
)
def test_not_a_number_stops_and_keeps_the_rows(
    folder: Path, at: int, stops: int, saved: int, reason: str
) -> None:
    config = cpt_makers.config(folder, f"poisoned-{at}")
    result = start(cpt_inside.train_poisoned, config, at)[1]()[0]
    assert "TrainingError" in result
    assert f"update {stops}: {reason}" in result
    report = json.loads((config.out / "stopped.json").read_text())
    from spire_training.data.packed import order

    assert report["step"] == stops
    rows = [int(order(0, n // 48, 48)[n % 48]) for n in range(8 * stops - 8, 8 * stops)]
    assert report["rows"] == rows
    latest = json.loads((config.out / "checkpoints" / "latest.json").read_text())
    assert latest["step"] == saved
    assert run(cpt_inside.train, config), "it goes on from the last good checkpoint"
    assert all(math.isfinite(loss) for loss in losses(curve(config.out)))


def test_units_can_be_left_out(folder: Path) -> None:
    config = cpt_makers.config(folder, "text", steps=2, learn_units=False)
    assert run(cpt_inside.train, config)
    rows = curve(config.out)
    assert [row["loss_units"] for row in rows] == ["", ""]
    assert float(rows[0]["loss_transcript"]) == pytest.approx(
        float(curve(folder / "alone")[0]["loss_transcript"])
    )


def test_micro_batches_in_which_nothing_counts(folder: Path) -> None:
    """Half of the rows are units alone, one row at a time: as if all rows were taken at once."""
    vocabulary = json.loads((folder / "base" / "config.json").read_text())["vocab_size"]
    data = cpt_makers.packed(folder / "units", vocabulary, units_alone=True)
    curves = []
    for name, micro in (("one", 1), ("all", 8)):
        batch = {"sequences": 8, "micro": micro}
        config = cpt_makers.config(
            folder, name, data=str(data), steps=3, learn_units=False, batch=batch
        )
        assert run(cpt_inside.train, config)
        curves.append(losses(curve(config.out)))
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)
    assert curves[0][-1] < curves[0][0]
