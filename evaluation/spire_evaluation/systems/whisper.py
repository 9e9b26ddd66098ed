"""Whisper (Radford et al. 2023): ASR, greedy, without the pipeline's chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spire_dsu.types import SAMPLING_RATE, Float32
from spire_evaluation.items import Item, TestSet
from spire_evaluation.systems.base import Baseline
from spire_evaluation.systems.torch_models import device, load_processor

_WINDOW = 30 * SAMPLING_RATE


class Whisper(Baseline):
    """WhisperForConditionalGeneration.

    Recordings over 30 s are decoded alone, window after window, each where the last one ended, as
    in OpenAI's own code; the pipeline's overlapping chunks give another result.
    """

    tasks = frozenset({"asr"})
    languages = frozenset({"en", "de", "es", "fr", "it", "ko", "nl", "pt", "ru", "zh"})

    def load(self, test: TestSet) -> Callable[[list[Item], list[Float32]], list[str]]:
        """See `Baseline`."""
        from transformers import WhisperForConditionalGeneration

        processor = load_processor(self.config)
        model = self.model(WhisperForConditionalGeneration)
        language: dict[str, Any] = {}
        if getattr(model.generation_config, "is_multilingual", True):
            language = {"language": test.src, "task": "transcribe"}

        def batch(waves: list[Float32]) -> list[str]:
            long = any(wave.size > _WINDOW for wave in waves)
            inputs = processor(
                waves,
                sampling_rate=SAMPLING_RATE,
                return_tensors="pt",
                truncation=not long,
                padding="longest" if long else "max_length",
                return_attention_mask=True,
            ).to(device())
            made = model.generate(
                inputs.input_features.to(model.dtype),
                attention_mask=inputs.attention_mask,
                do_sample=False,
                num_beams=1,
                max_new_tokens=self.config.max_new_tokens,
                **({"return_timestamps": True} if long else {}),
                **language,
            )
            texts: list[str] = processor.batch_decode(made, skip_special_tokens=True)
            return [text.strip() for text in texts]

        def ask(items: list[Item], waves: list[Float32]) -> list[str]:
            del items
            short = [wave for wave in waves if wave.size <= _WINDOW]
            texts = iter(batch(short) if short else [])
            return [next(texts) if w.size <= _WINDOW else batch([w])[0] for w in waves]

        return ask
