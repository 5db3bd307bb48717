"""Tiles and mirror images: their vectors against the encoder's own on what is cut by hand, on every way to run."""

import cv2
import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.errors import UsageError
from embedshift.statistics.tiles import boxes
from support.command import call
from support.graphs import MEAN, STD, write_graph
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.strength import photo

pytestmark = pytest.mark.slow

SIZE = MeanColour.size
SETTINGS = {"augmentations": "copies", "families": ["collage", "crop_30"], "apply_to": "input", "resize": "squash"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for place, name in enumerate(("china.jpg", "flower.jpg")):
        whole = photo(name, 256)
        for part in range(5):
            Image.fromarray(whole[10 * part : 200, 5 * part : 150 + 17 * part]).save(folder / f"{place}{part}.png")
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def run(photos, out, **settings):
    given = {"model": MeanColour(), "workers": 0, **SETTINGS, **settings}
    return embedshift.run(photos, out=out, **given)


@pytest.fixture(scope="module")
def study(photos, tmp_path_factory):
    return run(photos, tmp_path_factory.mktemp("layouts") / "study", tiles=4, mirrored=True)


def originals(study):
    rows = study.rows().filter(pl.col("view") == "original").collect()
    return {row["image_id"]: row for row in rows.iter_rows(named=True)}


def squashed(image):
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("count", first_only([4, 9]))
def test_tiles_are_cut_from_the_decoded_file_and_resized_as_it_is(photos, tmp_path, count):
    study = run(photos, tmp_path / "study", tiles=count)
    for image_id, row in originals(study).items():
        image = np.asarray(Image.open(photos / image_id))
        height, width = image.shape[:2]
        parts = [
            image[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
            for left, top, right, bottom in boxes(count)
        ]
        wanted = MeanColour()(np.stack([squashed(part) for part in parts])).embedding
        assert np.array_equal(np.reshape(row["tiles"], (count, -1)), wanted)
    views = study.rows().filter(pl.col("view") != "original").collect()
    assert views["tiles"].null_count() == len(views) == 20
    assert study.failures()["image_id"].to_list() == ["broken.png"]


def test_mirrors_are_those_of_the_original_and_of_each_view(study, photos):
    for image_id, row in originals(study).items():
        views = embedshift.make_views(
            np.asarray(Image.open(photos / image_id)), image_id=image_id, size=SIZE, augmentations="copies"
        )
        rows = study.rows().filter(pl.col("image_id") == image_id).collect()
        for view, vector in rows.select("view", "mirrored").iter_rows():
            assert vector == MeanColour()(views[view][None, :, ::-1]).embedding[0].tolist()
        assert len(row["tiles"]) == 4 * MeanColour.dim


def test_views_and_their_metrics_are_as_without(study, photos, tmp_path):
    without = run(photos, tmp_path / "without")
    rows = study.rows().drop("tiles", "mirrored").collect()
    assert rows.equals(without.rows().collect())
    assert study.summary().equals(without.summary())


@pytest.mark.parametrize("settings", first_only([{"workers": 2, "batch_size": 3, "shard_size": 2}, {"workers": 1}]))
def test_rows_are_equal_over_loaders_batches_and_shards(study, photos, tmp_path, settings):
    other = run(photos, tmp_path / "other", tiles=4, mirrored=True, **settings)
    names = ["image_id", "view", "embedding", "tiles", "mirrored"]
    assert (
        other.rows()
        .select(names)
        .sort("image_id", "view")
        .collect()
        .equals(study.rows().select(names).sort("image_id", "view").collect())
    )


OF_SHARDS = {"tiles": 4, "mirrored": True, "shard_size": 3, "batch_size": 10}


@pytest.fixture(scope="module")
def of_shards(photos, tmp_path_factory):
    """The study of several shards, of a run that nothing stopped."""
    return run(photos, tmp_path_factory.mktemp("shards") / "study", **OF_SHARDS)


@pytest.mark.matrix
def test_ray_gives_the_same_rows(photos, of_shards, tmp_path):
    ray = pytest.importorskip("ray")
    ray.cloudpickle.register_pickle_by_value(__import__("support.mean_colour", fromlist=["MeanColour"]))
    ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False, logging_level="ERROR")
    try:
        cluster = run(photos, tmp_path / "ray", engine="ray", **OF_SHARDS)
    finally:
        ray.shutdown()
    assert cluster.rows().collect().equals(of_shards.rows().collect())


def test_a_resumed_run_gives_the_same_rows(photos, of_shards, tmp_path):
    class Stops(MeanColour):
        passes = 0

        def __call__(self, views):
            Stops.passes += 1
            if Stops.passes == 12:
                raise KeyboardInterrupt
            return super().__call__(views)

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "resumed", model=Stops(), **OF_SHARDS)
    assert 0 < len(list((tmp_path / "resumed" / "shards").glob("part-*"))) < 4
    resumed = run(photos, tmp_path / "resumed", **OF_SHARDS)
    assert resumed.rows().collect().equals(of_shards.rows().collect())
    with pytest.raises(UsageError, match="another study"):
        run(photos, tmp_path / "resumed", **(OF_SHARDS | {"tiles": 9}))


def test_tiles_in_python_are_the_rows_of_a_study(study, photos):
    rows = originals(study)
    paths = [photos / image_id for image_id in rows]
    vectors = embedshift.Tiles(MeanColour(), 4)(paths)
    assert vectors.shape == (10, 5, 12)
    for row, (whole, *tiles) in zip(rows.values(), vectors, strict=True):
        assert whole.tolist() == row["embedding"]
        assert np.ravel(tiles).tolist() == row["tiles"]
    images = [Image.open(path) for path in paths]
    assert np.array_equal(embedshift.Tiles(MeanColour(), 4)(images), vectors)
    assert np.array_equal(embedshift.Tiles(MeanColour())([np.asarray(image) for image in images]), vectors)
    assert embedshift.Tiles(MeanColour(), 9)([]).shape == (0, 10, 12)
    with pytest.raises(UsageError, match="`tiles` 5: choose 4 or 9"):
        embedshift.Tiles(MeanColour(), 5)
    with pytest.raises(UsageError, match="RGB uint8"):
        embedshift.Tiles(MeanColour())([np.zeros((4, 4))])


def test_files_are_reduced_first_and_encoders_of_images_get_them_at_their_own_size(photos, tmp_path):
    sizes = set()

    def colours(images):
        sizes.update(image.size for image in images)
        return [np.asarray(image).mean(axis=(0, 1)) for image in images]

    encoder = embedshift.image_encoder(colours, name="colours", version="1", size=SIZE)
    settings = {"apply_to": "file", "resize": "own", "longest": 100, "model": encoder}
    study = run(photos, tmp_path / "study", tiles=4, mirrored=True, **settings)
    assert len(sizes) > 5
    rows = originals(study)
    for image_id, row in rows.items():
        image = Image.open(photos / image_id)
        part = image.crop((0, 0, round(0.6 * image.width), round(0.6 * image.height)))
        factor = min(1, 100 / max(part.size))
        small = part.resize([round(factor * side) for side in part.size], Image.Resampling.BICUBIC, reducing_gap=3.0)
        assert row["tiles"][:3] == pytest.approx(np.asarray(small).mean(axis=(0, 1)).tolist(), rel=1e-5)
        assert row["mirrored"] == pytest.approx(row["embedding"])  # a mean does not change
    tiles = embedshift.Tiles(encoder, apply_to="file", longest=100)([photos / image_id for image_id in rows])
    assert np.array_equal(tiles[:, 1:].reshape(10, -1), [row["tiles"] for row in rows.values()])


def test_graphs_are_encoders_too(photos, tmp_path):
    file = write_graph(tmp_path / "mine.onnx")
    study = run(photos, tmp_path / "study", tiles=4, mirrored=True, model=f"onnx:{file}", mean=MEAN, std=STD)
    assert {"tiles", "mirrored"} <= set(study.rows().collect_schema())


def test_what_cannot_be_is_refused_in_a_line(photos, tmp_path):
    with pytest.raises(UsageError, match="`tiles` 5: choose 4 or 9"):
        run(photos, tmp_path / "a", tiles=5)
    with pytest.raises(UsageError, match="`store` metrics does not keep"):
        run(photos, tmp_path / "b", mirrored=True, store="metrics")
    assert not (tmp_path / "b").exists()


def test_a_dry_run_says_how_many_more_passes_there_are(photos, tmp_path, monkeypatch, capsys):
    arguments = ["run", photos, "--out", tmp_path / "dry", "--model", "dinov2-small-offline", "--dry-run"]
    from support.mean_colour import in_place_of_bundled

    in_place_of_bundled(monkeypatch)
    told = call(monkeypatch, capsys, *arguments, "--tiles", 4)
    assert "views: 10 per image" in told.out
    assert "passes: 14 per image, 40 % more than of its views alone" in told.out
    assert "19 per image, 90 % more" in call(monkeypatch, capsys, *arguments, "--tiles", 9).out
    assert "20 per image, 100 % more" in call(monkeypatch, capsys, *arguments, "--mirrored").out
    assert "passes" not in call(monkeypatch, capsys, *arguments).out


def test_tiles_of_a_study_have_its_settings(photos, tmp_path):
    settings = {"apply_to": "file", "resize": "crop", "longest": 90, "tiles": 9}
    study = run(photos, tmp_path / "study", **settings)
    rows = originals(study)
    tiles = embedshift.Tiles.of(study, MeanColour())
    assert (tiles.tiles, tiles.resize, tiles.apply_to, tiles.longest) == (9, "crop", "file", 90)
    assert np.array_equal(
        tiles([photos / name for name in rows])[:, 1:].reshape(10, -1), [r["tiles"] for r in rows.values()]
    )
    with pytest.raises(UsageError, match="has no tiles of images; run it with `tiles`"):
        embedshift.Tiles.of(run(photos, tmp_path / "plain"), MeanColour())


def test_images_of_pil_are_read_as_their_files(tmp_path):
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (40, 60, 4), np.uint8), "RGBA")
    deep = Image.fromarray(rng.integers(0, 65536, (40, 60)).astype(np.uint16))
    turned = Image.Exif()
    turned[274] = 6
    files = {"a.png": (colour, {}), "b.png": (deep, {}), "c.jpg": (colour.convert("RGB"), {"exif": turned})}
    for name, (image, options) in files.items():
        image.save(tmp_path / name, **options)
    encode = embedshift.Tiles(MeanColour())
    paths = [tmp_path / name for name in files]
    assert np.allclose(encode(paths), encode([Image.open(path) for path in paths]), atol=1e-3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("photo.jpg", "give a list of images, not str"),
        (["missing.jpg"], "missing.jpg: .*No such file"),
        ([np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4))], "image 1 is float64"),
    ],
)
def test_images_that_are_none_are_named(given, words):
    with pytest.raises(embedshift.EmbedshiftError, match=words):
        embedshift.Tiles(MeanColour())(given)
    with pytest.raises(UsageError, match="`apply_to` 'files': choose one of input, file"):
        embedshift.Tiles(MeanColour(), apply_to="files")


def test_a_tile_that_cannot_be_encoded_is_named_as_the_reason(photos, tmp_path):
    class NoDark(MeanColour):
        weights_hash = "no dark"

        def __call__(self, views):
            output = super().__call__(views)
            dark = views.reshape(len(views), -1).max(axis=1) < 10
            output.embedding[dark] = 0
            return output

    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.asarray(Image.open(photos / "00.png")).copy()
    Image.fromarray(pixels).save(folder / "light.png")
    pixels[: 2 * len(pixels) // 3, : 2 * pixels.shape[1] // 3] = 0
    Image.fromarray(pixels).save(folder / "dark.png")
    study = run(folder, tmp_path / "study", model=NoDark(), tiles=4)
    failures = study.failures()
    assert failures["image_id"].to_list() == ["dark.png"]
    assert "no direction (of a tile or a mirror image)" in failures["reason"][0]
