"""Checkpoints as users have them: whole, old, broken, hostile, out of reach."""

import contextlib
import json
import logging
import pickle
import socket
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embedshift import load_encoder
from embedshift.encoders import huggingface
from embedshift.encoders.families import ENCODER_FAMILIES
from support import command, models
from support.matrix import first_only
from support.refusals import refused

VIEWS = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return models.make("clip", tmp_path / "clip")


@pytest.mark.parametrize("kind", first_only(models.MAKERS))
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


@pytest.mark.slow
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
    assert "old: no safetensors file; its pickle was read as weights only" in caplog.text
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
    refused(folder, "weights cannot be loaded (its pickle is damaged or holds more than weights; give safetensors)")
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
    refused(clip, repr(model_type), "Supported:", *(t for family in ENCODER_FAMILIES for t in family.model_types))


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("config.json", "{", "no usable config.json"),
        ("config.json", None, "no usable config.json"),
        ("config.json", "[]", "no usable config.json"),
        ("config.json", '{"hidden_size": 8}', "no usable config.json (it has no model_type)"),
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


# The Hub, which no test reaches.


def test_the_hub_is_not_asked_when_it_is_switched_off(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface.huggingface_hub.HfApi, "model_info", lambda *_, **__: pytest.fail("asked"))
    refused("openai/clip-vit-base-patch32", "cannot be reached", "local folder", "`model` dinov2-small-offline")


@pytest.mark.matrix
@pytest.mark.slow
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
