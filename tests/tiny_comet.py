"""Tiny random COMET models, in the layout of the released ones. Run by the environment of COMET.

    python tiny_comet.py FOLDER ROWS

makes FOLDER/regression (source, hypothesis, reference) and FOLDER/unified (source, hypothesis), and
writes the scores that each gives the rows (JSON), before it was ever saved, to FOLDER/scores.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytorch_lightning
import torch
import yaml
from comet.models import RegressionMetric, UnifiedMetric
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import XLMRobertaConfig, XLMRobertaModel, XLMRobertaTokenizerFast

TEXTS = ["Hello world, this is a test.", "Hallo Welt, ein Test.", "guten Morgen"] * 40
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]


def make_encoder(folder: Path) -> None:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens(["<mask>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["<s>", "$A", "</s>"],
        pair=["<s>", "$A", "</s>", "</s>", "$B", "</s>"],
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    fast = XLMRobertaTokenizerFast(tokenizer_object=tokenizer)
    fast.save_pretrained(folder)
    config = XLMRobertaConfig(
        vocab_size=len(fast) + 10,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)


def save(model: torch.nn.Module, folder: Path, identifier: str) -> None:
    trainer = pytorch_lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.strategy.connect(model)
    trainer.save_checkpoint(folder / "checkpoints" / "model.ckpt", weights_only=True)
    settings = json.loads(json.dumps(dict(model.hparams))) | {"class_identifier": identifier}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(settings))


def predict(model: torch.nn.Module, rows: list[dict[str, str]]) -> list[float]:
    return [float(score) for score in model.predict(rows, gpus=0, progress_bar=False).scores]


def main() -> None:
    folder = Path(sys.argv[1])
    rows = json.loads(Path(sys.argv[2]).read_text())
    torch.manual_seed(0)
    make_encoder(folder / "encoder")
    common = {
        "encoder_model": "XLM-RoBERTa",
        "pretrained_model": str(folder / "encoder"),
        "hidden_sizes": [16, 8],
        "local_files_only": True,
        "layer_transformation": "softmax",
    }
    regression = RegressionMetric(**common)
    unified = UnifiedMetric(**common, input_segments=["mt", "src"], sent_layer="mix", loss="mse")
    scores = {"regression": predict(regression, rows)}
    scores["unified"] = predict(unified, [{key: row[key] for key in ("src", "mt")} for row in rows])
    (folder / "scores.json").write_text(json.dumps(scores))
    save(regression, folder / "regression", "regression_metric")
    save(unified, folder / "unified", "unified_metric")


if __name__ == "__main__":
    main()
