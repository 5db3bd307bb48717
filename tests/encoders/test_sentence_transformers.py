"""`st:NAME`: models of sentence-transformers, against the library itself."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel

import embedshift
from embedshift.encoders.base import ReadsText
from embedshift.errors import EmbedshiftError
from support import studies
from support.models import SIZE
from support.network import no_network
from support.refusals import refused

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
FILES = [RNG.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((50, 40), (33, 64))]
TEXTS = ["a photo of the cat", "a red boat"]
PROCESSOR = {
    "size": {"shortest_edge": SIZE},
    "crop_size": {"height": SIZE, "width": SIZE},
    "image_mean": [0.5, 0.4, 0.3],
    "image_std": [0.3, 0.3, 0.3],
}


@pytest.fixture
def folder(tmp_path):
    """A folder as version 5 of the library writes it."""
    clip = Path(shutil.copytree(studies.checkpoint("reader"), tmp_path / "model" / "0_CLIPModel"))
    settings = json.loads((clip / "preprocessor_config.json").read_text())
    (clip / "preprocessor_config.json").write_text(json.dumps(settings | PROCESSOR))
    modules = [{"idx": 0, "name": "0", "path": "0_CLIPModel", "type": "sentence_transformers.models.CLIPModel"}]
    (clip.parent / "modules.json").write_text(json.dumps(modules))
    return clip.parent


def saved_by_the_library(folder, out):
    """The class of CLIP models has moved in version 6, which writes the paths of its own version."""
    import sentence_transformers as library

    try:
        from sentence_transformers.sentence_transformer.modules import CLIPModel as Saved
    except ImportError:
        from sentence_transformers.models import CLIPModel as Saved
    library.SentenceTransformer(modules=[Saved(str(folder / "0_CLIPModel"))], device="cpu").save(str(out))
    return out


@pytest.mark.parametrize("layout", ["version 5", "saved"])
def test_a_tiny_clip_gives_what_the_library_itself_gives(folder, tmp_path, layout):
    import sentence_transformers as library

    if layout == "saved":
        folder = saved_by_the_library(folder, tmp_path / "saved")
    model = library.SentenceTransformer(str(folder), device="cpu")
    with no_network() as tried:
        encoder = embedshift.load_encoder(f"st:{folder}", device="cpu")
    assert tried == []
    images = [Image.fromarray(file) for file in FILES]
    np.testing.assert_allclose(encoder(FILES).embedding, model.encode(images), atol=1e-6)
    assert isinstance(encoder, ReadsText)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), model.encode(TEXTS), atol=1e-6)
    assert (encoder.name, encoder.size, encoder.device) == (folder.name, SIZE, "cpu")


def test_its_version_is_that_of_its_weights_and_its_settings(folder):
    first = embedshift.load_encoder(f"st:{folder}").version
    assert embedshift.load_encoder(f"st:{folder}").version == first
    file = folder / "0_CLIPModel" / "preprocessor_config.json"
    file.write_text(file.read_text().replace("0.3", "0.31"))
    assert embedshift.load_encoder(f"st:{folder}").version != first


def test_what_is_no_model_of_it_is_refused(folder, monkeypatch):
    refused(f"st:{folder / '0_CLIPModel'}", "cannot be loaded", "modules.json")
    refused(f"st:{folder}", "`embedding`", code=2, embedding="cls")
    (folder / "modules.json").write_text(json.dumps([{"type": "own.Module", "path": ""}]))
    refused(f"st:{folder}", "names the class own.Module; refused")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    refused(f"st:{folder}", "pip install 'embedshift[st]'")


def test_missing_weights_are_refused_and_not_made_up(folder):
    file = folder / "0_CLIPModel" / "model.safetensors"
    weights = load_file(file)
    del weights["logit_scale"]
    save_file(weights, file, {"format": "pt"})
    refused(f"st:{folder}", "1 weights of CLIPModel are missing from the checkpoint (logit_scale, …)")
    loader = CLIPModel.from_pretrained(folder / "0_CLIPModel")  # outside, transformers is as it was
    assert isinstance(loader, CLIPModel)


def test_texts_that_cannot_be_read_are_one_line(folder, monkeypatch):
    class PanicException(BaseException):
        """As pyo3 raises it: no Exception."""

    def panic(*_given, **_settings):
        raise PanicException("retry limit")

    encoder = embedshift.load_encoder(f"st:{folder}")
    (folder / "0_CLIPModel" / "tokenizer.json").unlink()
    with pytest.raises(EmbedshiftError, match=r"^model: no tokenizer in its folder"):
        encoder.encode_text(TEXTS)
    (folder / "0_CLIPModel" / "vocab.json").write_text("{}")
    monkeypatch.setattr("sentence_transformers.SentenceTransformer.encode", panic)
    with pytest.raises(EmbedshiftError, match=r"^model: cannot encode texts \(PanicException: retry limit\)$"):
        encoder.encode_text(TEXTS)


@pytest.mark.parametrize("place", ["README.md", "0_CLIPModel/more/a.txt"])
def test_nothing_in_its_folder_is_waited_for(folder, place):
    (folder / place).parent.mkdir(exist_ok=True)
    os.mkfifo(folder / place)
    refused(f"st:{folder}", f"{folder / place}: a FIFO, not a file")
