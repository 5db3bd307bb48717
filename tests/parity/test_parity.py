"""`embedshift parity` of stacks whose difference is planted: what is said, in which forms, and what is refused."""

import json
import os
import re
import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from transformers import CLIPVisionModelWithProjection

import embedshift
from embedshift.stacks.images import probe_images
from support import graphs, models

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return models.make("clip_vision", tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return models.pictures(tmp_path_factory.mktemp("photos") / "photos", 6, width=90)


def prepared(image):
    """What the checkpoint's preprocessor_config.json says, by Pillow: shortest side, centre crop, mean and std."""
    scale = models.SIZE / min(image.size)
    width, height = (models.SIZE if side == min(image.size) else int(side * scale) for side in image.size)
    left, top = (width - models.SIZE) // 2, (height - models.SIZE) // 2
    square = image.resize((width, height), Image.Resampling.BICUBIC)
    square = square.crop((left, top, left + models.SIZE, top + models.SIZE))
    return ((np.asarray(square, np.float32) / 255 - models.MEAN) / models.STD).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def stack(folder):
    """transformers' network behind our own steps; `before` changes an image, `after` the vectors."""
    net = CLIPVisionModelWithProjection.from_pretrained(folder).eval()

    def made(before=lambda image: image, after=lambda vectors: vectors):
        def ours(images):
            pixels = np.stack([prepared(before(image)) for image in images]).astype(np.float32)
            with torch.inference_mode():
                return after(net(pixel_values=torch.from_numpy(pixels)).image_embeds.numpy())

        return ours

    return made


def bgr(image):
    return Image.fromarray(np.asarray(image)[..., ::-1])


def vectors(function, photos):
    names = sorted(path.name for path in photos.iterdir())
    return names, function([Image.open(photos / name).convert("RGB") for name in names])


def test_equal_stacks_pass_and_nothing_is_named(stack, folder):
    result = embedshift.parity(folder, stack())
    assert result.passed
    assert result.sentence == f"ours gives the vectors of {folder}; rounding is left."
    assert result.images == tuple(probe_images())
    assert result.table().is_empty()


def test_channels_are_named_with_what_they_explain(stack, folder, photos):
    result = embedshift.parity(folder, stack(bgr), photos)
    assert not result.passed
    words = "with channels in order BGR: that explains 99.99 % of the distance; rounding is left."
    assert result.sentence == f"ours is {folder} {words}"
    change = "change in ours: give RGB to mean and std and to the network: `pixels = pixels[..., ::-1]`"
    assert result.changes == result.to_json()["changes"] == [change]
    [row] = result.table().to_dicts()
    assert [*row] == ["step", "alteration", "distance_before", "distance_after", "explained"]
    assert row["distance_before"] == pytest.approx(result.distance.mean)
    assert row["distance_after"] < 1e-10
    assert row["explained"] == pytest.approx(1)
    assert row["alteration"] in result._repr_html_()
    assert f"{row['distance_before']:.3g}" in result._repr_html_()
    assert repr(result).splitlines() == [result.verdict, result.sentence, change]
    assert isinstance(result.figure(), Figure)
    suite = ET.fromstring(result.to_junit().encode())
    assert suite.attrib["failures"] == "1"
    assert result.sentence in suite[0][0].text
    assert change in suite[0][0].text
    assert "| 1 | with channels in order BGR |" in result.to_markdown()


def test_a_normalised_stack_passes_and_is_named(stack, folder, photos):
    result = embedshift.parity(folder, stack(after=lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)), photos)
    assert result.passed
    assert "ours normalises its vectors" in result.sentence


@pytest.mark.matrix
def test_something_unlisted_is_not_named(stack, folder, photos):
    result = embedshift.parity(folder, stack(lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)), photos)
    assert not result.passed
    assert result.table().is_empty()
    assert "which no known alteration explains." in result.sentence or "vectors of another model" in result.sentence


def test_tables_of_vectors_in_any_order(stack, folder, photos, tmp_path):
    names, rows = vectors(stack(bgr), photos)
    expected = embedshift.parity(folder, stack(bgr), photos, causes=False).distance
    columns = {"image_id": names[::-1], "vector": [*rows[::-1]]}
    pl.DataFrame(columns).write_parquet(tmp_path / "ours.parquet")
    np.save(tmp_path / "ours.npy", rows[::-1])
    given = [(tmp_path / "ours.parquet", None), (tmp_path / "ours.npy", names[::-1]), (rows, None)]
    given += [(pl.DataFrame(columns), None)]
    for served, ids in given:
        distance = embedshift.parity(folder, served, photos, ids=ids, causes=False).distance
        np.testing.assert_allclose(distance.distances, expected.distances, atol=1e-6)


def test_a_reference_whose_steps_are_unknown_is_explained_from_the_other_side(stack, folder, photos):
    result = embedshift.parity(stack(bgr), folder, photos)
    assert result.backwards
    assert result.sentence.startswith(f"ours is {folder} with channels in order BGR: that explains 99.99 %")
    unknown = embedshift.parity(stack(bgr), stack(), photos)
    assert "No cause is looked for: that takes an encoder of transformers" in unknown.sentence


MISTAKES = [
    (np.ones((5, 20)), "has 5 rows, but 6"),
    (pl.DataFrame({"image_id": ["a.png"], "vector": [[1.0]]}), "6 of 6 images have no vector (first: 'picture-00"),
    (pl.DataFrame({"image_id": ["a"] * 2, "vector": [[1.0]] * 2}), "image 'a' has 2 vectors of 'original'; give one"),
    (np.zeros((6, 20)), "'picture-00.png' is zero or no number"),
    (np.full((6, 20), np.nan), "'picture-00.png' is zero or no number"),
    (lambda images: np.ones((3, 2)), "give"),
    (lambda images: 1 / 0, "division by zero"),
    ("no-such-model", "unknown model"),
    ("no/such.parquet", "No such file"),
]


def test_columns_of_served_vectors_have_names(folder, photos, stack):
    names, rows = vectors(stack(), photos)
    frame = pl.DataFrame({"sku": names, "emb": np.asarray(rows).tolist()})
    columns = {"id": "sku", "vector": "emb"}
    assert embedshift.parity(frame, stack(), photos, columns=columns, causes=False).distance.mean < 1e-9


def test_a_mistake_is_one_line(folder, photos):
    for served, words in MISTAKES:
        with pytest.raises(embedshift.EmbedshiftError, match=re.escape(words)):
            embedshift.parity(folder, served, photos)


def test_the_command(cli, folder, photos, stack, tmp_path):
    names, rows = vectors(stack(bgr), photos)
    np.save(tmp_path / "ours.npy", rows[::-1])
    (tmp_path / "ids.txt").write_text("\n".join(names[::-1]))
    files = {name: tmp_path / f"parity.{name}" for name in ("junit", "markdown", "figure")}
    files["figure"] = tmp_path / "parity.png"
    given = (folder, tmp_path / "ours.npy", photos, "--ids", tmp_path / "ids.txt", "--quiet")
    done = cli("parity", *given, *(word for name, path in files.items() for word in (f"--{name}", path)))
    assert done.code == 3
    assert "does not pass" in done.out
    assert "with channels in order BGR: that explains 99.99 %" in done.out
    assert done.out.splitlines()[-1].startswith("change in ")
    assert all(path.stat().st_size for path in files.values())
    numbers = json.loads(cli("parity", *given, "--json", "--no-causes", "--tolerance", "0.99").out)
    assert not numbers["passed"]
    assert numbers["parity"] == []
    ours, ids = tmp_path / "ours.npy", tmp_path / "ids.txt"
    shift = embedshift.parity(ours, rows, photos, ids=str(ids), causes=False).distance.relative_shift
    assert shift == embedshift.parity(ours, rows, photos, ids=names[::-1], causes=False).distance.relative_shift
    done = cli("parity", folder, folder, photos, "--no-causes")
    assert done.code == 0
    assert [line.split()[0] for line in done.err.splitlines()[:3]] == ["reading", "loading", "encoding"]
    assert "No such file" in cli("parity", folder, tmp_path / "none.npy", photos).line


def test_a_graph_without_preprocessing_gets_it_from_the_command(cli, tmp_path):
    photos = models.pictures(tmp_path / "photos", 4, width=graphs.SIDE, height=graphs.SIDE)
    names, pixels = vectors(lambda images: np.stack([np.asarray(image) for image in images]), photos)
    inputs = ((pixels / 255 - graphs.MEAN) / graphs.STD).transpose(0, 3, 1, 2).reshape(len(names), -1)
    np.save(tmp_path / "ours.npy", inputs @ graphs.matrix())
    (tmp_path / "ids.txt").write_text("\n".join(names))
    graph = f"onnx:{graphs.write_graph(tmp_path / 'free.onnx', shape=('n', 3, 'h', 'w'))}"
    settings = ("--size", graphs.SIDE, "--mean", "0.5,0.4,0.3", "--std", "0.2,0.3,0.4", "--quiet")
    ours = (tmp_path / "ours.npy", photos, "--no-causes", "--ids", tmp_path / "ids.txt")
    assert cli("parity", graph, *ours, *settings).code == 0
    assert cli("parity", graph, *ours, *settings[:4], "--std", "0.2,0.3,1", "--quiet").code == 3
    assert "preprocessor_config.json" in cli("parity", graph, *ours).line
    assert cli("parity", graph, photos, "--lock", tmp_path / "a.lock", *settings).code == 0
    assert cli("parity", tmp_path / "a.lock", graph, *settings).code == 0
    assert "--mean is for onnx: graphs" in cli("parity", "dinov2-small-offline", *ours, *settings[2:]).line


EMBED = "python:refused_stack:embed"
CODE = """
import sys
def embed(images): return [[*image.resize((2, 2)).tobytes()] for image in images]
def leave(images): sys.exit(0)
def leave_later(images): return embed(images) if len(images) == 1 else sys.exit(0)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Three images, in a folder with functions of the user's own."""
    (tmp_path / "refused_stack.py").write_text(CODE)
    (tmp_path / "leaves_at_once.py").write_text("raise SystemExit(0)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return models.pictures(tmp_path / "photos", 3, width=9, height=9)


def test_a_function_that_ends_the_program_does_not_pass(own, cli):
    for served in ("refused_stack:leave", "refused_stack:leave_later", "leaves_at_once:embed"):
        done = cli("parity", EMBED, f"python:{served}", own)
        assert done.code in (1, 2)
        assert "SystemExit" in done.line
    for tolerance in ("nan", "-1", "1e9"):  # which nothing or everything keeps
        done = cli("parity", EMBED, EMBED, own, "--tolerance", tolerance)
        assert (done.code, "--tolerance" in done.line) == (2, True)


def test_a_figure_is_refused_before_anything_is_encoded(own, tmp_path, cli):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "study.json").write_text("{}")
    wrong = {"a.bmp": "ends with .png", "a": "ends with .png", "report.html": "belongs to the study in", ".": "folder"}
    for name, words in wrong.items():
        done = cli("parity", "python:not:there", EMBED, own, "--figure", tmp_path / name)
        assert (done.code, words in done.line) == (2, True), done.line
    done = cli("parity", EMBED, EMBED, own, "--no-causes", "--figure", tmp_path / "fifo.png")
    assert "fifo.png: cannot be written (a FIFO, not a file)" in done.err


def test_the_image_that_cannot_be_read_is_named(own, cli):
    (own / "broken.png").write_bytes(b"no image")
    assert "broken.png: not an image" in cli("parity", EMBED, EMBED, own).line
    (own / "broken.png").unlink()
    os.mkfifo(own / "broken.png")
    assert "broken.png: a FIFO, not a file" in cli("parity", EMBED, EMBED, own).line
