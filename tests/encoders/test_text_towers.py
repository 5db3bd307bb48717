"""Text towers: loaded alone, and equal to what the library's whole model says of texts and of pictures."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from embedshift import load_encoder
from embedshift.encoders import ENCODER_FAMILIES, TextEncoder, load_text_encoder
from support import models
from support.family_models import BY_KIND, checkpoint, pixels, siglip2_inputs, views
from support.matrix import first_only
from support.once import made
from support.refusals import refused
from support.tokenizers_made import END, save_tokenizer

pytestmark = pytest.mark.slow

TEXTS = ["a photo of a cat", "the noisy dog of a boat", "itap", "a word that no one knows"]
LONG = "a small red boat " * 30
SCORED = ("clip", "chinese_clip", "altclip", "metaclip_2", "siglip", "siglip2", "blip_itm", "blip_model")


def make(kind: str):
    """The tiny model of a family; SigLIP has one width for both towers, as its checkpoints do."""
    model = BY_KIND[kind].make()
    if kind.startswith("siglip"):
        config = model.config
        config.text_config = type(config.text_config)(**models.TEXT | {"hidden_size": 24, "projection_size": 24})
        model = type(model)(config)
    if kind in ("clip", "metaclip_2"):  # which read the vector at the end of the text
        model.config.text_config.eos_token_id = END
    models.widen(model)
    return model


def with_tokenizer(folder: Path, kind: str) -> None:
    save_tokenizer(models.save(make(kind), folder / kind))


def folder(kind: str) -> Path:
    """The checkpoint of one kind, made once; for reading alone."""
    return made(with_tokenizer, kind) / kind


@functools.cache
def whole(kind):
    return type(BY_KIND[kind].make()).from_pretrained(folder(kind)).eval()


@functools.cache
def reader(kind):
    return load_text_encoder(str(folder(kind)))


def tokens(kind, texts):
    """As the family's own processor gives them: SigLIP's are all of one length, without a mask."""
    tokenizer = hf.AutoTokenizer.from_pretrained(folder(kind), padding_side="right")
    if kind.startswith("siglip"):
        long = whole(kind).config.text_config.max_position_embeddings
        found = tokenizer(texts, padding="max_length", max_length=long, truncation=True, return_tensors="pt")
        return {"input_ids": found["input_ids"]}
    found = tokenizer(texts, padding=True, truncation=True, max_length=38, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def text_vectors(kind, texts):
    model, given = whole(kind), tokens(kind, texts)
    with torch.no_grad():
        if kind == "blip_itm":
            return model.text_proj(model.text_encoder(**given).last_hidden_state[:, 0]).numpy()
        if kind == "blip_2_itm":
            black = torch.zeros(len(texts), 3, models.SIZE, models.SIZE)
            return model(pixel_values=black, **given, use_image_text_matching_head=False).text_embeds.numpy()
        return model.get_text_features(**given).pooler_output.numpy()


# SigLIP reads the last place, mostly padding, whatever the length of a text.
@pytest.mark.parametrize("kind", ["siglip2", *first_only(sorted({*SCORED, "blip_2_itm"} - {"siglip2"}))])
def test_vectors_equal_those_of_the_whole_model(kind):
    encoder = reader(kind)
    expected = text_vectors(kind, TEXTS)
    assert np.abs(expected[0] - expected[1]).max() > 0.05, "texts that differ must show"
    assert isinstance(encoder, TextEncoder)
    assert (encoder.name, encoder.dim) == (kind, expected.shape[1])
    np.testing.assert_allclose(encoder(TEXTS), expected, rtol=0, atol=2e-5)
    assert encoder(TEXTS).dtype == np.float32
    assert not any("vision" in name.split(".")[0] for name, _ in encoder.module.named_parameters())
    assert encoder(["cat", LONG]).shape == (2, encoder.dim), "too long is cut"
    np.testing.assert_array_equal(encoder([LONG]), encoder([LONG + "cat"]))
    assert encoder([]).shape == (0, encoder.dim)


@pytest.mark.parametrize("kind", first_only(SCORED))
def test_a_cosine_with_a_picture_is_the_models_own_score(kind):
    """So the text's vector is in the space of the embedding that a study measures."""
    model, given, shown = whole(kind), tokens(kind, TEXTS), pixels(views())
    with torch.no_grad():
        if kind == "blip_itm":
            scores = model(pixel_values=shown, **given, use_itm_head=False).itm_score
        else:
            inputs = siglip2_inputs(model, shown) if kind == "siglip2" else {"pixel_values": shown}
            output = model(**inputs, **given)
            scores = (output.logits_per_image - getattr(model, "logit_bias", 0)) / model.logit_scale.exp()
    image, text = load_encoder(str(folder(kind)))(views()).embedding, reader(kind)(TEXTS)
    image, text = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (image, text))
    np.testing.assert_allclose(image @ text.T, scores.numpy(), rtol=0, atol=2e-5)


def test_equal_slices_whoever_asks():
    encoder = reader("clip")
    texts = [f"a {'small ' * (i % 5)}cat" for i in range(70)]
    assert encoder(texts)[:64].tobytes() == encoder(texts[:64]).tobytes()
    assert encoder(texts)[64:].tobytes() == encoder(texts[64:]).tobytes()
    assert encoder.weights_hash == load_text_encoder(str(folder("clip"))).weights_hash
    low = load_text_encoder(str(folder("clip")), precision="bfloat16")(TEXTS)
    assert 0 < np.abs(low - encoder(TEXTS)).max() < 0.2 * np.abs(low).max()


def test_clips_own_tokenizer_from_the_files_of_old(tmp_path):
    path = models.save(make("clip"), tmp_path / "clip")
    letters = {"a": 0, "c": 1, "t": 2, "a</w>": 3, "t</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": END}
    (path / "vocab.json").write_text(json.dumps(letters))
    (path / "merges.txt").write_text("#version: 0.2\n")
    (path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer"}))
    model = hf.CLIPModel.from_pretrained(path).eval()
    ids = torch.tensor([[5, 1, 0, 4, END]])
    with torch.no_grad():
        expected = model.get_text_features(input_ids=ids).pooler_output.numpy()
    np.testing.assert_allclose(load_text_encoder(str(path))(["Cat"]), expected, rtol=0, atol=1e-5)


refused_text = functools.partial(refused, load=load_text_encoder)


def throw(error):
    raise error


def test_what_is_refused(tmp_path, monkeypatch):
    lost = "text_model.encoder.layers.0.mlp.fc1.weight"
    path = shutil.copytree(folder("clip"), tmp_path / "clip")
    weights = load_file(path / "model.safetensors")
    save_file({k: v for k, v in weights.items() if k != lost}, path / "model.safetensors", metadata={"format": "pt"})
    refused_text(path, "missing", lost, "would be random", code=1)
    assert load_encoder(str(path)).dim == 20, "the pictures' part does without"
    path = shutil.copytree(folder("clip"), tmp_path / "speechless")
    (path / "tokenizer.json").unlink()
    refused_text(path, "speechless: no tokenizer in the checkpoint", code=1)
    (path / "tokenizer.json").write_text("{")
    refused_text(path, "its tokenizer cannot be loaded", code=1)
    needs = ImportError("SiglipTokenizer requires the sentencepiece library")
    monkeypatch.setattr(hf.AutoTokenizer, "from_pretrained", lambda *_args, **_settings: throw(needs))
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    refused_text(path, "its tokenizer cannot be loaded (it needs: pip install sentencepiece)", code=1)
    refused_text(tmp_path / "none", "no such folder", code=2)


def test_models_without_a_text_tower():
    for kind in ("dinov2", "blip_caption"):
        line = refused_text(checkpoint(kind), f"{kind} has no text tower", code=2)
        assert "vision-language model such as openai/clip-vit-base-patch32" in line
    refused_text("dinov2-small-offline", "has no text tower", code=2)
    refused_text("timm:vit_small_patch16_224.augreg_in21k_ft_in1k", "has no text tower", code=2)


def test_families_with_a_text_tower_are_the_ones_tested():
    tested = {hf.AutoConfig.from_pretrained(folder(kind)).model_type for kind in (*SCORED, "blip_2_itm")}
    assert {model_type for family in ENCODER_FAMILIES if family.text for model_type in family.model_types} == tested
