"""Checkpoints as users have them: whole, old, broken, hostile, linked, out of reach; what they say of pictures."""

import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embedshift import load_encoder
from embedshift.encoders import huggingface
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, HALF
from support import models, studies
from support.family_models import views
from support.refusals import refused


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return Path(shutil.copytree(studies.checkpoint("clip"), tmp_path / "clip"))


@pytest.mark.parametrize("lost", ["visual_projection.weight", "vision_model.encoder.layers.2.mlp.fc2.weight"])
def test_missing_weights_of_a_vision_half_are_named_never_filled(lost, tmp_path):
    """CLIPVisionModelWithProjection's file: transformers would draw what is not there."""
    folder = shutil.copytree(studies.checkpoint("clip_vision"), tmp_path / "half")
    weights = load_file(folder / "model.safetensors")
    del weights[lost]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    refused(folder, "missing", "random", lost.removeprefix("vision_model."))


@pytest.mark.slow
def test_safetensors_are_preferred_and_bin_says_that_it_was_read(clip, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="embedshift")
    other = models.clip()
    models.widen(other, seed=1)
    torch.save(other.state_dict(), clip / "pytorch_model.bin")
    old = models.make("clip", tmp_path / "old", safe=False)
    assert not (old / "model.safetensors").exists()
    first = load_encoder(str(clip))
    assert "pickle" not in caplog.text
    second = load_encoder(str(old))
    assert "old: no safetensors file; its pickle was read as weights only" in caplog.text
    np.testing.assert_array_equal(first(views()).embedding, second(views()).embedding)
    # Equal weights, equal hash: whatever the file and wherever it lies; other weights, another.
    assert first.weights_hash == second.weights_hash
    assert len(first.weights_hash) == 64
    (clip / "model.safetensors").unlink()
    assert load_encoder(str(clip)).weights_hash != first.weights_hash


def test_weights_in_several_files_in_a_folder_with_a_slash(clip):
    whole = load_encoder(f"{clip}/")
    model = models.clip()
    models.widen(model)
    model.save_pretrained(clip, max_shard_size="20KB")
    (clip / "model.safetensors").unlink()
    assert len(list(clip.glob("model-*.safetensors"))) > 1
    assert load_encoder(str(clip)).weights_hash == whole.weights_hash
    assert whole.name == "clip"


def test_a_link_to_weights_elsewhere_gives_the_same_encoder(clip, tmp_path):
    """As the Hub's own cache has them."""
    weights = (clip / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    (clip / "model.safetensors").symlink_to(weights)
    linked = load_encoder(str(clip))
    (clip / "model.safetensors").unlink()
    os.link(weights, clip / "model.safetensors")
    assert linked.weights_hash == load_encoder(str(clip)).weights_hash


def test_a_link_to_what_has_no_weights_is_one_line_without_its_content(clip):
    (clip / "secret.txt").write_text("token=123456789")
    (clip / "model.safetensors").unlink()
    (clip / "model.safetensors").symlink_to("secret.txt")
    assert "123456789" not in refused(clip, str(clip))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", "{", "no usable config.json"),
        ("config.json", None, "no usable config.json"),
        ("config.json", "[]", "no usable config.json"),
        ("config.json", '{"hidden_size": 8}', "no usable config.json (it has no model_type)"),
        ("config.json", '{"model_type": "bert"}', "'bert' is not supported"),
        ("model.safetensors", None, "weights cannot be loaded"),
        ("preprocessor_config.json", "[1]", "not a JSON object"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(file, content, words, clip):
    (clip / file).unlink()
    if content is not None:
        (clip / file).write_text(content)
    refused(clip, words)


# The Hub, which no test reaches.


def test_names_that_are_no_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("dinov2-smal-offline", "did you mean 'dinov2-small-offline'?", "local folder", code=2)
    refused("nothing-like-it", "unknown model 'nothing-like-it'", "dinov2-small-offline", code=2)
    for missing in (tmp_path / "missing", "./missing", "../missing", "~/missing", "models/clip/missing"):
        refused(missing, str(missing), "no such folder", code=2)
    (tmp_path / "empty").mkdir()
    refused("empty", "no usable config.json")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface.huggingface_hub.HfApi, "model_info", lambda *_, **__: pytest.fail("asked"))
    refused("openai/clip-vit-base-patch32", "cannot be reached", "local folder", "`model` dinov2-small-offline")


# What the files of a checkpoint say of its pictures, and what a user says instead: size, device.


def preprocess_of(folder: Path, name: str = "preprocessor_config.json", **settings):
    (folder / "preprocessor_config.json").unlink(missing_ok=True)
    if settings:
        (folder / name).write_text(json.dumps(settings))
    encoder = load_encoder(str(folder))
    return encoder.size, encoder.mean, encoder.std, encoder.preprocess.shortest


@pytest.mark.slow
def test_size_mean_and_std(clip):
    square, mean, std = {"height": 40, "width": 40}, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    assert preprocess_of(clip) == (32, CLIP_MEAN, CLIP_STD, None)
    given = {"crop_size": square, "size": {"shortest_edge": 48}, "image_mean": mean, "image_std": std}
    assert preprocess_of(clip, **given) == (40, mean, std, 48)
    assert preprocess_of(clip, crop_size=40, size=48)[0] == 40
    assert preprocess_of(clip, size=square) == (40, CLIP_MEAN, CLIP_STD, 40)
    assert preprocess_of(clip, size={"shortest_edge": 24}, image_mean=mean)[:3] == (24, mean, CLIP_STD)
    assert preprocess_of(clip, crop_size=square, do_center_crop=False, size={"shortest_edge": 24})[0] == 24
    assert preprocess_of(clip, crop_size=square, resample=None)[0] == 40


def test_nested_processor_config_goes_first_as_in_transformers(clip):
    processor = {"image_processor": {"crop_size": {"height": 24, "width": 24}, "image_mean": HALF, "image_std": HALF}}
    assert preprocess_of(clip, "processor_config.json", **processor)[:3] == (24, HALF, HALF)
    models.write_preprocessor(clip, crop_size=40)
    assert load_encoder(str(clip)).size == 24
    # A processor without an image processor says nothing about pictures.
    (clip / "processor_config.json").write_text('{"processor_class": "CLIPProcessor"}')
    assert load_encoder(str(clip)).size == 40


def test_a_size_and_a_device_of_ones_own(clip):
    models.write_preprocessor(clip, crop_size=32, size={"shortest_edge": 48})
    encoder = load_encoder(str(clip), size=64)
    assert (encoder.size, encoder.grid, encoder.preprocess.shortest) == (64, (8, 8), 96)
    refused(clip, "size 80000 is not one of 1 to 4096 pixels", code=2, size=80_000)
    refused(clip, "size 60 is not a multiple of its patch of 8 pixels", "choose another `size`", code=2, size=60)
    refused(clip, "device 'meta' cannot be used here", "use auto or cpu", code=2, device="meta")
    refused(clip, "device 'gpu7' cannot be used here", code=2, device="gpu7")
    refused(clip, "device 'cpu,cpu': give one; `engine` ray uses all GPUs of a machine", code=2, device="cpu,cpu")


@pytest.mark.parametrize("settings", [{"do_rescale": False}, {"rescale_factor": float("nan")}], ids=str)
def test_pixels_that_are_scaled_otherwise_are_refused(settings, clip):
    """Other nonsense of a preprocessor is in tests/security/test_malformed_models.py."""
    models.write_preprocessor(clip, **settings)
    refused(clip, "its preprocessor_config.json is not valid (ValueError: pixels are not scaled by 1/255")
