"""`st:NAME`: models of sentence-transformers, by a stand-in for the library, and by the library itself."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

import embedshift
from embedshift.encoders.base import ReadsText
from embedshift.errors import EmbedshiftError
from support.models import SIZE
from support.network import no_network
from support.refusals import refused
from support.tokenizers_made import make_clip

RNG = np.random.default_rng(0)
FILES = [RNG.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((50, 40), (33, 64))]
TEXTS = ["a photo of the cat", "a red boat"]
PROCESSOR = {
    "size": {"shortest_edge": SIZE},
    "crop_size": {"height": SIZE, "width": SIZE},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.3, 0.3, 0.3],
}


class Module(nn.Module):
    """Both towers of a CLIP, as `sentence_transformers.models.CLIPModel` holds them."""

    def __init__(self, folder):
        super().__init__()
        self.model = CLIPModel.from_pretrained(folder).eval()
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        self.processor = SimpleNamespace(image_processor=processor)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)


class StandIn(nn.Sequential):
    """What is used of `SentenceTransformer`."""

    def __init__(self, folder, *, device, trust_remote_code, local_files_only):
        assert (trust_remote_code, local_files_only) == (False, True)
        super().__init__(Module(f"{folder}/0_CLIPModel"))
        self.device = torch.device(device)

    def encode(self, inputs, batch_size=32, show_progress_bar=None):
        assert isinstance(inputs, list)
        assert show_progress_bar is False
        module = self[0]
        with torch.inference_mode():
            if isinstance(inputs[0], str):
                tokens = module.tokenizer(inputs, padding=True, return_tensors="pt", return_token_type_ids=False)
                return module.model.get_text_features(**tokens).pooler_output.numpy()
            pixels = module.processor.image_processor(images=inputs, return_tensors="pt")["pixel_values"]
            return module.model.get_image_features(pixels).pooler_output.numpy()


@pytest.fixture
def folder(tmp_path):
    """A folder as sentence-transformers writes it."""
    clip = make_clip(tmp_path / "model" / "0_CLIPModel")
    settings = json.loads((clip / "preprocessor_config.json").read_text())
    (clip / "preprocessor_config.json").write_text(json.dumps(settings | PROCESSOR))
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    (clip.parent / "modules.json").write_text(json.dumps(modules))
    return clip.parent


@pytest.fixture
def stand_in(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=StandIn))


def test_it_gives_what_the_library_gives(folder, stand_in):
    with no_network() as tried:
        encoder = embedshift.load_encoder(f"st:{folder}", device="cpu")
    assert tried == []
    model = StandIn(folder, device="cpu", trust_remote_code=False, local_files_only=True)
    images = [Image.fromarray(file) for file in FILES]
    np.testing.assert_allclose(encoder(FILES).embedding, model.encode(images, show_progress_bar=False), atol=1e-6)
    assert isinstance(encoder, ReadsText)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), model.encode(TEXTS, show_progress_bar=False), atol=1e-6)
    assert (encoder.name, encoder.size, encoder.device) == ("model", SIZE, "cpu")


def test_its_version_is_that_of_its_weights_and_its_settings(folder, stand_in):
    first = embedshift.load_encoder(f"st:{folder}").version
    assert embedshift.load_encoder(f"st:{folder}").version == first
    file = folder / "0_CLIPModel" / "preprocessor_config.json"
    file.write_text(file.read_text().replace("0.3", "0.31"))
    assert embedshift.load_encoder(f"st:{folder}").version != first


def test_what_is_no_model_of_it_is_refused(folder, stand_in, monkeypatch):
    refused(f"st:{folder / '0_CLIPModel'}", "cannot be loaded", "modules.json")
    refused(f"st:{folder}", "`embedding`", code=2, embedding="cls")
    (folder / "modules.json").write_text(json.dumps([{"type": "own.Module", "path": ""}]))
    refused(f"st:{folder}", "names the class own.Module; refused")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    refused(f"st:{folder}", "pip install 'embedshift[st]'")


def test_missing_weights_are_refused_and_not_made_up(folder, stand_in):
    file = folder / "0_CLIPModel" / "model.safetensors"
    weights = load_file(file)
    del weights["logit_scale"]
    save_file(weights, file, {"format": "pt"})
    refused(f"st:{folder}", "1 weights of CLIPModel are missing from the checkpoint (logit_scale, …)")
    loader = CLIPModel.from_pretrained(folder / "0_CLIPModel")  # outside, transformers is as it was
    assert isinstance(loader, CLIPModel)


def test_texts_that_cannot_be_read_are_one_line(folder, stand_in, monkeypatch):
    class PanicException(BaseException):
        """As pyo3 raises it: no Exception."""

    def panic(*_given, **_settings):
        raise PanicException("retry limit")

    encoder = embedshift.load_encoder(f"st:{folder}")
    (folder / "0_CLIPModel" / "tokenizer.json").unlink()
    with pytest.raises(EmbedshiftError, match=r"^model: no tokenizer in its folder"):
        encoder.encode_text(TEXTS)
    (folder / "0_CLIPModel" / "vocab.json").write_text("{}")
    monkeypatch.setattr(StandIn, "encode", panic)
    with pytest.raises(EmbedshiftError, match=r"^model: cannot encode texts \(PanicException: retry limit\)$"):
        encoder.encode_text(TEXTS)


@pytest.mark.parametrize("place", ["README.md", "0_CLIPModel/more/a.txt"])
def test_nothing_in_its_folder_is_waited_for(folder, stand_in, place):
    (folder / place).parent.mkdir(exist_ok=True)
    os.mkfifo(folder / place)
    refused(f"st:{folder}", f"{folder / place}: a FIFO, not a file")


def clip_by_the_library(folder):
    """The class of CLIP models, which version 6 of the library moved."""
    try:
        from sentence_transformers.sentence_transformer.modules import CLIPModel as Saved
    except ImportError:
        from sentence_transformers.models import CLIPModel as Saved
    return Saved(str(folder))


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["version 5", "saved", pytest.param("Transformer", marks=pytest.mark.matrix)])
def test_a_tiny_clip_gives_what_the_library_itself_gives(folder, tmp_path, layout):
    import sentence_transformers as library

    if layout != "version 5":  # the library writes the paths of its own version
        module = clip_by_the_library(folder / "0_CLIPModel")
        if layout == "Transformer":
            if not hasattr(module, "modality_config"):
                pytest.skip("this version reads no images by its Transformer")
            module = type(module).__bases__[0](str(folder / "0_CLIPModel"))
        library.SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "saved"))
        folder = tmp_path / "saved"
    model = library.SentenceTransformer(str(folder), device="cpu")
    with no_network() as tried:
        encoder = embedshift.load_encoder(f"st:{folder}", device="cpu")
    assert tried == []
    images = [Image.fromarray(file) for file in FILES]
    np.testing.assert_allclose(encoder(FILES).embedding, model.encode(images), atol=1e-6)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), model.encode(TEXTS), atol=1e-6)
    assert encoder.size == SIZE
