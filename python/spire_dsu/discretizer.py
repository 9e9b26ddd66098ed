"""Speech in, units out: the one object that holds an encoder and a codebook.

    audio -> features ==> units

A unit is the index of the centroid nearest to a HuBERT frame of 20 ms; runs of one unit are merged
(SPIRE, section 3.1). The units of an utterance depend on its own samples, the model and the
configuration, never on its neighbours.
"""

from __future__ import annotations

import functools
import os
import shutil
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spire_dsu.audio import as_waveforms, decoder_fingerprint, read_audio
from spire_dsu.codebook import LoadedCodebook, load_codebook, save_codebook
from spire_dsu.config import ChunkingConfig, ModelConfig, write_resolved
from spire_dsu.errors import AudioError, ModelError, Reason
from spire_dsu.features import Encoder
from spire_dsu.manifest import derive_ids, printable
from spire_dsu.presets import CONFIG_FILE, encoder_folder, resolve
from spire_dsu.types import SAMPLING_RATE, Float32, Units, num_frames
from spire_dsu.units import Codebook, StreamingQuantizer

DEFAULT_MODEL = "mini"
ENCODER_FILES = (
    "config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """What one file became: its units, or the reason why it has none.

    Attributes:
        id: unique among the files of the call; derived from the path.
        source: the path as text (bytes that are no UTF-8 escaped).
        status: `Reason.OK`, or why there are no units.
        message: empty, or one sentence that holds the offending value.
        num_samples: samples at 16 kHz, 0 where nothing was decoded.
        units: present if and only if `status` is `Reason.OK`.
    """

    id: str
    source: str
    status: Reason
    message: str
    num_samples: int
    units: Units | None

    def to_dict(self) -> dict[str, Any]:
        """The row as plain values, in the order in which `spire-dsu encode` prints it."""
        row: dict[str, Any] = {"id": self.id, "source": self.source, "status": str(self.status)}
        if self.units is None:
            return row | {"message": self.message, "num_samples": self.num_samples}
        return row | {
            "units": self.units.ids.tolist(),
            "durations": self.units.durations.tolist(),
            "num_frames": self.units.num_frames,
            "num_samples": self.num_samples,
        }


class Discretizer:
    """An encoder and a codebook: speech in, units out.

    Make one with `from_pretrained` (a preset, a folder, a hub id) or `from_parts`.
    """

    def __init__(
        self, encoder: Encoder, codebook: LoadedCodebook, config: ModelConfig, encoder_files: Path
    ) -> None:
        """For `from_pretrained` and `from_parts`; the parts must fit together.

        Raises:
            ModelError: the centroids are not as wide as the features.
        """
        self.encoder = encoder
        self._encoder_files = encoder_files
        self.codebook = load_codebook(codebook, num_features=encoder.dim)
        self.config = config
        self._centroids = Codebook(self.codebook.centroids)

    @classmethod
    def from_pretrained(
        cls,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        device: str = "auto",
        precision: str = "auto",
    ) -> Discretizer:
        """Loads a model.

        Args:
            model: a preset ("mini", "spire", or one of your own), a model folder, or a hub id.
            device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:INDEX".
            precision: "exact" (float32: the units of the reference), "fast" (half precision, its
                agreement is published), or "auto": exact on a CPU, fast on a GPU.

        Raises:
            ModelError: no such model, or its files are missing or wrong.
            ConfigError: its configuration is wrong.
        """
        found = resolve(model)
        folder = found.encoder_folder()
        encoder = Encoder.from_pretrained(
            folder,
            layer=found.config.layer,
            normalize_eps=found.config.normalize_eps,
            chunking=found.config.chunking,
            device=device,
            precision=precision,
        )
        return cls(encoder, load_codebook(found.codebook_file()), found.config, folder)

    @classmethod
    def from_parts(
        cls,
        encoder: str | os.PathLike[str],
        centroids: Any,
        *,
        layer: int = 22,
        normalize_eps: float | None = 1e-5,
        device: str = "cpu",
        precision: str = "exact",
        chunking: ChunkingConfig | None = None,
    ) -> Discretizer:
        """Builds a discretizer without a model folder.

        Args:
            encoder: a Hugging Face HuBERT folder, or a hub id.
            centroids: float32 [K, D], as an array or a .safetensors or .npy file.
            layer: the encoder layer whose output is quantised; 22 is the paper's (section 3.1).
            normalize_eps: added to the variance of the waveform; 1e-5 as in fairseq, 1e-7 as in
                transformers, None for no normalisation.
            device: as for `from_pretrained`.
            precision: as for `from_pretrained`.
            chunking: how audio too long for one pass is cut.

        Raises:
            ModelError: the encoder or the centroids cannot be used, or do not fit together.
        """
        chunks = chunking or ChunkingConfig()
        folder = encoder_folder(encoder)
        loaded = Encoder.from_pretrained(
            folder,
            layer=layer,
            normalize_eps=normalize_eps,
            chunking=chunks,
            device=device,
            precision=precision,
        )
        codebook = load_codebook(centroids)
        config = ModelConfig(
            name=Path(encoder).name or "custom",
            encoder=os.fspath(encoder),
            codebook=codebook.source,
            layer=layer,
            normalize_eps=normalize_eps,
            chunking=chunks,
        )
        return cls(loaded, codebook, config, folder)

    @property
    def name(self) -> str:
        """How reports call the model."""
        return self.config.name

    @property
    def num_units(self) -> int:
        """K: units are in 0..K-1."""
        return int(self.codebook.centroids.shape[0])

    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides which units a waveform gets, by name; equal means equal units.

        Recordings also depend on the decoder and the resampler: their versions are part of it.
        """
        return {
            "model": self.name,
            "encoder": self.encoder.digest,
            "codebook": self.codebook.digest,
            "layer": self.config.layer,
            "normalize_eps": self.config.normalize_eps,
            "chunking": self.config.chunking.model_dump(mode="json"),
            "precision": self.encoder.precision,
            "decoder": decoder_fingerprint(),
        }

    def encode(
        self,
        wav_batch: Any,
        sampling_rate: int = SAMPLING_RATE,
        *,
        lengths: Sequence[int] | None = None,
        deduplicate: bool = True,
    ) -> Any:
        """Waveforms to units.

        Args:
            wav_batch: a list of 1-D arrays (numpy, torch, cupy; floats in [-1, 1] or int16), or a
                padded 2-D array [N, S] with `lengths`, or one 1-D array.
            sampling_rate: of the arrays, per second; other rates than 16,000 are resampled.
            lengths: samples of each row of a padded array.
            deduplicate: merge runs of one unit (the default); else one unit per frame, each with
                duration 1.

        Returns:
            A list of `Units`, one per waveform; for one 1-D array, its `Units`. Audio under 400
            samples at 16 kHz has no frame: `Units` of length 0.

        Raises:
            InputError: a wrong shape, type or rate.
            AudioError: an empty waveform, or one with NaN or infinity, named by its index.
        """
        waves, single = as_waveforms(wav_batch, sampling_rate, lengths=lengths)
        encoded = list(self.encode_stream(waves, deduplicate=deduplicate))
        return encoded[0] if single else encoded

    def encode_stream(
        self, waves: Iterable[Float32], *, deduplicate: bool = True
    ) -> Iterator[Units]:
        """Units of checked waveforms, in order, each as soon as its last frame is known.

        Args:
            waves: float32 [S] each, mono, 16 kHz, finite; taken one after another as needed, so a
                corpus of any size fits.
            deduplicate: as for `encode`.
        """
        quantizer = StreamingQuantizer(self._centroids)
        for block in self.encoder.stream(waves):
            done = quantizer.push(
                block.features, block.row_splits, last_row_continues=block.last_row_continues
            )
            yield from _split(*done, deduplicate=deduplicate)
        yield from _split(*quantizer.finish(), deduplicate=deduplicate)

    def encode_files(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        deduplicate: bool = True,
    ) -> Iterator[EncodedFile]:
        """Units of audio files, in order, one row each; a bad file is a row with its reason.

        Args:
            paths: wav, flac, ogg, opus or mp3 files of any rate and channel count.
            deduplicate: as for `encode`.

        Yields:
            An `EncodedFile` per path. No file stops the others.
        """
        for path, identity in zip(paths, derive_ids(paths), strict=True):
            source = printable(path)
            try:
                wave = read_audio(path)
                if num_frames(wave.size) == 0:
                    raise AudioError(
                        Reason.TOO_SHORT,
                        f"{source}: {wave.size} samples at 16 kHz, a frame has 400",
                    )
                (units,) = self.encode_stream([wave], deduplicate=deduplicate)
            except AudioError as error:
                yield EncodedFile(identity, source, error.reason, str(error), 0, None)
            else:
                yield EncodedFile(identity, source, Reason.OK, "", int(wave.size), units)

    def features(self, wav: Any, sampling_rate: int = SAMPLING_RATE) -> Float32:
        """The features that are quantised.

        Args:
            wav: one waveform, as for `encode`.
            sampling_rate: of `wav`.

        Returns:
            float32 [T, D], a NumPy array; [0, D] for audio without a frame.

        Raises:
            InputError, AudioError: as `encode`.
        """
        waves, _ = as_waveforms([wav], sampling_rate)
        return np.asarray(self.encoder(waves[0]).float().cpu())

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Writes a model folder that `from_pretrained` reads: configuration, encoder, codebook.

        Raises:
            ModelError: the folder holds something already.
            OSError: it cannot be written.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ModelError(f"{folder}: exists and is not an empty folder")
        (folder / "encoder").mkdir(parents=True, exist_ok=True)
        for pattern in ENCODER_FILES:
            for file in self._encoder_files.glob(pattern):
                shutil.copyfile(file, folder / "encoder" / file.name)
        save_codebook(folder / "codebook.safetensors", self.codebook)
        saved = self.config.model_copy(
            update={"encoder": "encoder", "codebook": "codebook.safetensors"}
        )
        # Last: a folder with a configuration is a whole one.
        write_resolved(saved, folder / CONFIG_FILE)
        return folder


def _split(units: Any, durations: Any, row_splits: Any, *, deduplicate: bool) -> Iterator[Units]:
    """The rows of a ragged batch as `Units` of their own memory."""
    for start, stop in zip(row_splits[:-1].tolist(), row_splits[1:].tolist(), strict=True):
        row = Units(units[start:stop].copy(), durations[start:stop].copy())
        if not deduplicate:
            frames = row.to_frames()
            row = Units(frames, np.ones_like(frames))
        yield row


@functools.cache
def _default() -> Discretizer:
    warnings.warn(
        "no model named: using the bundled miniature 'mini' (200 units, trained on synthetic "
        'speech); name one for real work, e.g. model="spire"',
        UserWarning,
        stacklevel=3,
    )
    return Discretizer.from_pretrained(DEFAULT_MODEL)


@functools.lru_cache(maxsize=2)
def _named(model: str) -> Discretizer:
    return Discretizer.from_pretrained(model)


def encode(
    wav_batch: Any,
    sampling_rate: int = SAMPLING_RATE,
    *,
    lengths: Sequence[int] | None = None,
    deduplicate: bool = True,
    model: str | os.PathLike[str] | None = None,
) -> Any:
    """Waveforms to units, in one call. See `Discretizer.encode`.

    Args:
        wav_batch: as for `Discretizer.encode`.
        sampling_rate: of the arrays, per second.
        lengths: samples of each row of a padded array.
        deduplicate: merge runs of one unit.
        model: a preset, a model folder or a hub id; loaded once and kept. Without one, the bundled
            miniature is used, and the first call says so.

    Returns:
        A list of `Units`, or one `Units` for one 1-D array.

    Raises:
        InputError, AudioError, ModelError: as `Discretizer.encode` and `from_pretrained`.
    """
    discretizer = _default() if model is None else _named(os.fspath(model))
    return discretizer.encode(wav_batch, sampling_rate, lengths=lengths, deduplicate=deduplicate)
