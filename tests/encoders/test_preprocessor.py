"""What the files of a checkpoint say of its pictures, and what a user says instead: size, device, precision."""

import contextlib
import json
import shutil
from pathlib import Path

import pytest

from embedshift import EmbedshiftError, load_encoder
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD, HALF
from support import models
from support.matrix import first_only
from support.refusals import refused


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return models.make("clip", tmp_path / "clip")


def preprocess_of(folder: Path, name: str = "preprocessor_config.json", **settings):
    (folder / "preprocessor_config.json").unlink(missing_ok=True)
    if settings:
        (folder / name).write_text(json.dumps(settings))
    encoder = load_encoder(str(folder))
    return encoder.size, encoder.mean, encoder.std, encoder.preprocess.shortest


@pytest.mark.slow
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
    first_only(
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
            {"do_rescale": False},
            {"rescale_factor": 1.0},
            {"rescale_factor": float("nan")},
        ]
    ),
    ids=str,
)
def test_nonsense_of_a_preprocessor_is_one_line(settings, clip):
    models.write_preprocessor(clip, **settings)
    refused(clip, "its preprocessor_config.json is not valid")


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
    refused(clip, "device 'meta' cannot be used here", "use auto or cpu", code=2, device="meta")
    refused(clip, "device 'gpu7' cannot be used here", code=2, device="gpu7")
