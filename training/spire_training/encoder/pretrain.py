"""One round of masked prediction: HuBERT's loss on hidden frames, AdamW, warm-up and cosine,
resumable.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional

from spire_dsu.files import write_atomically
from spire_training.encoder.batches import Batches
from spire_training.encoder.model import MaskedPredictor
from spire_training.encoder.settings import Optimiser, Settings

BETAS = (0.9, 0.98)
CHECKPOINT = "checkpoint.safetensors"


def learning_rate(step: int, steps: int, settings: Optimiser) -> float:
    """Linear to the peak over the warm-up, then half a cosine down to 0 at the last step."""
    warm = max(1, round(settings.warmup_share * steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    return (
        settings.learning_rate
        * 0.5
        * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
    )


class Round:
    """A model in training, its optimiser and the step it stands at.

    Args:
        model: trained in place.
        settings: of the whole recipe; `optimiser` and `seed` are used.
        steps: length of the round, which shapes the learning rate.
        folder: where the checkpoint and `log.jsonl` are; a checkpoint found there is continued.
    """

    def __init__(
        self, model: MaskedPredictor, settings: Settings, steps: int, folder: Path
    ) -> None:
        self.model, self._settings, self._steps, self._folder = model, settings, steps, folder
        self._names = [name for name, _ in model.named_parameters()]
        self._optimiser = torch.optim.AdamW(
            model.parameters(), betas=BETAS, weight_decay=settings.optimiser.weight_decay
        )
        self.step = 0
        if (folder / CHECKPOINT).exists():
            self._load()

    def run(self, batches: Batches, report: Callable[[str], None], stop: int | None = None) -> None:
        """Train to the last step, or to step `stop`."""
        self.model.train()
        began, first = time.monotonic(), self.step
        last = self._steps if stop is None else min(stop, self._steps)
        losses: list[float] = []
        hits: list[float] = []
        while self.step < last:
            loss, accuracy = self._advance(batches)
            losses.append(loss)
            hits.append(accuracy)
            if self.step % 20 == 0 or self.step == last:
                row = {
                    "step": self.step,
                    "loss": round(sum(losses) / len(losses), 4),
                    "accuracy": round(sum(hits) / len(hits), 4),
                    "seconds_per_step": round((time.monotonic() - began) / (self.step - first), 3),
                }
                with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
                    log.write(json.dumps(row) + "\n")
                report(str(row))
                losses, hits = [], []
            if self.step % self._settings.optimiser.checkpoint_steps == 0 or self.step == last:
                self._save()

    def _advance(self, batches: Batches) -> tuple[float, float]:
        """One step of the optimiser; the loss and the share of hidden frames that were predicted
        right.
        """
        optimiser = self._settings.optimiser
        torch.manual_seed(
            self._settings.seed * 1_000_003 + self.step
        )  # dropout: resumed = uninterrupted
        batch = batches[self.step]
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self._steps, optimiser)
        with torch.autocast("cpu", torch.bfloat16, enabled=optimiser.bfloat16):
            logits = self.model(batch.waves, batch.mask)
        losses = functional.cross_entropy(logits.transpose(1, 2), batch.targets, reduction="none")
        loss = losses[batch.mask].mean()
        total = loss + optimiser.seen_weight * losses[~batch.mask].mean()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), optimiser.gradient_norm)
        self._optimiser.step()
        self.step += 1
        right = logits.argmax(dim=-1) == batch.targets
        return loss.item(), right[batch.mask].float().mean().item()

    def _save(self) -> None:
        tensors: dict[str, Tensor] = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self._optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = value
        data = safetensors.torch.save(tensors, {"step": str(self.step)})
        write_atomically(self._folder / CHECKPOINT, data)

    def _load(self) -> None:
        with safetensors.safe_open(self._folder / CHECKPOINT, "pt") as file:
            self.step = int(file.metadata()["step"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        self.model.load_state_dict(_under("model.", tensors))
        state = self._optimiser.state_dict()
        state["state"] = {
            number: {
                key: tensors[f"optimiser.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
            for number, name in enumerate(self._names)
            if f"optimiser.step.{name}" in tensors
        }
        self._optimiser.load_state_dict(state)


def load_model(model: MaskedPredictor, folder: Path) -> None:
    """Give a model the weights that a round ended with."""
    tensors = safetensors.torch.load_file(folder / CHECKPOINT)
    model.load_state_dict(_under("model.", tensors))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
