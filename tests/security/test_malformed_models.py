"""Folders of models that are no models: each is one line within seconds, and none is measured with a default."""

import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest

from embedshift import EmbedshiftError, load_encoder
from embedshift.encoders import load_text_encoder
from embedshift.encoders.folder import SETTINGS_BYTES
from support.library_models import make_open_clip, make_timm
from support.matrix import first_only
from support.network import no_network
from support.refusals import refused
from support.tokenizers_made import make_clip

pytestmark = pytest.mark.slow

CONFIGS = {"clip": "config.json", "open_clip": "open_clip_config.json", "timm": "config.json"}


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

    def late(*_):
        raise AssertionError("it takes too long")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    with no_network() as tried:
        yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert tried == []


@pytest.fixture
def copy(made, tmp_path):
    return lambda kind: shutil.copytree(made / kind, tmp_path / kind)


def fifo(file):
    os.mkfifo(file)


def device(file):
    file.symlink_to("/dev/zero")


def folder(file):
    file.mkdir()


def nothing(file):
    file.symlink_to(file.parent / "not there")


def loop(file):
    file.symlink_to(file)


def listening(file):
    """A socket; its path may have some hundred characters only."""
    here = os.open(file.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{file.name}")
    finally:
        os.close(here)


def deep(file):
    file.write_bytes(b"[" * 300_000)


def deep_object(file):
    file.write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000)


def large(file):
    with file.open("wb") as made:
        made.truncate(SETTINGS_BYTES + 1)


NO_FILES = {
    fifo: "a FIFO, not a file",
    device: "a device, not a file",
    folder: "Is a directory",
    nothing: "a link to nothing; restore the file or remove the link",
    loop: "symbolic links",
    listening: "a socket, not a file",
}
BAD_JSON = {
    deep: "JSON that is nested too deeply; refused",
    deep_object: "JSON that is nested too deeply; refused",
    large: "larger than 16 MB (16.0 MB)",
}


@pytest.mark.parametrize("do", [*NO_FILES, *BAD_JSON], ids=lambda do: do.__name__)
@pytest.mark.parametrize("kind", first_only(CONFIGS))
def test_a_configuration_that_cannot_be_read_is_one_line(copy, kind, do):
    model = copy(kind)
    file = model / CONFIGS[kind]
    file.unlink()
    do(file)
    words = (NO_FILES | BAD_JSON)[do]
    refused(model, f"{CONFIGS[kind]}: ", words)
    library = {"clip": "", "open_clip": "open_clip:local-dir:", "timm": "timm:local-dir:"}[kind]
    refused(f"{library}{model}", f"{CONFIGS[kind]}: ", words)


FILES = ["preprocessor_config.json", "processor_config.json", "model.safetensors.index.json", "adapter_config.json"]


@pytest.mark.parametrize("do", [*NO_FILES, *BAD_JSON], ids=lambda do: do.__name__)
@pytest.mark.parametrize("name", first_only(FILES))
def test_no_other_file_is_passed_over(copy, name, do):
    """A preprocessor that is no file would else be CLIP's published mean."""
    model = copy("clip")
    (model / name).unlink(missing_ok=True)
    do(model / name)
    refused(model, f"{name}: ", (NO_FILES | BAD_JSON)[do])


@pytest.mark.parametrize("name", first_only(["model.safetensors", "pytorch_model.bin", "tokenizer.json", "merges.txt"]))
@pytest.mark.parametrize("do", NO_FILES, ids=lambda do: do.__name__)
def test_weights_and_words_are_files(copy, name, do):
    model = copy("clip")
    (model / name).unlink(missing_ok=True)
    do(model / name)
    refused(model, f"{name}: ", NO_FILES[do])
    refused(model, f"{name}: ", NO_FILES[do], load=load_text_encoder)


def test_the_whole_model_loads(copy):
    encoder = load_encoder(str(copy("clip")))
    assert tuple(encoder.preprocess.mean) == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"image_mean": NaN}', '{"size": {"height": []}}', *first_only([
     '{"image_mean": [1, 2]}', "{", "null", "3", '"text"', "\x00", '{"image_mean": "x"}', '{"size": "big"}',
     '{"size": -1}', '{"size": 100000}', '{"image_std": [0, 0, 0]}', '{"image_std": [NaN, 1, 1]}', '{"resample": 99}',
     '{"crop_size": [[]]}', '{"image_mean": [1e999, 0, 0]}'])],
)  # fmt: skip
def test_a_preprocessor_that_makes_no_sense_is_one_line(copy, content):
    model = copy("clip")
    (model / "preprocessor_config.json").write_text(content)
    refused(model, "preprocessor_config.json")


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


@pytest.mark.parametrize("depth", [100, 500, 900, 2_000])
def test_any_depth_is_read_or_one_line(copy, depth):
    model = copy("clip")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config)[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}")
    problem = None
    try:
        load_encoder(str(model))
    except EmbedshiftError as error:
        problem = str(error)
    assert "\n" not in (problem or "")


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff" * 100, (2**62).to_bytes(8, "little") + b"{}"])
def test_weights_that_are_no_weights_are_one_line(copy, content):
    model = copy("clip")
    (model / "model.safetensors").write_bytes(content)
    refused(model, "its weights cannot be loaded")


def test_what_no_loader_reads_may_be_anything(copy, made):
    model = copy("clip")
    os.mkfifo(model / "notes")
    (model / "onnx").mkdir()
    (model / "onnx" / "config.json").mkdir()
    (model / "broken.json").write_text("{")
    assert load_encoder(str(model)).weights_hash == load_encoder(str(made / "clip")).weights_hash


def test_a_folder_of_many_files_is_quick(copy, made):
    model = copy("clip")
    for number in range(2_000):
        (model / f"{number}.json").write_text("{}")
    assert load_encoder(str(model)).weights_hash == load_encoder(str(made / "clip")).weights_hash


def test_millions_of_layers_are_refused_before_one_is_made(copy):
    model = copy("clip")
    config = json.loads((model / "config.json").read_text())
    config["vision_config"]["num_hidden_layers"] = 10_000_000
    (model / "config.json").write_text(json.dumps(config))
    refused(model, "its configuration names 10,000,000 layers; refused")
