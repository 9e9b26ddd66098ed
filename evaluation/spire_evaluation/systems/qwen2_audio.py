"""Qwen2-Audio (Chu et al. 2024), the base model: ASR and ST by its own raw prompts."""

from __future__ import annotations

from collections.abc import Callable

from spire_dsu.llm.prompts import LANGUAGES
from spire_dsu.types import SAMPLING_RATE, Float32
from spire_evaluation.items import Item, TestSet
from spire_evaluation.systems.base import Baseline
from spire_evaluation.systems.torch_models import device, load_processor

_AUDIO = "<|audio_bos|><|AUDIO|><|audio_eos|>"


class Qwen2Audio(Baseline):
    """Qwen2AudioForConditionalGeneration.

    The prompts are those of its authors' evaluation; Chinese is "Mandarin" there. The paper's table
    has no Korean of it, and prints numbers for it all the same.
    """

    tasks = frozenset({"asr", "st"})
    languages = frozenset(LANGUAGES)

    def load(self, test: TestSet) -> Callable[[list[Item], list[Float32]], list[str]]:
        """See `Baseline`."""
        from transformers import Qwen2AudioForConditionalGeneration

        processor = load_processor(self.config)
        processor.tokenizer.padding_side = "left"
        model = self.model(Qwen2AudioForConditionalGeneration)
        asked = prompt(test)

        def ask(items: list[Item], waves: list[Float32]) -> list[str]:
            inputs = processor(
                text=[asked] * len(items),
                audio=waves,
                sampling_rate=SAMPLING_RATE,
                return_tensors="pt",
                padding=True,
            )
            inputs["input_features"] = inputs["input_features"].to(model.dtype)
            made = model.generate(
                **inputs.to(device()),
                do_sample=False,
                num_beams=1,
                min_new_tokens=1,
                max_new_tokens=self.config.max_new_tokens,
            )
            answers: list[str] = processor.batch_decode(
                made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
            )
            return [text.strip() for text in answers]

        return ask


def prompt(test: TestSet) -> str:
    """The raw prompt of a task."""
    tag = f"<|{test.src}|>"
    if test.task == "asr":
        return f"{_AUDIO}Detect the language and recognize the speech: {tag}"
    name = "Mandarin" if test.tgt == "zh" else LANGUAGES[test.tgt]
    return f"{_AUDIO}Detect the language and translate the speech into {name}: {tag}"
