"""Every family of transformers through the one loader, against the library's own eager forward pass."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

import embedshift
from embedshift import EmbedshiftError, load_encoder
from embedshift.encoders import ENCODER_FAMILIES
from embedshift.encoders.families import family_of
from support import models, studies
from support.family_models import (
    BY_KIND,
    CASES,
    Case,
    blip,
    checkpoint,
    eager,
    encoder,
    idefics,
    pixels,
    save,
    tower_pass,
    views,
)  # fmt: skip
from support.matrix import first_only
from support.refusals import refused

pytestmark = pytest.mark.slow

TEXT_PARTS = {"text_model", "text_encoder", "text_decoder", "language_model", "lm_head", "embed_tokens"}


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(checkpoint(kind), tmp_path / kind))


def expected(case: Case, size: int) -> tuple[np.ndarray, np.ndarray]:
    grid = size // models.PATCH
    with torch.no_grad():
        embedding, row = (read(eager(case.kind), pixels(views(2, size))) for read in (case.embedding, case.row))
    return embedding.numpy(), row[:, -grid * grid :].reshape(-1, grid, grid).numpy()


def row_of(case: Case):
    """The row whose type, and whose architecture where it names any, the config has."""
    config = json.loads((checkpoint(case.kind) / "config.json").read_text())
    rows = [f for f in ENCODER_FAMILIES if config["model_type"] in f.model_types]
    return next((f for f in rows if config["architectures"][0] in f.architectures), rows[0])


@pytest.mark.parametrize("case", first_only(CASES), ids=str)
def test_embedding_and_attention_equal_the_librarys_eager_pass(case):
    for size in (None, 48):  # the checkpoint's own, and another
        loaded = load_encoder(str(checkpoint(case.kind)), size=size, embedding=case.name)
        output = loaded(views(2, loaded.size))
        embedding, attention = expected(case, loaded.size)
        side = (size or models.SIZE) // models.PATCH
        assert (loaded.grid, loaded.dim, loaded.size) == ((side, side), embedding.shape[1], side * models.PATCH)
        row = row_of(case)
        assert loaded.attention_kind == output.attention_kind == case.attention == row.attention
        chosen = row.choose(case.name)
        assert (loaded.embedding_name, loaded.embedding_definition) == (chosen.name, chosen.definition)
        assert np.abs(embedding[0] - embedding[1]).max() > 0.05, "pictures that differ must show"
        assert attention.max() > 1.5 * attention.mean(), "attention that is uniform shows nothing"
        np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
        np.testing.assert_allclose(output.attention, attention, rtol=0, atol=1e-5)
        assert not {part for name, _ in loaded.module.named_parameters() for part in name.split(".")} & TEXT_PARTS


@pytest.mark.parametrize("kind", first_only(["blip_itm", "blip_2_itm"]))
def test_a_smaller_size_interpolates_where_the_library_would_use_wrong_positions(kind):
    given = views(2, 24)
    output = load_encoder(str(checkpoint(kind)), size=24)(given)
    embedding, attention = expected(BY_KIND[kind], 24)
    np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
    np.testing.assert_allclose(output.attention, attention, rtol=0, atol=1e-5)
    with torch.no_grad():
        right = tower_pass(eager(kind), pixels(given))[0].last_hidden_state
        wrong = eager(kind).vision_model(pixels(given)).last_hidden_state
    assert (right - wrong).abs().max() > 0.01, "the library does go wrong without a word"


@pytest.mark.parametrize("kind", first_only(["clip", "idefics"]))
def test_bfloat16_files_are_read_as_float32(kind, tmp_path):
    case = BY_KIND[kind]
    path = save(case, tmp_path / kind, torch.bfloat16)
    assert {value.dtype for value in load_file(path / "model.safetensors").values()} == {torch.bfloat16}
    loaded = load_encoder(str(path))
    assert {value.dtype for value in loaded.module.parameters()} == {torch.float32}
    assert kind != "idefics" or not hasattr(loaded.module, "layers")
    reference = case.reference(path).float()
    with torch.no_grad():
        embedding = case.embedding(reference, pixels(views(2))).numpy()
    np.testing.assert_allclose(loaded(views(2)).embedding, embedding, rtol=0, atol=1e-4)


def test_every_row_of_the_table_has_a_case():
    seen = {(row_of(case).title, row_of(case).choose(case.name).name) for case in CASES}
    rows = {(family.title, e.name) for family in ENCODER_FAMILIES for e in family.embeddings if family.model_types}
    assert rows - seen == {("CLIP, vision half", "projection")}, "its tests are in test_loading.py"
    assert family_of("bert") is None


def test_another_process_gets_it_by_pickle():
    sent = pickle.loads(pickle.dumps(encoder("vit")))
    assert np.array_equal(sent(views()).embedding, encoder("vit")(views()).embedding)


def test_an_embedding_that_a_family_does_not_give(tmp_path):
    for name, kind, known in (("latents", "dinov2", "cls"), ("cls", "kosmos_2", "pooled, latents")):
        refused(checkpoint(kind), f"gives no embedding '{name}'. It gives: {known}", code=2, embedding=name)
    with pytest.raises(EmbedshiftError, match="It gives: pooled, latents"):
        embedshift.run(studies.pictures(2), out=tmp_path / "s", model=str(checkpoint("idefics")), embedding="mean")


# Weights that are missing.


def without(path: Path, *lost: str) -> None:
    file = path / "model.safetensors"
    weights = {name: value for name, value in load_file(file).items() if name not in lost}
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "lost", "said"),
    first_only(
        [
            ("clip", "vision_model.encoder.layers.0.mlp.fc1.weight", "layers.0.mlp.fc1.weight"),
            ("idefics3", "model.vision_model.encoder.layers.0.mlp.fc1.weight", "layers.0.mlp.fc1.weight"),
            ("siglip", "vision_model.head.probe", "vision_model.head.probe"),
            ("blip_itm", "vision_proj.weight", "vision_proj.weight"),
            ("blip_2_itm", "query_tokens", "query_tokens"),
        ]
    ),
)
def test_a_missing_weight_is_never_filled_at_random(kind, lost, said, copy):
    path = copy(kind)
    assert lost in load_file(path / "model.safetensors")
    without(path, lost)
    refused(path, path.name, "1 weights of", "missing", "would be random", said)


@pytest.mark.parametrize(
    ("kind", "lost"),
    first_only(
        [
            ("kosmos_2", "image_to_text_projection.dense.weight"),
            ("idefics", "model.perceiver_resampler.latents"),
            ("idefics2", "model.connector.perceiver_resampler.latents"),
            ("idefics3", "model.connector.modality_projection.proj.weight"),
        ]
    ),
)
def test_what_the_other_embedding_does_without_is_missing_for_one_alone(kind, lost, copy):
    path = copy(kind)
    without(path, lost)
    refused(path, path.name, "missing", lost.removeprefix("model."), embedding="latents")
    assert load_encoder(str(path)).embedding_name != "latents"


def test_a_checkpoint_of_another_class_is_refused(copy, tmp_path):
    """A caption file that says it is one for retrieval: its projection never existed."""
    model = blip(hf.BlipForConditionalGeneration)
    path = models.save(model, tmp_path / "caption")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"architectures": ["BlipForImageTextRetrieval"]}))
    refused(path, path.name, "vision_proj")
    # Naflex weights in a folder that says "siglip", as the fixed-size ones of SigLIP 2 do.
    path = copy("siglip2")
    config = json.loads((path / "config.json").read_text()) | {"model_type": "siglip"}
    config["vision_config"] |= {"model_type": "siglip_vision_model", "image_size": 32}
    config["text_config"]["model_type"] = "siglip_text_model"
    (path / "config.json").write_text(json.dumps(config))
    refused(path, path.name, "weights cannot be loaded")


def test_naflex_sizes(copy):
    path = copy("siglip2")
    refused(path, "size 36 is not a multiple of its patch of 8 pixels", code=2, size=36)
    (path / "preprocessor_config.json").unlink()
    assert load_encoder(str(path)).size == 32  # 16 positions of 8 pixels


def test_idefics_without_a_resampler(tmp_path):
    model = idefics(use_resampler=False)
    models.widen(model)
    path = models.save(model, tmp_path / "plain")
    loaded = load_encoder(str(path))
    assert (loaded.dim, loaded.attention_kind) == (24, "cls")
    refused(path, path.name, "perceiver_resampler", embedding="latents")
