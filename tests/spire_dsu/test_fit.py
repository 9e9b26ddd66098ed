"""`fit` from end to end: a corpus in, a model folder out that can be used, the same whatever way it
was made.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_makers import SETTINGS, make_corpus, make_encoder
from typer.testing import CliRunner

from spire_dsu.cli import app
from spire_dsu.convert.recordings import RecordingDecoder
from spire_dsu.discretizer import Discretizer
from spire_dsu.errors import ConfigError, InputError, ManifestError, ModelError, SpireError
from spire_dsu.features import Encoder
from spire_dsu.fit import FitReport, fit, main
from spire_dsu.fit.extract import Job, kept_frames, spread
from spire_dsu.fit.phones import PhoneTimes
from spire_dsu.fit.run import _locked
from spire_dsu.purity import measure_purity


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("fit") / "corpus")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def fitted(
    corpus: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FitReport]:
    """A model folder, and its report."""
    out = tmp_path_factory.mktemp("fitted") / "model"
    return out, fit(corpus, out, encoder=encoder, threads=1, **SETTINGS)


def codebook_of(folder: Path) -> bytes:
    return (folder / "codebook.safetensors").read_bytes()


def test_the_model_folder_makes_the_units_of_the_report(
    fitted: tuple[Path, FitReport], corpus: Path
) -> None:
    out, report = fitted
    model = Discretizer.from_pretrained(out, device="cpu")
    assert (model.num_units, model.config.layer, model.name) == (8, 2, "model")
    rows = list(model.encode_files(sorted(corpus.parent.glob("r*.*"))))
    assert sum(row.units.num_frames for row in rows) == report.features.frames
    assert report.features.fitted + report.features.heldout == report.features.frames
    counts = np.bincount(np.concatenate([row.units.to_frames() for row in rows]), minlength=8)
    assert report.used == 8
    assert counts.all()
    assert 1 < report.perplexity <= 8
    assert sorted(each.name for each in out.parent.iterdir()) == ["model"]
    assert json.loads((out / "report.json").read_text())["inertia"] == report.inertia


def test_the_inertia_is_that_of_the_features(
    fitted: tuple[Path, FitReport], corpus: Path, encoder: Path
) -> None:
    out, report = fitted
    model = Discretizer.from_pretrained(out, device="cpu")
    total, frames = 0.0, 0
    for path in corpus.parent.glob("r*.*"):
        (row,) = model.encode_files([path])
        # The features of the file, by way of its units' centroids.
        features = _features(encoder, path)
        gaps = features.astype(float) - model.codebook.centroids[row.units.to_frames()]
        total, frames = total + np.square(gaps).sum(), frames + len(gaps)
    done = report.features
    assert report.heldout_inertia is not None
    expected = report.inertia * done.fitted + report.heldout_inertia * done.heldout
    assert total == pytest.approx(expected, rel=1e-6)
    assert frames == done.frames


def _features(encoder: Path, path: Path) -> Any:
    from spire_dsu.audio import read_audio

    loaded = Encoder.from_pretrained(encoder, layer=2, device="cpu")
    return np.asarray(loaded(read_audio(path)))


def test_the_way_it_is_made_changes_no_bit(
    fitted: tuple[Path, FitReport], corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    shuffled = corpus.with_name("shuffled.jsonl")
    lines = corpus.read_text().splitlines()
    shuffled.write_text("\n".join(reversed(lines)))
    ways: list[tuple[Path, dict[str, Any]]] = [
        (corpus, {"threads": 3, "cache": "scratch", "save_seconds": 0.0}),
        (shuffled, {"threads": 2}),
    ]
    for number, (manifest, way) in enumerate(ways):
        report = fit(manifest, tmp_path / str(number), encoder=encoder, **SETTINGS, **way)
        assert codebook_of(tmp_path / str(number)) == codebook_of(fitted[0])
        assert report.passes == fitted[1].passes
    other = fit(corpus, tmp_path / "seed", encoder=encoder, **SETTINGS, seed=1)
    assert codebook_of(tmp_path / "seed") != codebook_of(fitted[0])
    assert other.selection.heldout_rows == fitted[1].selection.heldout_rows


def test_frames_beyond_the_cache_are_thinned_evenly(
    corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    size = 300 * (32 * 2 + 2)
    report = fit(
        corpus, tmp_path / "m", encoder=encoder, cache_bytes=size, dtype="float16", **SETTINGS
    )
    done = report.features
    assert done.rows == 24
    assert done.frames == 732
    assert 230 <= done.fitted <= 270
    assert 0 < done.heldout <= 30
    assert len(list(tmp_path.iterdir())) == 1


def test_spread_frames_are_distinct_inside_and_even() -> None:
    for total, wanted in ((10, 3), (10, 10), (10, 99), (1, 1), (0, 5), (99_991, 1000)):
        frames = spread(total, wanted, "name")
        assert len(np.unique(frames)) == min(total, wanted)
        if total:
            assert frames.min() >= 0
            assert frames.max() < total
            assert np.diff(frames, prepend=0, append=total).max() <= 2 * -(-total // len(frames))


def test_kept_frames_are_those_of_the_whole(encoder: Path, corpus: Path) -> None:
    from spire_dsu.audio import read_audio

    loaded = Encoder.from_pretrained(encoder, layer=2, device="cpu")
    waves = [read_audio(path) for path in sorted(corpus.parent.glob("r*.*"))[:3]]
    wanted = [np.array([0, 3, 7]), np.array([], np.int64), np.array([5])]
    found = kept_frames(loaded, [Job(*each) for each in zip(waves, wanted, strict=True)])
    for wave, frames, kept in zip(waves, wanted, found, strict=True):
        np.testing.assert_array_equal(kept, np.asarray(loaded(wave))[frames])


def test_bad_recordings_are_counted_and_stop_nothing(
    corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    broken = make_corpus(tmp_path / "corpus")
    (broken.parent / "r001.flac").write_bytes(b"<html>")
    (broken.parent / "r002.flac").unlink()
    (broken.parent / "r004.flac").write_bytes((corpus.parent / "r004.flac").read_bytes()[:900])
    lines = [*broken.read_text().splitlines(), '{"audio_filepath": "x.wav", "duration": -1.0}']
    broken.write_text("\n".join(lines))
    report = fit(broken, tmp_path / "model", encoder=encoder, **SETTINGS)
    assert report.selection.unusable == {"bad_segment": 1}
    assert report.selection.rows == report.features.rows == 24
    counts = report.features.counts
    assert counts["missing"] == 1
    assert counts["ok"] == 21
    assert set(report.features.examples) == set(counts) - {"ok"}


def test_pnmi_is_that_of_the_phones_given(
    fitted: tuple[Path, FitReport], corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    phones = tmp_path / "phones.jsonl"
    times = {f"utt-{k}": ([0.0, 0.1, 0.2], ["a", "b", "a"]) for k in range(24)}
    phones.write_text(
        "\n".join(
            json.dumps({"id": name, "starts": starts, "phones": labels})
            for name, (starts, labels) in [*times.items(), ("another", ([0], ["z"]))]
        )
    )
    report = fit(corpus, tmp_path / "model", encoder=encoder, phones=phones, **SETTINGS)
    assert codebook_of(tmp_path / "model") == codebook_of(fitted[0])
    model = Discretizer.from_pretrained(tmp_path / "model", device="cpu")
    heldout = fit_rows(corpus, report)
    units = {True: [], False: []}
    labels = {True: [], False: []}
    for line in corpus.read_text().splitlines():
        row = json.loads(line)
        (made,) = model.encode_files([corpus.parent / row["audio_filepath"]])
        middles = (np.arange(made.units.num_frames) * 320 + 200) / 16_000
        units[row["id"] in heldout].append(made.units.to_frames())
        labels[row["id"] in heldout].append(((middles >= 0.1) & (middles < 0.2)).astype(int))
    for is_heldout, value in ((False, report.pnmi), (True, report.pnmi_heldout)):
        joined = [np.concatenate(each[is_heldout]) for each in (units, labels)]
        assert value == pytest.approx(measure_purity(*joined).pnmi, rel=1e-9)
    assert report.phone_frames == (report.features.fitted, report.features.heldout)


def fit_rows(corpus: Path, report: FitReport) -> set[str]:
    """Ids of the held-out rows: those by which the selection is remembered."""
    import tempfile

    from spire_dsu.fit.select import HELDOUT, select
    from spire_dsu.manifest import open_manifest

    with tempfile.TemporaryDirectory() as folder:
        chosen, again = select(
            open_manifest(corpus),
            Path(folder),
            seed=0,
            max_per_speaker=None,
            hours=100.0,
            heldout=0.1,
            check=lambda: None,
        )
        assert again == report.selection
        return {row.id for row in chosen if HELDOUT in row.extra}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2"),
        ('{"id": "utt-1", "starts": [0, 1], "phones": ["a"]}', "line 2"),
        ('{"id": "utt-1", "starts": [1, 0], "phones": ["a", "b"]}', "'utt-1'.*ascending"),
        ('{"id": "utt-0", "starts": [0], "phones": ["a"]}', "'utt-0' is there twice"),
    ],
)
def test_bad_phone_times_are_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "phones.jsonl"
    path.write_text('{"id": "utt-0", "starts": [0], "phones": ["a"]}\n' + line)
    with pytest.raises(InputError, match=said):
        PhoneTimes(path, {"utt-0", "utt-1"})


def test_phone_times_of_other_rows_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "phones.jsonl"
    path.write_text('{"id": "x", "starts": [0], "phones": ["a"]}\n')
    with pytest.raises(InputError, match="among the 1 rows"):
        PhoneTimes(path, {"utt-0"})


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"clusters": 5000}, InputError, "5000 clusters need as many frames; the rows have 6"),
        ({"clusters": 0}, ConfigError, "clusters.*got 0"),
        ({"hours": -1.0}, ConfigError, "hours.*got -1"),
        ({"dtype": "int8"}, ConfigError, "int8"),
        ({"cache": "disk"}, ConfigError, "'disk'"),
        ({"cache_bytes": 7}, ConfigError, "7 bytes holds no frame of 32"),
        ({"threads": 0}, ConfigError, "got 0"),
        ({"layer": 3}, ModelError, "layer"),
        ({"encoder": "no/such/folder"}, ModelError, "no/such/folder"),
        ({"phones": "no-such.jsonl"}, InputError, r"no-such\.jsonl"),
        ({"manifest": "no-such.jsonl"}, ManifestError, r"no-such\.jsonl"),
        ({"max_per_speakers": 3}, ConfigError, "did you mean 'max_per_speaker'"),
    ],
)
def test_what_cannot_be_is_said(
    corpus: Path,
    encoder: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[SpireError],
    said: str,
) -> None:
    arguments = {"manifest": corpus, "encoder": encoder, **SETTINGS, **changes}
    with pytest.raises(error, match=said):
        fit(out=tmp_path / "model", **arguments)
    assert not (tmp_path / "model").exists()


def test_a_limit_per_speaker_needs_speakers(encoder: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row names a speaker, so 8 rows"):
        fit(corpus.parent, tmp_path / "m", encoder=encoder, max_per_speaker=8, **SETTINGS)


def test_what_is_there_is_not_overwritten(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("1")
    with pytest.raises(ModelError, match="not an empty folder"):
        fit(corpus, tmp_path / "model", encoder=encoder, **SETTINGS)
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_a_second_run_is_refused(
    corpus: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with _locked(tmp_path / "model.fit"):
        status = main(manifest=corpus, out=tmp_path / "model", encoder=encoder, **SETTINGS)
    assert status == 2
    assert "is in use by process" in capsys.readouterr().err


def test_an_interrupted_fit_goes_on_and_refuses_other_settings(
    corpus: Path,
    encoder: Path,
    tmp_path: Path,
    fitted: tuple[Path, FitReport],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "model"
    with monkeypatch.context() as patch:
        patch.setattr(RecordingDecoder, "decode", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit(corpus, out, encoder=encoder, **SETTINGS)
    assert not out.exists()
    with pytest.raises(SpireError, match="clusters was 8, is 9; seed was 0, is 4"):
        fit(corpus, out, encoder=encoder, **{**SETTINGS, "clusters": 9}, seed=4)
    fit(corpus, out, encoder=encoder, **SETTINGS)
    assert codebook_of(out) == codebook_of(fitted[0])


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_the_command(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    words = f"fit {corpus} --encoder {encoder} --layer 2 --clusters 8 --out {out} --device cpu"
    more = "--max-per-speaker 4 --hours 0.001 --seed 3 --half --passes 2 --cache scratch"
    done = CliRunner().invoke(app, [*words.split(), *more.split()])
    assert done.exit_code == 0, done.output
    assert f"wrote {out}: 8 units" in done.output.replace("\n", "")
    report = FitReport.model_validate_json((out / "report.json").read_bytes())
    assert len(report.passes) <= 2
    assert report.selection.rows <= 12
    assert report.selection.hours <= 0.001
    again = CliRunner().invoke(app, words.split())
    assert again.exit_code == 2
