"""Causes that are named for tiny encoders, against stacks that are written by themselves and the libraries' own."""

import io

import numpy as np
import open_clip
import pytest
import timm
import torch
from PIL import Image
from transformers import BitImageProcessorPil, CLIPImageProcessorPil, ViTImageProcessorPil

import embedshift
from embedshift.sources.demo import demo_photos
from embedshift.sources.images import decode
from embedshift.stacks.encodings import Encodings
from embedshift.stacks.images import probe_images, varied
from embedshift.stacks.recipe import Recipe, words
from embedshift.stacks.search import Search, find_causes
from embedshift.stacks.served import knows_steps, reference_vectors
from support import library_models, models, served
from support.matrix import first_only


@pytest.fixture(scope="module")
def files():
    return served.twelve_files(served.squares_and_slopes())


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("dinov2"), 64)


def served_vectors(encoder, files, **altered):
    stack = served.Served(encoder.module, encoder.size, {"own": (models.MEAN, models.STD)})
    return stack(files, served.REFERENCE | {"statistics": "own"} | altered)


def tiny(folder, shortest):
    model = models.dinov2()
    models.widen(model, std=0.1)
    models.save(model, folder)
    size = {"shortest_edge": shortest}
    models.write_preprocessor(
        folder, image_processor_type="BitImageProcessor", size=size, crop_size={"height": 56, "width": 56}
    )
    return embedshift.load_encoder(str(folder))


def said(axis, value, size):
    """The words of an alteration of an encoder with an input of this size."""
    recipe = Recipe(size, ((), ()), ("", ""), ("", 1.0), "", None)  # type: ignore[arg-type]
    return words(recipe.having(axis, served.as_value(axis, value)), axis)


pytestmark = pytest.mark.slow

CASES = [
    {"fit": "squash", "channels": "bgr", "resize": "torch bilinear aliased", "orientation": False},
    {"alpha": "dropped", "depth": "clipped", "inks": "opencv"},
    {"pooling": "both", "statistics": "clip", "gelu": "quick"},
    {"precision": "bfloat16", "positions": "bilinear", "decoder": "chroma"},
    {"jpeg": 75, "rounding": "nearest", "values": "255"},
    {"fit": "grey", "resize": "opencv area", "jpeg": 95},
    {"fit": "crop first", "precision": "float16", "positions": "antialias"},
    {"decoder": "half", "statistics": "half", "resize": "torch bicubic floats"},
]


@pytest.mark.parametrize("altered", first_only(sorted(CASES, key=len)))
def test_hidden_stack_is_named(dinov2, files, altered):
    causes = find_causes(dinov2, files, served_vectors(dinov2, files, **altered))
    assert len(causes.steps) == len(altered), causes
    truth = {said(axis, value, dinov2.size) for axis, value in altered.items()}
    assert truth <= {named for step in causes.steps for named in (step.alteration, *step.ties)}
    assert causes.unexplained <= causes.floor
    assert causes.steps[0].distance_before == causes.distance
    assert sum(step.explained for step in causes.steps) == pytest.approx(1)


SERVICES = [("drawn", 83, "int8 weights"), ("photographs", 83, "int8 weights"), ("photographs", 75, "bfloat16")]


@pytest.mark.parametrize(("kind", "quality", "precision"), first_only(SERVICES))
def test_a_service_of_three_steps_is_named_with_what_to_change(kind, quality, precision, files, tmp_path):
    """The shorter side resized and cropped, the input compressed, rounded weights."""
    own, files = tiny(tmp_path, 56), files if kind == "drawn" else [*probe_images().values()]
    altered = {"fit": "crop .875", "input_jpeg": quality, "precision": precision}
    causes = find_causes(own, files, served_vectors(own, files, **altered))
    named = {step.alteration: step.change for step in causes.steps}
    rounded = {"bfloat16": "in bfloat16", "int8 weights": "with weights in int8"}[precision]
    assert named == {
        rounded: "compute in float32, with weights that are not rounded",
        "resized to a shorter side of 64, then cropped to 56": "resize the shorter side to 56, then crop 56",
        f"recompressed as JPEG {quality} after resizing": "leave out the JPEG compression after resizing",
    }
    assert causes.unexplained <= causes.floor


@pytest.mark.matrix  # tests/parity/test_equal_stacks.py has equal stacks of every kind of encoder
def test_equal_stack_names_nothing(dinov2, files):
    vectors = served_vectors(dinov2, files)
    noisy = vectors + np.random.default_rng(0).normal(0, 1e-4 * np.abs(vectors).mean(), vectors.shape)
    for given in (3 * vectors, noisy):
        assert find_causes(dinov2, files, given).steps == ()


def test_the_floor_of_a_precision_is_what_storing_vectors_in_it_moves(dinov2, files):
    encodings, moved = Encodings(dinov2, files), []
    recipe = encodings.reference.having("precision", "bfloat16")
    for index in range(3):
        vector = encodings.vector(recipe, index)
        bits = vector.astype(np.float32).view(np.uint32) + 0x8000  # bfloat16 has the upper half of a float32's bits
        stored = (bits & 0xFFFF0000).astype(np.uint32).view(np.float32).astype(float)
        moved.append(1 - vector @ stored / np.linalg.norm(stored))
    assert encodings.floor(recipe) == pytest.approx(2 * max(moved), rel=1e-3)  # pooled, then stored
    assert encodings.floor(encodings.reference) == 1e-10


def test_a_search_counts_and_names_no_step_before_the_end(dinov2, files, monkeypatch, caplog):
    with caplog.at_level("INFO"):
        [step] = find_causes(dinov2, files, served_vectors(dinov2, files, channels="bgr")).steps
    counts = [int(line.split()[0]) for line in caplog.messages if line.endswith(" of at most 1600 encodings")]
    assert counts == list(range(0, 50 * len(counts), 50))
    assert len(counts) > 1
    assert not any(words in line for line in caplog.messages for words in (step.alteration, *step.ties))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Search, "named", stop)
    with pytest.raises(KeyboardInterrupt):
        find_causes(dinov2, files, served_vectors(dinov2, files, channels="bgr"))
    assert caplog.records[-1].levelname == "WARNING"  # in spite of --quiet
    assert caplog.messages[-1].endswith("encodings: no step is confirmed yet")


@pytest.mark.matrix
def test_other_weights_are_left_unexplained_and_functions_not_explained(dinov2, files):
    encoder = embedshift.image_encoder(lambda images: np.ones((len(images), 3)), name="mine", version="1", size=8)
    assert (knows_steps(dinov2), knows_steps(encoder)) == (True, False)
    vectors = np.random.default_rng(0).normal(size=(len(files), dinov2.dim)).astype(np.float32)
    causes = find_causes(dinov2, files, vectors)
    assert causes.steps == ()
    assert causes.unexplained == causes.distance > 0.5


@pytest.mark.parametrize("library", first_only(["vit", "clip", "dinov2", "timm", "open_clip"]))
def test_reference_equals_the_preprocessing_of_its_library(library, files, tmp_path):
    images = [Image.fromarray(decode(data)) for data in files]
    folder = tmp_path / library
    if library == "timm":
        encoder = embedshift.load_encoder(str(library_models.make_timm(folder)))
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(encoder.module))
        pixels = torch.stack([transform(image) for image in images])
    elif library == "open_clip":
        encoder = embedshift.load_encoder(str(library_models.make_open_clip(folder)))
        transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")[2]
        pixels = torch.stack([transform(image) for image in images])
    else:
        models.make(library, folder)
        kinds = {
            "vit": ViTImageProcessorPil(size={"height": 32, "width": 32}),
            "clip": CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
            "dinov2": BitImageProcessorPil(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}),
        }
        kinds[library].save_pretrained(folder)
        encoder = embedshift.load_encoder(str(folder))
        pixels = torch.cat([kinds[library](images=[image], return_tensors="pt")["pixel_values"] for image in images])
    with torch.inference_mode():
        expected = encoder.embed(encoder.module, pixels.float()).numpy()
    np.testing.assert_allclose(reference_vectors(encoder, files), expected, rtol=1e-4, atol=1e-4)


def test_the_files_differ_in_what_decoders_treat_differently():
    files = probe_images()
    images = {name: Image.open(io.BytesIO(data)) for name, data in files.items()}
    assert [*files][:8] == [*demo_photos()]
    assert images["turned.jpg"].getexif()[0x0112] == 6
    assert decode(files["turned.jpg"]).shape[:2] == images["turned.jpg"].size
    assert {name: images[name].mode for name in ("grey.jpg", "alpha.png", "cmyk.jpg")} == {
        "grey.jpg": "L", "alpha.png": "RGBA", "cmyk.jpg": "CMYK",
    }  # fmt: skip
    assert images["alpha.png"].getchannel("A").getextrema() == (0, 255)
    assert (files["sixteen.png"][24], images["sixteen.png"].format) == (16, "PNG")  # bits of a channel in the header
    assert [side % 2 for side in images["odd.jpg"].size] == [1, 1]
    assert {images[f"control-{number}.png"].size for number in (1, 2)} == {(224, 224)}
    assert sum(map(len, files.values())) < 5e6
    assert probe_images() == files
    # A search has one file of each kind first.
    plain = [files["china.jpg"]] * 20 + [files[name] for name in ("turned.jpg", "alpha.png", "sixteen.png", "grey.jpg")]
    assert varied(plain, 6) == [0, 1, 20, 21, 22, 23]
    assert varied([*files.values()], len(files)) == [*range(len(files))]
