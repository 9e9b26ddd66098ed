"""Random checkpoints of the baselines' architectures, a few thousand weights each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tiny_llm import tiny_tokenizer
from tokenizers import AddedToken

LANGUAGES = ("en", "de", "es", "fr", "it", "ko", "nl", "pt", "ru", "zh")


def _settings(folder: Path, **values: Any) -> None:
    """Adds to generation_config.json what the published folders have in theirs."""
    path = folder / "generation_config.json"
    known = json.loads(path.read_text())
    known.pop("_from_model_config", None)  # or transformers makes it anew
    path.write_text(json.dumps(known | values))


def tiny_whisper(folder: Path) -> Path:
    """A multilingual Whisper with two timestamps' worth of vocabulary."""
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
    )

    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.backend_tokenizer.post_processor = None
    codes = [f"<|{code}|>" for code in LANGUAGES]
    marks = ["<|endoftext|>", "<|startoftranscript|>", *codes, "<|transcribe|>", "<|translate|>"]
    marks += ["<|startofprev|>", "<|notimestamps|>"]
    marks += [f"<|{k * 0.02:.2f}|>" for k in range(1501)]
    tokenizer.add_tokens([AddedToken(m, normalized=False) for m in marks], special_tokens=True)
    ids = tokenizer.get_vocab()
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=len(tokenizer),
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_ffn_dim=32,
            num_mel_bins=80,
            pad_token_id=ids["<|endoftext|>"],
            bos_token_id=ids["<|endoftext|>"],
            eos_token_id=ids["<|endoftext|>"],
            decoder_start_token_id=ids["<|startoftranscript|>"],
            suppress_tokens=None,
            begin_suppress_tokens=None,
            init_std=0.3,
        )
    )
    with torch.no_grad():  # marks and bytes would often win, and leave no text
        model.model.decoder.embed_tokens.weight[ids["<|endoftext|>"] :] *= 0.1
        model.model.decoder.embed_tokens.weight[:260] *= 0.1
    model.save_pretrained(folder)
    _settings(
        folder,
        is_multilingual=True,
        lang_to_id={code: ids[code] for code in codes},
        task_to_id={name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        no_timestamps_token_id=ids["<|notimestamps|>"],
        prev_sot_token_id=ids["<|startofprev|>"],
        max_length=448,
    )
    WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)
    return folder


def tiny_qwen2_audio(folder: Path) -> Path:
    """Qwen2-Audio: a Whisper encoder of one layer before a Qwen2 of one layer."""
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.backend_tokenizer.post_processor = None
    marks = ["<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>", "<|en|>"]
    tokenizer.add_tokens([AddedToken(m, normalized=False) for m in marks], special_tokens=True)
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    audio = {
        "d_model": 32, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32,
        "num_mel_bins": 128, "model_type": "qwen2_audio_encoder",
    }  # fmt: skip
    text = {
        "model_type": "qwen2", "vocab_size": len(tokenizer), "hidden_size": 32,
        "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "max_position_embeddings": 2048, "initializer_range": 0.3,
        "eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id,
    }  # fmt: skip
    config = Qwen2AudioConfig(
        audio_config=audio, text_config=text, audio_token_index=tokenizer.get_vocab()["<|AUDIO|>"]
    )
    model = Qwen2AudioForConditionalGeneration(config)
    model.generation_config.pad_token_id = tokenizer.eos_token_id
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=128)
    Qwen2AudioProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def tiny_seamless(folder: Path, scratch: Path) -> Path:
    """SeamlessM4T v2, whole: both directions of speech and text load parts of it."""
    from transformers import (
        SeamlessM4TFeatureExtractor,
        SeamlessM4TProcessor,
        SeamlessM4TTokenizer,
        SeamlessM4Tv2Config,
        SeamlessM4Tv2Model,
    )

    codes = ["eng", "deu", "spa", "fra", "ita", "kor", "nld", "por", "rus", "cmn"]
    tokenizer = SeamlessM4TTokenizer(
        vocab_file=_sentencepiece(scratch),
        additional_special_tokens=[f"__{code}__" for code in codes],
        src_lang="eng",
        tgt_lang="deu",
    )
    size = max(tokenizer.get_vocab().values()) + 1
    torch.manual_seed(0)
    small: dict[str, Any] = {
        "hidden_size": 32,
        "vocab_size": size,
        "encoder_layers": 1, "decoder_layers": 1, "speech_encoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "speech_encoder_attention_heads": 2,
        "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "speech_encoder_intermediate_size": 32,
        "t2u_vocab_size": 20, "t2u_encoder_layers": 1, "t2u_decoder_layers": 1,
        "t2u_encoder_attention_heads": 2, "t2u_decoder_attention_heads": 2,
        "t2u_encoder_ffn_dim": 32, "t2u_decoder_ffn_dim": 32, "char_vocab_size": 20,
        "unit_hifi_gan_vocab_size": 20, "unit_embed_dim": 8, "lang_embed_dim": 8,
        "spkr_embed_dim": 8, "upsample_initial_channel": 64, "vocoder_num_langs": 2,
        "vocoder_num_spkrs": 2, "initializer_range": 0.3,
        "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    model = SeamlessM4Tv2Model(SeamlessM4Tv2Config(**small))
    ids = tokenizer.get_vocab()
    model.save_pretrained(folder)
    _settings(folder, text_decoder_lang_to_code_id={c: ids[f"__{c}__"] for c in codes})
    extractor = SeamlessM4TFeatureExtractor()
    SeamlessM4TProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder


def _sentencepiece(scratch: Path) -> str:
    import sentencepiece

    text = scratch / "text.txt"
    text.write_text("the cat sat on a mat\ndie katze sass da\nhello world\n" * 30)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(scratch / "pieces"), vocab_size=60, model_type="bpe",
        character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    return str(scratch / "pieces.model")


def tiny_ctc(folder: Path, scratch: Path) -> Path:
    """HuBERT of one layer under a CTC head of letters."""
    from transformers import (
        HubertConfig,
        HubertForCTC,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2Processor,
    )

    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghij"]
    path = scratch / "vocab.json"
    path.write_text(json.dumps({letter: k for k, letter in enumerate(letters)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(path))
    torch.manual_seed(0)
    config = HubertConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        conv_dim=(16,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer", do_stable_layer_norm=True, vocab_size=len(letters),
        pad_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    HubertForCTC(config).save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    Wav2Vec2Processor(extractor, tokenizer).save_pretrained(folder)
    return folder
