"""Every family of transformers through the one loader, against the library's own eager forward pass."""

import html
import json
import pickle
import shutil
import subprocess
import sys
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
from support import models
from support.family_models import CASES, Case, blip, idefics, save, tower_pass
from support.matrix import first_only
from support.refusals import refused

pytestmark = pytest.mark.slow

BY_KIND = {case.kind: case for case in CASES[::-1]}  # the default embedding of each
Folder = Callable[[str], Path]


def ids(case: Case) -> str:
    return f"{case.kind}-{case.name}" if case.name else case.kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The checkpoint of one kind; to be read only."""
    root = tmp_path_factory.mktemp("families")

    def of(kind: str) -> Path:
        if not (root / kind).exists():
            save(BY_KIND[kind], root / kind)
        return root / kind

    return of


@pytest.fixture
def copy(folder: Folder, tmp_path: Path) -> Folder:
    return lambda kind: Path(shutil.copytree(folder(kind), tmp_path / kind))


def views(size: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def pixels(given: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((given / 255 - models.MEAN) / models.STD).transpose(0, 3, 1, 2)).float()


def expected(case: Case, reference: object, size: int) -> tuple[np.ndarray, np.ndarray]:
    grid = size // models.PATCH
    with torch.no_grad():
        embedding, row = (read(reference, pixels(views(size))) for read in (case.embedding, case.row))
    return embedding.numpy(), row[:, -grid * grid :].reshape(-1, grid, grid).numpy()


@pytest.mark.parametrize("case", first_only(CASES), ids=ids)
def test_embedding_and_attention_equal_the_librarys_eager_pass(case, folder):
    reference = case.reference(folder(case.kind))
    for size in (None, 48):  # the checkpoint's own, and another
        encoder = load_encoder(str(folder(case.kind)), size=size, embedding=case.name)
        output = encoder(views(encoder.size))
        embedding, attention = expected(case, reference, encoder.size)
        side = (size or models.SIZE) // models.PATCH
        assert (encoder.grid, encoder.dim, encoder.size) == ((side, side), embedding.shape[1], side * models.PATCH)
        row = row_of(case, folder)
        assert encoder.attention_kind == output.attention_kind == case.attention == row.attention
        chosen = row.choose(case.name)
        assert (encoder.embedding_name, encoder.embedding_definition) == (chosen.name, chosen.definition)
        assert np.abs(embedding[0] - embedding[1]).max() > 0.05, "pictures that differ must show"
        assert attention.max() > 1.5 * attention.mean(), "attention that is uniform shows nothing"
        np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
        np.testing.assert_allclose(output.attention, attention, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", first_only(["blip_itm", "blip_caption", "blip_2_itm", "blip_2_caption"]))
def test_a_smaller_size_interpolates_where_the_library_would_use_wrong_positions(kind, folder):
    case, size = BY_KIND[kind], 24
    reference = case.reference(folder(kind))
    output = load_encoder(str(folder(kind)), size=size)(views(size))
    embedding, attention = expected(case, reference, size)
    np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
    np.testing.assert_allclose(output.attention, attention, rtol=0, atol=1e-5)
    with torch.no_grad():
        right = tower_pass(reference, pixels(views(size)))[0].last_hidden_state
        wrong = reference.vision_model(pixels(views(size))).last_hidden_state
    assert (right - wrong).abs().max() > 0.01, "the library does go wrong without a word"


@pytest.mark.parametrize("kind", first_only(BY_KIND))
def test_bfloat16_files_are_read_as_float32_and_no_text_part_is_in_memory(kind, tmp_path):
    case = BY_KIND[kind]
    path = save(case, tmp_path / kind, torch.bfloat16)
    assert {value.dtype for value in load_file(path / "model.safetensors").values()} == {torch.bfloat16}
    encoder = load_encoder(str(path))
    assert {value.dtype for value in encoder.module.parameters()} == {torch.float32}
    reference = type(case.make()).from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    np.testing.assert_allclose(encoder(views(32)).embedding, expected(case, reference, 32)[0], rtol=0, atol=1e-4)
    text = {"text_model", "text_encoder", "text_decoder", "language_model", "lm_head", "embed_tokens"}
    assert {part for name, _ in encoder.module.named_parameters() for part in name.split(".")} & text == set()
    assert kind != "idefics" or not hasattr(encoder.module, "layers")


def test_every_row_of_the_table_has_a_case(folder):
    seen = {(row_of(case, folder).title, row_of(case, folder).choose(case.name).name) for case in CASES}
    rows = {(family.title, e.name) for family in ENCODER_FAMILIES for e in family.embeddings if family.model_types}
    assert rows - seen == {("CLIP, vision half", "projection")}, "its tests are in test_loading.py"


def row_of(case: Case, folder: Folder):
    """The row whose type, and whose architecture where it names any, the config has."""
    config = json.loads((folder(case.kind) / "config.json").read_text())
    rows = [f for f in ENCODER_FAMILIES if config["model_type"] in f.model_types]
    return next((f for f in rows if config["architectures"][0] in f.architectures), rows[0])


def test_another_process_gets_it_by_pickle(folder):
    encoder = load_encoder(str(folder("vit")))
    given = views(encoder.size)
    assert np.array_equal(pickle.loads(pickle.dumps(encoder))(given).embedding, encoder(given).embedding)


def test_an_embedding_that_a_family_does_not_give(folder, tmp_path):
    for name, kind, known in (("latents", "dinov2", "cls"), ("cls", "kosmos_2", "pooled, latents")):
        with pytest.raises(EmbedshiftError, match=f"gives no embedding '{name}'. It gives: {known}") as caught:
            load_encoder(str(folder(kind)), embedding=name)
        assert caught.value.exit_code == 2
    with pytest.raises(EmbedshiftError, match="It gives: pooled, latents"):
        embedshift.run(
            models.pictures(tmp_path / "p", 1), out=tmp_path / "s", model=str(folder("idefics")), embedding="mean"
        )


# Weights that are missing.


def without(path: Path, *lost: str) -> None:
    file = path / "model.safetensors"
    weights = {name: value for name, value in load_file(file).items() if name not in lost}
    save_file(weights, file, metadata={"format": "pt"})


@pytest.mark.parametrize("kind", first_only(BY_KIND))
def test_a_missing_vision_weight_is_refused_by_name(kind, copy):
    path = copy(kind)
    names = sorted(load_file(path / "model.safetensors"))
    vision = [name for name in names if "vision_model" in name] or names
    lost = next(n for n in vision if "layer" in n and n.endswith("weight") and ("mlp" in n or "intermediate" in n))
    without(path, lost)
    told = {"vit": "layers.0.mlp.fc1.weight", "deit": "layers.0.mlp.fc1.weight"}  # files keep older names
    refused(path, path.name, "1 weights of", "missing", "random", told.get(kind, ".".join(lost.rsplit(".", 2)[-2:])))


@pytest.mark.parametrize(
    ("kind", "lost", "embedding"),
    first_only(
        [
            ("clip", "visual_projection.weight", None),
            ("siglip", "vision_model.head.probe", None),
            ("siglip2", "vision_model.head.attention.in_proj_weight", None),
            ("blip_itm", "vision_proj.weight", None),
            ("blip_model", "visual_projection.weight", None),
            ("blip_2_itm", "vision_projection.weight", None),
            ("blip_2_itm", "query_tokens", None),
            ("blip_2_caption", "qformer.layernorm.weight", None),
            ("kosmos_2", "image_to_text_projection.dense.weight", "latents"),
            ("idefics", "model.perceiver_resampler.latents", "latents"),
            ("idefics2", "model.connector.perceiver_resampler.latents", "latents"),
            ("idefics3", "model.connector.modality_projection.proj.weight", "latents"),
        ]
    ),
)
def test_what_makes_the_embedding_is_never_filled_at_random(kind, lost, embedding, copy):
    path = copy(kind)
    without(path, lost)
    refused(path, path.name, "missing", lost.removeprefix("model."), embedding=embedding)
    if embedding is not None:  # which the other embedding does without
        assert load_encoder(str(path)).embedding_name != embedding


@pytest.mark.parametrize(
    ("kind", "bare"),
    first_only(
        [
            ("blip_itm", hf.BlipVisionModel),
            ("blip_2_itm", hf.Blip2VisionModel),
            ("kosmos_2", hf.models.kosmos2.modeling_kosmos2.Kosmos2VisionModel),
            ("idefics2", hf.models.idefics2.modeling_idefics2.Idefics2VisionTransformer),
            ("idefics3", hf.Idefics3VisionTransformer),
        ]
    ),
)
def test_names_that_the_bare_class_would_not_find(kind, bare, copy):
    """The vision weights are there under other names: transformers' own class would fill every one at random."""
    path = copy(kind)
    file = path / "model.safetensors"
    renamed = {name.replace("vision_model.", "seen."): value for name, value in load_file(file).items()}
    save_file(renamed, file, metadata={"format": "pt"})
    _, info = bare.from_pretrained(path, config=BY_KIND[kind].make().config.vision_config, output_loading_info=True)
    assert len(info["missing_keys"]) > 20
    refused(path, path.name, "missing", "would be random")


def test_a_checkpoint_of_another_class_is_refused(copy, tmp_path):
    """A caption file that says it is one for retrieval: its projection never existed."""
    model = blip(hf.BlipForConditionalGeneration)
    models.widen(model)
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


def test_naflex_sizes(folder, copy):
    path = copy("siglip2")
    (path / "preprocessor_config.json").unlink()
    assert load_encoder(str(path)).size == 32  # 16 positions of 8 pixels
    with pytest.raises(EmbedshiftError, match="size 36 is not a multiple of its patch of 8 pixels") as caught:
        load_encoder(str(folder("siglip2")), size=36)
    assert caught.value.exit_code == 2


# From pictures to a report.

FEW = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 2}
WITH_THE_PAPERS_NINE = ("clip", "siglip", "idefics2")  # one for each kind of attention


@pytest.mark.matrix
@pytest.mark.parametrize("case", first_only(CASES), ids=ids)
def test_a_study_with_every_family(case, folder, tmp_path):
    photos = models.pictures(tmp_path / "photos", 2)
    whole = case.kind in WITH_THE_PAPERS_NINE and case.name is None
    study = embedshift.run(
        photos,
        out=tmp_path / "study",
        model=str(folder(case.kind)),
        embedding=case.name,
        augmentations="paper" if whole else FEW,
        workers=0,
    )
    summary = study.summary()
    assert len(summary) == 6 * (9 if whole else 2)
    assert set(summary["n"]) == {2}
    encoder = study.info()["encoder"]
    chosen = row_of(case, folder).choose(case.name)
    assert (encoder["attention_kind"], encoder["embedding"]) == (case.attention, chosen.name)
    assert study.info()["identity"]["embedding"] == chosen.name
    page = html.unescape(study.report(figures=["attention"] if whole else []).read_text())
    assert encoder["embedding_definition"] == chosen.definition
    assert chosen.definition in page


def test_idefics_without_a_resampler(tmp_path):
    model = idefics(use_resampler=False)
    models.widen(model)
    path = models.save(model, tmp_path / "plain")
    assert load_encoder(str(path)).dim == 24
    refused(path, path.name, "perceiver_resampler", embedding="latents")
    assert load_encoder(str(path))(views(32)).attention_kind == "cls"


@pytest.mark.matrix
def test_a_large_text_part_is_never_in_memory(tmp_path):
    """Peak of a process of its own; bfloat16, since float32 files are only mapped and would cost nothing."""
    script = Path(__file__).parents[2] / "benchmarks" / "encoder_memory.py"
    model = hf.CLIPModel(
        hf.CLIPConfig(vision_config=models.TOWER, text_config=models.TEXT | {"hidden_size": 64, "vocab_size": 600_000})
    )
    path = models.save(model.to(torch.bfloat16), tmp_path / "clip")
    assert sum(value.numel() for value in load_file(path / "model.safetensors").values()) * 4e-6 > 150
    done = subprocess.run([sys.executable, script, "load", "clip", path], capture_output=True, text=True, check=True)
    growth = json.loads(done.stdout.splitlines()[-1])["growth"]
    assert growth < 50, f"{growth} MB for a vision part of less than 1 MB"
