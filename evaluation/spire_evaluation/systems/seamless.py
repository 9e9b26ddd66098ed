"""SeamlessM4T v2 (Barrault et al. 2023): ASR, ST and MT, greedy as in the paper."""

from __future__ import annotations

from collections.abc import Callable

from spire_dsu.types import SAMPLING_RATE, Float32
from spire_evaluation.items import SPEECH, Item, TestSet
from spire_evaluation.systems.base import Baseline
from spire_evaluation.systems.torch_models import device, load_processor

CODES = {
    "en": "eng",
    "de": "deu",
    "es": "spa",
    "fr": "fra",
    "it": "ita",
    "ko": "kor",
    "nl": "nld",
    "pt": "por",
    "ru": "rus",
    "zh": "cmn",
}


class Seamless(Baseline):
    """SeamlessM4Tv2ForSpeechToText and SeamlessM4Tv2ForTextToText.

    Its authors decode with five beams and a filter of repeated n-grams; the paper's numbers, and
    these, are greedy, which understates it.
    """

    tasks = frozenset({"asr", "st", "mt"})
    languages = frozenset(CODES)

    def load(self, test: TestSet) -> Callable[[list[Item], list[Float32]], list[str]]:
        """See `Baseline`."""
        from transformers import SeamlessM4Tv2ForSpeechToText, SeamlessM4Tv2ForTextToText

        speech = test.task in SPEECH
        processor = load_processor(self.config)
        kind = SeamlessM4Tv2ForSpeechToText if speech else SeamlessM4Tv2ForTextToText
        model = self.model(kind)

        def ask(items: list[Item], waves: list[Float32]) -> list[str]:
            if speech:
                inputs = processor(audio=waves, sampling_rate=SAMPLING_RATE, return_tensors="pt")
                inputs["input_features"] = inputs["input_features"].to(model.dtype)
            else:
                texts = [item.source or "" for item in items]
                inputs = processor(
                    text=texts, src_lang=CODES[test.src], return_tensors="pt", padding=True
                )
            made = model.generate(
                **inputs.to(device()),
                tgt_lang=CODES[test.tgt],
                do_sample=False,
                num_beams=1,
                max_new_tokens=self.config.max_new_tokens,
            )
            answers: list[str] = processor.batch_decode(made, skip_special_tokens=True)
            return [text.strip() for text in answers]

        return ask
