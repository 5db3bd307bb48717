"""A mistyped folder of a model says first that there is no such folder, and only then speaks of the Hub."""

import socket

import pytest

from embedshift.encoders import huggingface
from support.matrix import first_only
from support.refusals import refused


def say_nothing(*_arguments, **_settings):
    raise TimeoutError("no answer")


@pytest.mark.parametrize("name", ["checkpoints/clip-finetuned", "models/no such one"])
def test_no_such_folder_comes_before_the_hub(name, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name.split("/")[0]).mkdir()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    caplog.set_level("INFO", "embedshift")
    monkeypatch.setattr(huggingface.huggingface_hub.HfApi, "model_info", say_nothing)
    refused(name, f"{name}: no such folder, and not in the local cache of the Hugging Face Hub", "cannot be reached")
    assert caplog.records[0].message.startswith(f"{name}: no such folder, and the Hugging Face Hub does not answer")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(name, f"{name}: no such folder, and not in the local cache of the Hugging Face Hub", "cannot be reached")


@pytest.mark.parametrize("model", first_only(["timm:hf-hub:a/b", "open_clip:hf-hub:a/b", "st:a/b"]))
def test_a_hub_that_accepts_and_never_answers_is_asked_once(model, tmp_path, monkeypatch):
    hub = huggingface.huggingface_hub.constants
    monkeypatch.setattr(huggingface, "HUB_SECONDS", 0.5)
    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr(hub, "ENDPOINT", address)
        monkeypatch.setattr(hub, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
        refused(model, "b", "loaded (")
        server.accept()[0].close()
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_a_name_that_the_hub_does_not_know(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    response = type("Response", (), {"headers": {}, "status_code": 404, "request": None})()
    error = huggingface.huggingface_hub.errors.RepositoryNotFoundError("404", response=response)

    def unknown(*_arguments, **_settings):
        raise error

    monkeypatch.setattr(huggingface.huggingface_hub.HfApi, "model_info", unknown)
    refused("checkpoints/clip", "checkpoints/clip: no such folder, and no accessible model on the Hugging Face Hub")


@pytest.mark.parametrize("name", ["checkpoints/epch3", "./checkpoints/epch3"])
def test_a_folder_of_a_similar_name_is_proposed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("epoch3", "other"):
        (tmp_path / "checkpoints" / folder).mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused(name, f"{name}: no such folder (did you mean checkpoints/epoch3?)", code=1 + name.startswith("."))


@pytest.mark.parametrize("library", ["", "st:", "onnx:", "timm:local-dir:", "open_clip:local-dir:"])
def test_a_name_that_no_folder_can_have_is_one_line(library):
    refused(f"{library}{'a' * 300}", "no such folder (File name too long", code=2)
    refused(f"{library}~nobody-of-this-name/a", "~nobody-of-this-name/a: no such f", code=1 if library == "st:" else 2)


def test_a_folder_of_sentence_transformers_that_is_not_there(monkeypatch):
    def unknown(*_arguments, **_settings):
        raise OSError("offline")

    monkeypatch.setattr(huggingface.huggingface_hub, "snapshot_download", unknown)
    refused("st:models/clip", "st:models/clip: no such folder, and no model of the Hugging Face Hub can be loaded")
    refused("st:", "st: name a folder after it", code=2)
