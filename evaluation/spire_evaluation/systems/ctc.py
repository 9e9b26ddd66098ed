"""HuBERT with a CTC head: the best letter of each frame.

The project's own model has hidden layers that transformers' class lacks; its answers come in as
files (`imported`).
"""

from __future__ import annotations

from collections.abc import Callable

from spire_dsu.types import SAMPLING_RATE, Float32
from spire_evaluation.items import Item, TestSet
from spire_evaluation.systems.base import Baseline
from spire_evaluation.systems.torch_models import device, load_processor


class Ctc(Baseline):
    """HubertForCTC, or another CTC model that transformers knows by its configuration."""

    tasks = frozenset({"asr"})
    languages = frozenset({"en"})

    def load(self, test: TestSet) -> Callable[[list[Item], list[Float32]], list[str]]:
        """See `Baseline`."""
        import torch
        from transformers import AutoModelForCTC

        del test
        processor = load_processor(self.config)
        model = self.model(AutoModelForCTC)

        def one(wave: Float32) -> str:
            # Alone: group-norm extractors hear the padding, and a batch would change the answer.
            inputs = processor(wave, sampling_rate=SAMPLING_RATE, return_tensors="pt")
            with torch.inference_mode():
                logits = model(inputs.input_values.to(device(), model.dtype)).logits
            text: str = processor.batch_decode(logits.argmax(-1))[0]
            return text.strip()

        def ask(items: list[Item], waves: list[Float32]) -> list[str]:
            del items
            return [one(wave) for wave in waves]

        return ask
