"""Checkpoints as users have them: whole, old, broken, hostile, out of reach."""

import contextlib
import json
import logging
import pickle
import platform
import shutil
import socket
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embedshift import EmbedshiftError, load_encoder
from embedshift.encoders import huggingface
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, FAMILIES, HALF
from support import command, models
from support.refusals import refused

VIEWS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return models.make("clip", tmp_path / "clip")


@pytest.mark.parametrize("kind", models.MAKERS)
def test_missing_weights_are_named_never_filled(kind, tmp_path):
    folder = models.make(kind, tmp_path / kind)
    file = folder / "model.safetensors"
    weights = load_file(file)
    lost = [name for name in weights if "layer" in name and name.endswith("weight") and "text" not in name][-1]
    save_file({name: value for name, value in weights.items() if name != lost}, file, metadata={"format": "pt"})
    line = refused(folder, "missing", "random")
    assert lost.rsplit(".", 2)[-2] in line


def test_a_vision_half_without_its_projection_is_refused(clip, tmp_path):
    """CLIPVisionModelWithProjection's file without the projection: transformers would draw one."""
    folder = models.make("clip_vision", tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "visual_projection.weight")


def test_safetensors_are_preferred_and_bin_says_that_it_was_read(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="embedshift")
    both = models.make("clip", tmp_path / "both")
    other = models.clip()
    models.widen(other, seed=1)
    torch.save(other.state_dict(), both / "pytorch_model.bin")
    old = models.make("clip", tmp_path / "old", safe=False)
    assert not (old / "model.safetensors").exists()
    first = load_encoder(str(both))
    assert "pickle" not in caplog.text
    second = load_encoder(str(old))
    assert "old: no safetensors there; its pickle was read as weights only" in caplog.text
    np.testing.assert_array_equal(first(VIEWS).embedding, second(VIEWS).embedding)
    # Equal weights, equal hash: whatever the file and wherever it lies; other weights, another.
    assert first.weights_hash == second.weights_hash
    (both / "model.safetensors").unlink()
    assert load_encoder(str(both)).weights_hash != first.weights_hash


def test_weights_in_several_files(clip, tmp_path):
    model = models.clip()
    models.widen(model)
    model.save_pretrained(clip, max_shard_size="20KB")
    (clip / "model.safetensors").unlink()
    assert len(list(clip.glob("model-*.safetensors"))) > 1
    whole = models.make("clip", tmp_path / "whole")
    assert load_encoder(str(clip)).weights_hash == load_encoder(str(whole)).weights_hash


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("form", ["zip", "bare pickle"])
def test_a_planted_payload_is_refused_and_does_not_run(form, tmp_path):
    folder, marker = models.make("clip", tmp_path / "clip", safe=False), tmp_path / "marker"
    file = folder / "pytorch_model.bin"
    planted = torch.load(file, weights_only=True) | {"extra": Payload(marker)}
    torch.save(planted, file)
    if form == "bare pickle":
        file.write_bytes(pickle.dumps({"extra": Payload(marker)}))
    else:
        assert b"touch" in zipfile.ZipFile(file).read(next(n for n in zipfile.ZipFile(file).namelist() if "pkl" in n))
    refused(folder, "weights cannot be loaded")
    assert not marker.exists()
    with contextlib.suppress(Exception):
        torch.load(file, weights_only=False)  # the payload does work
    assert marker.exists()


@pytest.mark.parametrize("model_type", ["clip", "a-new-type"])
def test_code_in_a_checkpoint_is_never_run(model_type, clip, tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked whether to run the checkpoint's code"))
    marker = tmp_path / "marker"
    (clip / "own.py").write_text(
        f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n"
        "from transformers import CLIPConfig as OwnConfig, CLIPModel as OwnModel\n"
    )
    config = json.loads((clip / "config.json").read_text())
    config |= {"model_type": model_type, "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (clip / "config.json").write_text(json.dumps(config))
    if model_type == "clip":
        assert load_encoder(str(clip)).dim == 20
    else:
        refused(clip, "'a-new-type' is not supported")
    assert not marker.exists()


@pytest.mark.parametrize("model_type", ["bert", "a-new-type"])
def test_an_unsupported_type_names_itself_and_what_is_supported(model_type, clip):
    config = json.loads((clip / "config.json").read_text()) | {"model_type": model_type}
    (clip / "config.json").write_text(json.dumps(config))
    refused(clip, repr(model_type), "Supported:", *(t for family in FAMILIES for t in family.model_types))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", "{", "no usable config.json"),
        ("config.json", None, "no usable config.json"),
        ("config.json", "[]", "no usable config.json"),
        ("config.json", '{"hidden_size": 8}', "no usable config.json (it names no model_type)"),
        ("model.safetensors", "no weights", "weights cannot be loaded"),
        ("model.safetensors", None, "weights cannot be loaded"),
        ("preprocessor_config.json", "{", "not a JSON object"),
        ("preprocessor_config.json", "[1]", "not a JSON object"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(file, content, words, clip):
    (clip / file).unlink()
    if content is not None:
        (clip / file).write_text(content)
    refused(clip, words)


def test_names_that_are_no_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("dinov2-smal-offline", "did you mean 'dinov2-small-offline'?", "local folder", code=2)
    refused("nothing-like-it", "unknown model 'nothing-like-it'", "dinov2-small-offline", code=2)
    for missing in (tmp_path / "missing", "./missing", "../missing", "~/missing", "models/clip/missing"):
        refused(missing, str(missing), "no such folder", code=2)
    (tmp_path / "empty").mkdir()
    refused("empty", "no usable config.json")


# What preprocessor_config.json says.


def preprocess_of(folder: Path, name: str = "preprocessor_config.json", **settings):
    (folder / "preprocessor_config.json").unlink(missing_ok=True)
    if settings:
        (folder / name).write_text(json.dumps(settings))
    encoder = load_encoder(str(folder))
    return encoder.size, encoder.mean, encoder.std, encoder.preprocess.shortest


def test_size_mean_and_std(clip):
    square = {"height": 40, "width": 40}
    mean, std = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    stats = {"image_mean": mean, "image_std": std}
    assert preprocess_of(clip) == (32, CLIP_MEAN, CLIP_STD, None)
    assert preprocess_of(clip, crop_size=square, size={"shortest_edge": 48}, **stats) == (
        40,
        tuple(mean),
        tuple(std),
        48,
    )
    assert preprocess_of(clip, crop_size=40, size=48)[0] == 40
    assert preprocess_of(clip, size=square) == (40, CLIP_MEAN, CLIP_STD, 40)
    assert preprocess_of(clip, size={"shortest_edge": 24})[0] == 24
    assert preprocess_of(clip, crop_size=square, do_center_crop=False, size={"shortest_edge": 24})[0] == 24
    assert preprocess_of(clip, image_mean=mean)[:3] == (32, tuple(mean), CLIP_STD)
    assert preprocess_of(clip, crop_size=square, resample=None)[0] == 40


def test_nested_processor_config_goes_first_as_in_transformers(clip):
    processor = {"image_processor": {"crop_size": {"height": 24, "width": 24}, "image_mean": HALF, "image_std": HALF}}
    assert preprocess_of(clip, "processor_config.json", **processor)[:3] == (24, HALF, HALF)
    models.write_preprocessor(clip, crop_size=40)
    assert load_encoder(str(clip)).size == 24
    # A processor without an image processor says nothing about pictures.
    (clip / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    assert load_encoder(str(clip)).size == 40


def test_a_size_of_ones_own(clip):
    models.write_preprocessor(clip, crop_size=32, size={"shortest_edge": 48})
    encoder = load_encoder(str(clip), size=64)
    assert (encoder.size, encoder.grid, encoder.preprocess.shortest) == (64, (8, 8), 96)
    refused(clip, "size 80000 is not one of 1 to 4096 pixels", code=2, size=80_000)
    refused(clip, "size 60 is not a multiple of its patch of 8 pixels", "choose another `size`", code=2, size=60)


def test_what_is_recorded_of_a_checkpoint(clip, tmp_path):
    encoder = load_encoder(str(clip))
    moved = shutil.copytree(clip, tmp_path / "moved")
    again = load_encoder(f"{moved}/")
    assert (encoder.name, again.name) == ("clip", "moved")
    assert encoder.weights_hash == again.weights_hash
    assert len(encoder.weights_hash) == 64
    # Only the half that sees pictures is in memory.
    assert not any("text_model" in name for name, _ in encoder.module.named_parameters())


@pytest.mark.parametrize(
    "settings",
    [
        {"size": "big"},
        {"size": []},
        {"size": {"shortest_edge": -3}},
        {"crop_size": 10**9},
        {"crop_size": {"height": {}}},
        {"image_mean": 0.5},
        {"image_mean": ["a", 0, 0]},
        {"image_std": [0.5, 0.5]},
        {"image_std": [0, 0.5, 0.5]},
        {"image_std": [1e999, 0.5, 0.5]},
        {"resample": 99},
        {"resample": "best"},
    ],
    ids=str,
)
def test_nonsense_of_a_preprocessor_is_one_line(settings, clip):
    models.write_preprocessor(clip, **settings)
    refused(clip, "its preprocessor_config.json makes no sense")


@pytest.mark.parametrize(
    "settings",
    [
        {"patch_size": 0},
        {"patch_size": "8"},
        {"image_size": -32},
        {"hidden_size": [24]},
        {"hidden_size": 10**9},
        {"num_hidden_layers": None},
        {"num_attention_heads": 0},
        {"hidden_act": "os.system"},
        {"torch_dtype": "own"},
        {"dtype": {"a": 1}},
        {"layer_norm_eps": "small"},
    ],
    ids=str,
)
def test_nonsense_of_a_configuration_is_one_line(settings, clip):
    config = json.loads((clip / "config.json").read_text())
    config["vision_config"] |= settings
    (clip / "config.json").write_text(json.dumps(config))
    with contextlib.suppress(EmbedshiftError):  # some is passed over by transformers, as a dtype
        assert load_encoder(str(clip)).dim == 20


def test_devices_that_compute_nothing(clip):
    refused(clip, "device 'meta' cannot be used here", "give auto or cpu", code=2, device="meta")
    refused(clip, "device 'gpu7' cannot be used here", code=2, device="gpu7")


def test_bfloat16_where_the_processor_only_emulates_it(clip, monkeypatch, caplog):
    load_encoder(str(clip), device="cpu")
    assert caplog.text == ""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    load_encoder(str(clip), device="cpu")
    assert caplog.text == ""
    load_encoder(str(clip), device="cpu", precision="bfloat16")
    assert "this processor only emulates bfloat16: `precision` float32 is faster here" in caplog.text


# The Hub, which no test reaches.


def test_the_hub_is_not_asked_when_it_is_switched_off(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface.huggingface_hub.HfApi, "model_info", lambda *_, **__: pytest.fail("asked"))
    refused("openai/clip-vit-base-patch32", "cannot be reached", "local folder", "`model` dinov2-small-offline")


def test_a_hub_that_does_not_answer_is_one_line_within_20_seconds(tmp_path):
    """A server that accepts and says nothing, which is worse than none."""
    (tmp_path / "a.png").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        settings = {"HF_ENDPOINT": f"http://127.0.0.1:{server.getsockname()[1]}", "HF_HOME": str(tmp_path / "hub")}
        done = command.finish(command.start("run", tmp_path, "--out", tmp_path / "study", **settings))
    assert done.code == 1
    assert all(word in done.line for word in ("openai/clip-vit-base-patch32", "local folder", "dinov2-small-offline"))


def _accept(server: socket.socket) -> None:
    held = []
    while True:
        try:
            held.append(server.accept())
        except OSError:
            return
