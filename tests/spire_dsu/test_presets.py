"""From a name to a model: presets, folders and hub ids, with and without a network."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from spire_dsu.codebook import save_codebook
from spire_dsu.config import ModelConfig, load_json, write_resolved
from spire_dsu.errors import ConfigError, ModelError
from spire_dsu.hub import HubId
from spire_dsu.import_pickle import import_codebook
from spire_dsu.presets import (
    available_presets,
    cache_folder,
    encoder_folder,
    imported_codebook,
    resolve,
)

CENTROIDS = np.arange(6, dtype=np.float32).reshape(2, 3)
PICKLE = pickle.dumps(CENTROIDS)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, an empty hub cache, and no network."""
    import huggingface_hub.constants as constants

    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("SPIRE_DSU_PRESETS", raising=False)
    monkeypatch.delenv("SPIRE_DSU_CACHE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return folder


def cache_on_hub(tmp_path: Path, repository: str, files: dict[str, bytes]) -> Path:
    """What the hub's own cache holds after these files were fetched; returns the snapshot."""
    place = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
    (place / "refs").mkdir(parents=True, exist_ok=True)
    (place / "refs" / "main").write_text(COMMIT)
    for name, content in files.items():
        file = place / "snapshots" / COMMIT / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return place / "snapshots" / COMMIT


def make_encoder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "hubert"}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def make_model(folder: Path, **changes: object) -> Path:
    make_encoder(folder / "encoder")
    save_codebook(folder / "codebook.safetensors", CENTROIDS)
    values = {
        "name": "own", "encoder": "encoder", "codebook": "codebook.safetensors", "layer": 3,
        "normalize_eps": 1e-7, **changes,
    }  # fmt: skip
    write_resolved(ModelConfig.model_validate(values), folder / "config.json")
    return folder


def preset(folder: Path, name: str, **changes: str) -> Path:
    values = {
        "name": f'"{name}"', "encoder": '"enc"', "codebook": '"c.safetensors"', "layer": "2",
        "normalize_eps": '"none"', **changes,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in values.items()))
    return path


def message(call: object, *arguments: object) -> str:
    with pytest.raises(ModelError) as caught:
        call(*arguments)  # type: ignore[operator]
    return str(caught.value)


def test_the_preset_spire_is_the_paper() -> None:
    config = resolve("spire").config
    assert config.encoder == "facebook/hubert-large-ll60k"
    assert config.codebook == "utter-project/SpireKMeans:kmeans_model"
    assert (config.layer, config.normalize_eps, config.sampling_rate) == (22, 1e-5, 16_000)


def test_every_bundled_preset_can_be_resolved() -> None:
    for name in available_presets():
        assert resolve(name).config.name == name


def test_a_folder_is_a_model(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "my model")
    model = resolve(folder)
    assert model.config.layer == 3
    assert model.encoder_folder() == folder / "encoder"
    assert model.codebook_file() == folder / "codebook.safetensors"
    assert resolve(str(folder)).config == model.config


def test_a_preset_goes_before_a_folder_of_its_name(tmp_path: Path) -> None:
    make_model(tmp_path / "spire")
    assert resolve("spire").config.layer == 22
    assert resolve("./spire").config.layer == 3
    assert resolve(Path("spire")).config.layer == 3


@pytest.mark.parametrize("by", ["folder", "file", "home"])
def test_own_presets_are_found(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    place = home / ".config" / "spire_dsu" / "presets" if by == "home" else tmp_path / "presets"
    path = preset(place, "lab")
    if by != "home":
        monkeypatch.setenv("SPIRE_DSU_PRESETS", str(path if by == "file" else place))
    make_encoder(place / "enc")
    save_codebook(place / "c.safetensors", CENTROIDS)
    model = resolve("lab")
    assert model.config.normalize_eps is None
    assert model.encoder_folder() == place / "enc"
    assert model.codebook_file() == place / "c.safetensors"
    assert "lab" in available_presets()
    assert "lab" in message(resolve, "lob")


def test_a_preset_may_point_anywhere(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_encoder(tmp_path / "elsewhere")
    save_codebook(home / "c.safetensors", CENTROIDS)
    place = {"encoder": f'"{tmp_path}/elsewhere"', "codebook": '"~/c.safetensors"'}
    monkeypatch.setenv("SPIRE_DSU_PRESETS", str(preset(tmp_path / "p", "far", **place)))
    assert resolve("far").encoder_folder() == tmp_path / "elsewhere"
    assert resolve("far").codebook_file() == home / "c.safetensors"


def test_a_bad_preset_is_told_and_spoils_no_other(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIRE_DSU_PRESETS", str(tmp_path / "absent"))
    assert "absent" in message(resolve, "spire")
    folder = tmp_path / "presets"
    monkeypatch.setenv("SPIRE_DSU_PRESETS", str(folder))
    bad = preset(folder, "bad", layer="'22'")
    assert resolve("spire").config.layer == 22
    with pytest.raises(ConfigError, match="layer") as caught:
        resolve("bad")
    assert str(bad) in str(caught.value)
    wrong = preset(folder, "one")
    wrong.rename(folder / "two.toml")
    assert "'one' must be the file's, 'two'" in message(resolve, "two")
    preset(folder, "lab")
    preset(home / ".config" / "spire_dsu" / "presets", "lab")
    assert "preset 'lab' is in two files" in message(resolve, "lab")
    (folder / "lab.toml").rename(folder / "spire.toml")
    assert "preset 'spire' is in two files" in message(resolve, "spire")


def test_an_unknown_name_lists_what_is_known() -> None:
    text = message(resolve, "spier")
    for word in ("'spier'", "spire", "model folder", "hub id", ".config/spire_dsu/presets"):
        assert word in text


def test_a_folder_that_is_no_model_is_told(tmp_path: Path) -> None:
    assert "no config.json" in message(resolve, tmp_path)
    encoder = make_encoder(tmp_path / "hubert")
    assert "from_parts" in message(resolve, encoder)
    model = make_model(tmp_path / "model")
    data = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**data, "layers": 4}))
    with pytest.raises(ConfigError, match=r"unknown key 'layers' \(value 4\)"):
        resolve(model)


@pytest.mark.parametrize("reference", ["../other", "/etc", "encoder/../../other"])
def test_a_model_folder_cannot_point_out_of_itself(tmp_path: Path, reference: str) -> None:
    make_encoder(tmp_path / "other")
    model = resolve(make_model(tmp_path / "model", encoder=reference, codebook=reference))
    assert "leads out of its folder" in message(model.encoder_folder)
    assert "leads out of its folder" in message(model.codebook_file)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    model = resolve(make_model(tmp_path / "model", encoder="gone", codebook="gone.safetensors"))
    assert "'gone'" in message(model.encoder_folder)
    assert "'gone.safetensors'" in message(model.codebook_file)
    encoder = tmp_path / "model" / "encoder"
    (encoder / "model.safetensors").rename(encoder / "tf_model.h5")
    text = message(encoder_folder, encoder)
    assert "needs config.json and model.safetensors" in text
    assert "has config.json, tf_model.h5" in text


def test_offline_the_error_says_what_to_fetch_and_how_to_use_it() -> None:
    model = resolve("spire")
    for text in (message(model.encoder_folder), message(model.codebook_file)):
        for word in (
            "hf download facebook/hubert-large-ll60k --include config.json --include 'model*.saf",
            "hf download utter-project/SpireKMeans --include kmeans_model --local-dir .",
            "Discretizer.from_parts(encoder=FOLDER, centroids=FILE, layer=22, normalize_eps=1e-05)",
            "not on this machine",
        ):
            assert word in text
    assert "no folder 'some/where' here" in message(resolve, "some/where")
    assert "unknown model 'a/b/c'" in message(resolve, "a/b/c")


def test_an_encoder_in_the_hub_cache_needs_no_network(tmp_path: Path) -> None:
    files = {"config.json": b"{}", "model.safetensors": b"w"}
    folder = cache_on_hub(tmp_path, "facebook/hubert-large-ll60k", files)
    assert resolve("spire").encoder_folder() == folder
    assert encoder_folder("facebook/hubert-large-ll60k") == folder
    # An older repository has no safetensors; its pickle is then the weights.
    old = cache_on_hub(tmp_path, "lab/old", {"config.json": b"{}", "pytorch_model.bin": b"w"})
    assert encoder_folder("lab/old") == old


def test_a_pickled_codebook_is_never_read_and_its_import_is_found_by_content(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache_on_hub(tmp_path, "utter-project/SpireKMeans", {"kmeans_model": PICKLE})
    model = resolve("spire")
    place = home / ".cache" / "spire_dsu" / "codebooks"
    wanted = place / f"{hashlib.sha256(PICKLE).hexdigest()}.safetensors"
    text = message(model.codebook_file)
    command = f"spire-dsu import-codebook {folder / 'kmeans_model'} --trust-pickle --out {wanted}"
    assert command in text
    assert not place.exists()

    import_codebook(folder / "kmeans_model", wanted, trust_pickle=True)
    assert model.codebook_file() == wanted == imported_codebook(folder / "kmeans_model")

    # Another codebook under the same name on the hub: the old import must not be taken for it.
    changed = pickle.dumps(CENTROIDS + 1)
    cache_on_hub(tmp_path, "utter-project/SpireKMeans", {"kmeans_model": changed})
    assert "import-codebook" in message(model.codebook_file)

    # A file put there by hand, under the right name, says itself what it is.
    other = place / f"{hashlib.sha256(changed).hexdigest()}.safetensors"
    other.write_bytes(wanted.read_bytes())
    assert "was not imported from" in message(model.codebook_file)

    monkeypatch.setenv("SPIRE_DSU_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
    assert str(tmp_path / "cache") in message(model.codebook_file)


def test_a_safetensors_codebook_on_the_hub_is_taken_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cache_on_hub(tmp_path, "lab/units", {"k/c.safetensors": b""})
    save_codebook(folder / "k" / "c.safetensors", CENTROIDS)
    path = preset(tmp_path / "p", "lab", codebook='"lab/units:k/c.safetensors"')
    monkeypatch.setenv("SPIRE_DSU_PRESETS", str(path))
    assert resolve("lab").codebook_file() == folder / "k" / "c.safetensors"


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("owner/name", HubId("owner/name")),
        ("o-w.n_er/na.me-1@v1.0", HubId("o-w.n_er/na.me-1", "v1.0")),
        ("owner/name@refs/pr/1", HubId("owner/name", "refs/pr/1")),
        ("name", None),
        ("a/b/c", None),
        ("../b", None),
        ("./b", None),
        ("/b", None),
        ("owner/..", None),
        ("a b/c", None),
        ("owner/name\n", None),
        ("", None),
    ],
)
def test_hub_ids(text: str, parsed: HubId | None) -> None:
    assert HubId.parse(text) == parsed
    assert parsed is None or str(parsed) == text


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("o/n:kmeans_model", "kmeans_model"),
        ("o/n@v1:a/b.npy", "a/b.npy"),
        ("o/n:", None),
        ("o/n:/etc/passwd", None),
        ("o/n:a/../../b", None),
        ("o/n:*.bin", None),
        ("n:file", None),
        ("o/n", None),
    ],
)
def test_hub_files(text: str, file: str | None) -> None:
    parsed = HubId.parse_file(text)
    assert (parsed[1] if parsed else None) == file


class Hub(BaseHTTPRequestHandler):
    """The few answers of the hub that a download needs; remembers what it was asked for."""

    files: dict[str, dict[str, bytes]]
    asked: list[str]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = self.path.split("?")[0].strip("/").split("/")
        body: bytes | None = None
        if parts[:2] == ["api", "models"]:
            files = self.files.get("/".join(parts[2:4]))
            if files is not None:
                listed: object = {"id": "x/y", "sha": COMMIT}
                if "tree" in parts:
                    listed = [
                        {"type": "file", "path": name, "size": len(data), "oid": COMMIT}
                        for name, data in files.items()
                    ]
                body = json.dumps(listed).encode()
        elif parts[2:3] == ["resolve"]:
            name = "/".join(parts[4:])
            body = self.files.get("/".join(parts[:2]), {}).get(name)
            if self.command == "GET":
                self.asked.append(name)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(body or b"").hexdigest()}"')
        self.end_headers()
        if self.command == "GET" and body:
            self.wfile.write(body)


@pytest.fixture
def hub_server() -> Iterator[str]:
    Hub.files, Hub.asked = {}, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_model_on_a_hub_is_fetched_once_and_nothing_else_is(
    tmp_path: Path, hub_server: str
) -> None:
    folder = make_model(tmp_path / "source")
    names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    Hub.files["lab/model"] = {name: (folder / name).read_bytes() for name in names} | {
        "encoder/pytorch_model.bin": PICKLE,
        "README.md": b"#",
        "train.tar": b"heavy",
    }
    script = (
        "import sys; from spire_dsu.presets import resolve; model = resolve('lab/model');"
        "print(model.config.layer, (model.encoder_folder() / 'model.safetensors').read_bytes(),"
        "model.codebook_file().stat().st_size)"
    )
    # Its own process: the address of the hub is read when its library is imported.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {
        "HF_ENDPOINT": hub_server,
        "HF_HOME": str(tmp_path / "fetched"),
    }
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        size = (folder / "codebook.safetensors").stat().st_size
        assert done.stdout == f"3 b'weights' {size}\n", done.stderr
    assert sorted(Hub.asked) == sorted(names)


def test_a_model_folder_survives_being_written_and_read(tmp_path: Path) -> None:
    model = resolve(make_model(tmp_path / "m", provenance={"hours": 1.5, "by": "a test"}))
    write_resolved(model.config, tmp_path / "again.json")
    assert load_json(tmp_path / "again.json", ModelConfig) == model.config
