"""Folders of models that are no models: each is one line within seconds, and none is measured with a default."""

import json
import os
import shutil
from pathlib import Path

import pytest

from embedshift import EmbedshiftError, load_encoder
from embedshift.encoders import load_text_encoder
from embedshift.encoders.folder import SETTINGS_BYTES
from support import fuzz
from support.corpus import make_socket
from support.library_models import make_open_clip, make_timm
from support.network import no_network
from support.refusals import refused
from support.tokenizers_made import make_clip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("models")
    make_clip(root / "clip")
    make_open_clip(root / "open_clip")
    make_timm(root / "timm")
    (root / "clip" / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1, 0.2, 0.3]}))
    return root


@pytest.fixture(autouse=True)
def in_time():
    """A load that waits for a FIFO is a failure, not a hang."""
    with fuzz.within(60), no_network() as tried:
        yield
    assert tried == []


@pytest.fixture
def copy(made, tmp_path):
    return lambda kind: shutil.copytree(made / kind, tmp_path / kind)


NO_FILES = {
    "a FIFO, not a file": os.mkfifo,
    "a device, not a file": lambda file: file.symlink_to("/dev/zero"),
    "Is a directory": Path.mkdir,
    "a link to nothing; restore the file or remove the link": lambda file: file.symlink_to(file.parent / "not there"),
    "symbolic links": lambda file: file.symlink_to(file),
    "a socket, not a file": make_socket,
}
BAD_JSON = {
    "JSON that is nested too deeply; refused": lambda file: file.write_bytes(b"[" * 300_000),
    "JSON that is nested too deeply": lambda file: file.write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "larger than 16 MB (16.0 MB)": lambda file: file.touch() or os.truncate(file, SETTINGS_BYTES + 1),
}
LIBRARY = {"clip": "", "open_clip": "open_clip:local-dir:", "timm": "timm:local-dir:"}
# What each kind of model reads; weights and words are no JSON of settings.
FILES = [
    ("clip", "config.json"), ("open_clip", "open_clip_config.json"), ("timm", "config.json"),
    ("clip", "preprocessor_config.json"), ("clip", "processor_config.json"), ("clip", "model.safetensors.index.json"),
    ("clip", "adapter_config.json"), ("clip", "model.safetensors"), ("clip", "tokenizer.json"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_what_cannot_be_read_is_one_line(copy, kind, name):
    """And never passed over: a preprocessor that is no file would else be CLIP's published mean."""
    model = copy(kind)
    is_settings = name not in ("model.safetensors", "tokenizer.json")
    for words, place in (NO_FILES | (BAD_JSON if is_settings else {})).items():
        if (model / name).is_dir() and not (model / name).is_symlink():
            (model / name).rmdir()
        (model / name).unlink(missing_ok=True)
        place(model / name)
        for library in {"", LIBRARY[kind]}:
            refused(f"{library}{model}", f"{name}: ", words)
        if not is_settings:
            refused(model, f"{name}: ", words, load=load_text_encoder)


def test_the_whole_model_loads(copy):
    encoder = load_encoder(str(copy("clip")))
    assert tuple(encoder.preprocess.mean) == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("depth", [100, 900, 2_000])
def test_any_depth_is_read_or_one_line(copy, depth):
    model = copy("clip")
    config = (model / "config.json").read_text().rstrip()
    (model / "config.json").write_text(config[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}")
    try:
        load_encoder(str(model))
    except EmbedshiftError as error:
        assert "\n" not in str(error)  # noqa: PT017


SENSELESS = [
    "", "[]", "3", "{", "\x00", '{"image_mean": NaN}', '{"image_mean": [1, 2]}', '{"image_mean": "x"}',
    '{"image_mean": [1e999, 0, 0]}', '{"image_std": [0, 0, 0]}', '{"size": {"height": []}}', '{"size": "big"}',
    '{"size": -1}', '{"size": 100000}', '{"resample": 99}', '{"crop_size": [[]]}',
]  # fmt: skip


def test_what_makes_no_sense_is_one_line(copy):
    model = copy("clip")
    for content in SENSELESS:
        (model / "preprocessor_config.json").write_text(content)
        refused(model, "preprocessor_config.json")
    (model / "preprocessor_config.json").unlink()
    for content in (b"", b"\0" * 100, (2**62).to_bytes(8, "little") + b"{}"):
        (model / "model.safetensors").write_bytes(content)
        refused(model, "its weights cannot be loaded")


def test_a_preprocessor_that_may_not_be_read_is_one_line(copy, monkeypatch):
    """As for a user without the right, which root always has."""
    model = copy("clip")
    read = os.open

    def may_not(path, *arguments, **more):
        if os.fspath(path).endswith("preprocessor_config.json"):
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **more)

    monkeypatch.setattr(os, "open", may_not)
    refused(model, "preprocessor_config.json: Permission denied")


def test_what_no_loader_reads_may_be_anything(copy, made):
    model = copy("clip")
    os.mkfifo(model / "notes")
    (model / "onnx").mkdir()
    (model / "onnx" / "config.json").mkdir()
    for number in range(500):
        (model / f"{number}.json").write_text("{")
    assert load_encoder(str(model)).weights_hash == load_encoder(str(made / "clip")).weights_hash


def test_millions_of_layers_are_refused_before_one_is_made(copy):
    model = copy("clip")
    config = json.loads((model / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 10_000_000
    (model / "config.json").write_text(json.dumps(config))
    refused(model, "its configuration names 10,000,000 layers; refused")
