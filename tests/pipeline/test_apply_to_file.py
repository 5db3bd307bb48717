"""Studies whose changes are drawn on the file: the same views everywhere, and files of odd sizes and kinds."""

import albumentations as A
import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.cli.estimate import estimate
from embedshift.config import make_config
from embedshift.encoders.base import Preprocess
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.pipeline.prepare import prepared
from embedshift.sources.images import decode
from embedshift.store.redraw import redraw
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures_of

FILE = {"apply_to": "file", "longest": 64, "resize": "crop"}
CHOSEN = {"augmentations": "strength", "families": ("jpeg", "rotation", "coarse_dropout", "crop"), "levels": 1}


def run(photos, out, **settings):
    settings = {"shard_size": 2, "workers": 0, **FILE, **CHOSEN, **settings}
    return embedshift.run(photos, out=out, model=MeanColour(), **settings)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    sizes = [(40, 50), (50, 40), (90, 120), (33, 33), (150, 60)]
    return pictures_of(tmp_path_factory.mktemp("photos"), {f"{number}.png": size for number, size in enumerate(sizes)})


@pytest.fixture(scope="module")
def study(photos, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("study") / "study")


@pytest.mark.parametrize("how", first_only(["crop", "squash"]))
def test_files_are_made_square_as_the_encoder_does_it_in_every_suite(photos, tmp_path, how):
    """Else two commands of one page would measure different inputs of one encoder."""
    encoder, pixels = MeanColour(), []
    encoder.preprocess = Preprocess(32, encoder.mean, encoder.std, shortest=36, squash=how == "squash")
    suites = [
        {"augmentations": "everyday", "families": ["mirror"]},
        {**CHOSEN, "families": ["jpeg"], "apply_to": "file"},
    ]
    for settings in [*suites, {**CHOSEN, "families": ["jpeg"], "apply_to": "file", "resize": how}]:
        out = tmp_path / str(len(pixels))
        study = embedshift.run(photos, out=out, model=encoder, workers=0, longest=64, **settings)
        assert study.info()["identity"]["resize"] == how
        pixels.append(study.rows().filter(pl.col("view") == "original").select("image_id", "embedding").collect())
    assert pixels[0].equals(pixels[1])
    assert pixels[0].equals(pixels[2])


@pytest.mark.slow
def test_rows_are_those_of_make_views_and_of_views_drawn_again(study, photos):
    rows, names = study.rows().collect(), sorted(path.name for path in photos.iterdir())
    redrawn, missing = redraw(study.reader(), names)
    assert missing == {}
    for name, again in zip(names, redrawn, strict=True):
        pixels = np.asarray(Image.open(photos / name).convert("RGB"))
        choice = {"families": CHOSEN["families"], "levels": 1}
        views = embedshift.make_views(pixels, image_id=name, size=32, augmentations="strength", **FILE, **choice)
        assert list(again.views) == list(views)
        for view, drawn in views.items():
            np.testing.assert_array_equal(again.views[view], drawn)
            row = rows.filter(image_id=name, view=view)
            np.testing.assert_array_equal(row["embedding"].to_numpy()[0], MeanColour()(drawn[None]).embedding[0])
    assert (rows.filter(pl.col("view").str.starts_with("crop"))["displacement"] > 0).all()
    assert rows.filter(pl.col("view").str.starts_with("jpeg"))["displacement"].to_list() == [0] * 5


@pytest.mark.slow
def test_the_study_says_so_and_is_not_mixed_with_another(study, photos, tmp_path):
    identity = study.info()["identity"]
    assert (identity["apply_to"], identity["longest"]) == ("file", 64)
    with pytest.raises(UsageError, match="longest: 64 there, 48 now"):
        run(photos, study.folder, longest=48)
    as_input = run(photos, tmp_path / "input", apply_to="input", longest=1024)
    assert not {"apply_to", "longest"} & as_input.info()["identity"].keys(), "as in every study before"
    with pytest.raises(UsageError, match=r'apply_to: "file" in .*, null in'):
        embedshift.compare([study, as_input])
    views = [each.rows().filter(pl.col("view") != "original").collect()["cosine_similarity"] for each in (study, as_input)]  # fmt: skip  # noqa: E501
    assert (views[0] != views[1]).all()


def test_the_cost_is_told_before_a_run(photos):
    config = make_config({"images": [str(photos)], "augmentations": "paper", "apply_to": "file"})
    with prepared(config, None, encoder=MeanColour()) as ready:
        assert any("drawn on files of up to 1,024 pixels" in line for line in estimate(ready))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"longest": 512}, "`longest` needs `apply_to` file"),
        ({"apply_to": "file", "pairs": ["other"]}, "`apply_to` cannot be combined with `pairs`"),
        ({"apply_to": "file", "longest": 8}, "longest"),
        ({"apply_to": "image"}, "apply_to"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        make_config({"images": ["photos"], **given})


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Files of odd sizes, of which the decoders have their own tests, in a study of own changes and one of families."""
    folder, rng = tmp_path_factory.mktemp("odd") / "files", np.random.default_rng(1)
    folder.mkdir()
    shapes = {"line.png": (1, 500, 3), "tall.png": (500, 2, 3), "tiny.png": (8, 8, 3), "grey.png": (45, 60)}
    for name, shape in shapes.items():
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / name)
    turned = Image.Exif()
    turned[0x0112] = 6
    large = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((1200, 900))
    large.save(folder / "turned.jpg", exif=turned)
    squash = {"resize": "squash", "metrics": ["aligned"]}
    own = {"mirror": A.HorizontalFlip(p=1), "negative": lambda image, rng: 255 - image}
    others = {"augmentations": own, "families": (), "levels": None}
    return folder, *(run(folder, folder.parent / name, **squash, **more) for name, more in (("a", others), ("b", {})))


@pytest.mark.slow
def test_files_of_odd_sizes(odd):
    folder, *studies = odd
    assert all(study.failures().is_empty() for study in studies)
    own, graded = (study.rows().collect() for study in studies)
    for path in folder.iterdir():
        shown = np.asarray(Image.fromarray(decode(path.read_bytes())))
        height, width = (max(1, round(length * min(1, 64 / max(shown.shape)))) for length in shown.shape[:2])
        small = Image.fromarray(shown).resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
        view = cv2.resize(np.asarray(small), (32, 32), interpolation=cv2.INTER_LINEAR)
        for rows in (own, graded):
            (embedding,) = rows.filter(image_id=path.name, view="original")["embedding"].to_numpy()
            np.testing.assert_array_equal(embedding, MeanColour()(view[None]).embedding[0], err_msg=path.name)
            moved = rows.filter(pl.col("view") != "original", image_id=path.name)
            assert moved["cosine_similarity"].is_finite().all()
        mirrored = own.filter(image_id=path.name, view="mirror")
        assert mirrored["aligned_attention_similarity"].item() > 0.99
        assert moved.filter(view="crop@1")["displacement"].item() > 0.05
        assert moved.filter(view="coarse_dropout@1")["hidden"].item() == pytest.approx(0.4, abs=0.12)


@pytest.mark.slow
def test_a_change_that_needs_more_pixels_than_a_file_has_says_so(odd, tmp_path):
    paper = {"augmentations": "paper", "families": (), "levels": None, "limit": 2}
    with pytest.raises(EmbedshiftError, match=r"line\.png"):
        run([odd[0] / "line.png"], tmp_path / "line", resize="squash", **paper)
    study = run([odd[0] / "tiny.png", odd[0] / "grey.png"], tmp_path / "tiny", resize="squash", **paper)
    (failure,) = study.failures().to_dicts()
    assert failure["image_id"] == "tiny.png"
    assert failure["reason"].endswith("(on the file, 8 x 8 pixels)")
