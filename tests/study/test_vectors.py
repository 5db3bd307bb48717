"""Studies of vectors: the same tables as the study that the vectors are of, whatever they come in."""

import json

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

import embedshift
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.images import decode
from embedshift.sources.to_input import ToInput
from support import command, models, studies
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow

EMBEDDING = ["cosine_similarity", "l2_distance"]
# Made from the means of all metrics, of which a study of vectors has fewer.
OF_ALL_METRICS = {"ranking", "claims"}


@pytest.fixture(scope="module")
def study():
    """24 pictures under the paper's augmentations, with two draws, measured by an encoder."""
    return studies.measured(studies.pictures(24), models.Colours(), draws=2)


@pytest.fixture(scope="module")
def rows(study):
    return study.rows().select("image_id", "view", "draw", vector="embedding").collect()


@pytest.fixture(scope="module")
def again(rows, tmp_path_factory):
    # Other images first, since the order of rows must not matter.
    return embedshift.from_vectors(rows.sort("image_id", maintain_order=True), out=tmp_path_factory.mktemp("again"))


def arrays(seed=0, images=12, dim=8):
    rng = np.random.default_rng(seed)
    original = rng.normal(size=(images, dim))
    return original, {
        name: original + by * rng.normal(size=original.shape) for name, by in {"a": 0.1, "b": 0.5}.items()
    }


def table(folder, original, views, **columns):
    given = {"original": original, **views}
    ids = [f"{number}.jpg" for number in range(len(original))]
    content = {
        "image_id": ids * len(given),
        "view": [name for name in given for _ in ids],
        "vector": [list(vector) for vectors in given.values() for vector in vectors],
    }
    frame = pl.DataFrame(content | {name: list(cells) * len(given) for name, cells in columns.items()})
    frame.write_parquet(folder / "vectors.parquet")
    return folder / "vectors.parquet"


def test_every_table_is_that_of_the_study_that_has_the_vectors(study, again):
    assert set(again.table_names) == set(study.table_names)
    filled = [name for name in again.table_names if len(again.table(name))]
    assert len(filled) >= 15, filled  # 24 images are too few for thresholds
    for name in sorted({*again.table_names} - OF_ALL_METRICS):
        ours, theirs = again.table(name), study.table(name)
        if "metric" in ours.columns and not {*theirs["metric"]} <= {*ours["metric"]}:
            theirs = theirs.filter(pl.col("metric").is_in(ours["metric"].unique().to_list()))
        assert_frame_equal(ours, theirs, abs_tol=1e-6, rel_tol=1e-6)


def test_claims_about_embeddings_have_the_same_estimates(study, again):
    ours, theirs = (each.claims().drop_nulls("estimate") for each in (again, study))
    both = ours.join(theirs, on="claim", suffix="_of_study")
    assert len(both) >= 8
    assert_frame_equal(
        both.select("claim", "estimate"),
        both.select("claim", estimate="estimate_of_study"),
        abs_tol=1e-6,
    )


def test_metrics_of_pixels_and_attention_are_absent(again):
    assert again.metrics == EMBEDDING
    cosine = again.summary().filter(metric=EMBEDDING[0]).select("augmentation", mean_performance="mean")
    assert_frame_equal(again.ranking().select("augmentation", "mean_performance"), cosine, abs_tol=1e-12)
    assert not again.verify().damaged


@pytest.mark.parametrize("form", ["parquet", "npy", "torch", "polars", "pandas", "lists"])
def test_vectors_may_come_in_any_form(form, tmp_path):
    original, views = arrays()
    expected = embedshift.from_vectors(original, views, out=tmp_path / "expected").summary()
    if form == "parquet":
        given, names = table(tmp_path, original, views), None
    else:
        import pandas as pd
        import torch

        def saved(array):
            path = tmp_path / f"{len([*tmp_path.glob('*.npy')])}.npy"
            np.save(path, array)
            return path

        form = {
            "npy": saved,
            "torch": torch.tensor,
            "polars": pl.DataFrame,
            "pandas": pd.DataFrame,
            "lists": np.ndarray.tolist,
        }[form]
        given, names = form(original), {name: form(array) for name, array in views.items()}
    found = embedshift.from_vectors(given, names, out=tmp_path / "found").summary()
    # Images of other names are in another order, which decides the resamples of intervals.
    same = ["augmentation", "metric", "mean", "sd", "baseline", "relative_shift"]
    assert_frame_equal(found.select(same), expected.select(same), abs_tol=1e-12)


@pytest.mark.parametrize("kind", ["float16", "float64", "int8"])
def test_numbers_are_read_as_what_they_are(kind, tmp_path):
    original, views = arrays()
    scale = 20 if kind == "int8" else 1
    original, views = (
        (scale * original).astype(kind),
        {name: (scale * array).astype(kind) for name, array in views.items()},
    )
    path = tmp_path / "vectors.parquet"
    matrix = np.concatenate([original, *views.values()])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    names = [name for name in ("original", *views) for _ in original]
    ids = [str(number) for number in range(len(original))] * 3
    pq.write_table(pa.table({"image_id": ids, "view": names, "vector": lists}), path)
    study = embedshift.from_vectors(path, out=tmp_path / "study")
    for name, array in views.items():
        o, v = original.astype(np.float64), array.astype(np.float64)
        cosine = (o * v).sum(axis=1) / np.linalg.norm(o, axis=1) / np.linalg.norm(v, axis=1)
        found = study.summary().filter(augmentation=name)
        assert found.filter(metric="cosine_similarity")["mean"].item() == pytest.approx(cosine.mean(), abs=1e-6)
        distance = np.linalg.norm(o - v, axis=1).mean()
        assert found.filter(metric="l2_distance")["mean"].item() == pytest.approx(distance, rel=1e-6)


def test_rows_may_come_in_any_order(rows, again, tmp_path):
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1)
    for number, part in enumerate(shuffled.iter_slices(100)):
        part.write_parquet(tmp_path / f"{number}.parquet", row_group_size=30)
    files = [str(path) for path in sorted(tmp_path.glob("*.parquet"))]
    from_files = embedshift.from_vectors(files[0], {path: path for path in files[1:]}, out=tmp_path / "study")
    ours, theirs = (each.summary().sort("augmentation", "metric") for each in (from_files, again))
    assert_frame_equal(ours, theirs, abs_tol=1e-9)


def test_groups_are_those_of_the_images(rows, study, tmp_path):
    names = sorted(set(rows["image_id"]))
    groups = {name: str(number // 3) for number, name in enumerate(names)}
    expected = studies.copied(study, tmp_path / "expected")
    expected.regroup(groups)
    column = rows.with_columns(group=pl.col("image_id").replace_strict(groups))
    by_column = embedshift.from_vectors(column, out=tmp_path / "column")
    by_mapping = embedshift.from_vectors(rows, out=tmp_path / "mapping", groups=groups)
    of = pl.col("metric").is_in(EMBEDDING)
    for found in (by_column, by_mapping):
        assert found.reader().info.groups.count == 8
        assert_frame_equal(found.summary(), expected.summary().filter(of), abs_tol=1e-6)
    original, views = arrays()
    per_row = embedshift.from_vectors(original, views, out=tmp_path / "rows", groups=np.arange(12) // 2)
    assert per_row.reader().info.groups.count == 6


def test_a_number_that_is_none_is_a_failure_of_its_image_by_row(tmp_path):
    original, views = arrays()
    original[3, 0], views["b"][7, 2] = np.nan, np.inf
    study = embedshift.from_vectors(table(tmp_path, original, views), out=tmp_path / "study")
    failures = dict(study.failures().select("image_id", "reason").iter_rows())
    assert {*failures} == {"3.jpg", "7.jpg"}
    assert "vectors.parquet: row 3 has a number that is NaN or infinite" in failures["3.jpg"]
    assert f"row {2 * 12 + 7} " in failures["7.jpg"]
    assert study.summary()["n"].unique().to_list() == [10]
    original[:] = np.nan
    with pytest.raises(EmbedshiftError, match="no image could be measured: all 12 failed, first"):
        embedshift.from_vectors(original, views, out=tmp_path / "none")


def test_a_stopped_study_goes_on_shard_by_shard(tmp_path):
    original, views = arrays()
    whole = embedshift.from_vectors(original, views, out=tmp_path / "whole", shard_size=4)

    class Stopped(Exception):
        pass

    def stop(count, done=[]):  # noqa: B006 - it counts
        done.append(count)
        if len(done) == 10:
            raise Stopped

    with pytest.raises(Stopped):
        embedshift.from_vectors(original, views, out=tmp_path / "stopped", shard_size=4, progress=stop)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "stopped" / "shards").iterdir()}
    assert 0 < len(first) < 3
    counted = []
    study = embedshift.from_vectors(original, views, out=tmp_path / "stopped", shard_size=4, progress=counted.append)
    assert sum(counted) == 12 - 4 * len(first)
    assert all(path.stat().st_mtime_ns == time for path, time in first.items())
    assert_frame_equal(study.rows().collect(), whole.rows().collect())
    original[0] += 1
    with pytest.raises(UsageError, match=r"contains another study: .*vectors: "):
        embedshift.from_vectors(original, views, out=tmp_path / "stopped", shard_size=4)


def test_store_metrics_keeps_no_vector(tmp_path):
    original, views = arrays()
    kept = embedshift.from_vectors(original, views, out=tmp_path / "all")
    study = embedshift.from_vectors(original, views, out=tmp_path / "metrics", store="metrics")
    assert "embedding" not in study.rows().collect_schema()
    of_vectors = pl.col("^centred_shift.*$")
    assert_frame_equal(study.summary().drop(of_vectors), kept.summary().drop(of_vectors))
    assert {path.name for path in study.folder.iterdir()} == {path.name for path in kept.folder.iterdir()}


def test_what_reads_no_pixel_works(tmp_path, monkeypatch, capsys):
    original, views = arrays(images=30)
    first, second = (
        embedshift.from_vectors(original * by, views, out=tmp_path / name, model=name)
        for name, by in {"first": 1, "second": 2}.items()
    )
    assert "second" in embedshift.compare([first, second]).verdict
    assert embedshift.whiten(first, map="shifts")(original).shape == original.shape
    rules = tmp_path / "rules.yaml"
    assert command.call(monkeypatch, capsys, "check", first.folder, "--rules", rules, "--init").code == 0
    done = command.call(monkeypatch, capsys, "check", second.folder, "--rules", rules, "--against", first.folder)
    assert done.code in (0, 3), done.err
    assert command.call(monkeypatch, capsys, "search", first.folder).code == 0
    assert "relative shift" in command.call(monkeypatch, capsys, "card", first.folder).out.lower()


def test_neither_torch_nor_transformers_is_imported(tmp_path):
    original, views = arrays()
    program = (
        "import sys, embedshift; from embedshift.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "embedshift.load(sys.argv[3]).report(figures=['heatmap', 'clustermap'], formats=['svg']); "
        "assert not {'torch', 'transformers'} & {*sys.modules}; print('none of them')"
    )
    given = table(tmp_path, original, views)
    process = command.start_python(program, "vectors", "--out", tmp_path / "study", given, "--no-report")
    done = command.finish(process)
    assert done.out.endswith("none of them\n"), done.err
    assert "without metrics of pixels and attention" in done.err
    report = (tmp_path / "study" / "report.html").read_text()
    assert report.count("no metrics of pixels and attention") == 1
    assert "attention similarity" not in report.lower()


def test_images_are_shown_where_their_place_is_known(tmp_path):
    original, views = arrays()
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(len(original)):
        Image.new("RGB", (20, 10), (20 * number, 50, 90)).save(photos / f"{number}.png")
    by_path = table(tmp_path, original, views, path=[f"photos/{number}.png" for number in range(len(original))])
    studied = embedshift.from_vectors(by_path, out=tmp_path / "path")
    in_folder = embedshift.from_vectors(
        original, views, out=tmp_path / "folder", images=str(photos), ids=[f"{n}.png" for n in range(len(original))]
    )
    nowhere = embedshift.from_vectors(original, views, out=tmp_path / "nowhere")
    for study, image_id in ((studied, "3.jpg"), (in_folder, "3.png")):
        assert study.reader().shows_images
        (image,) = redrawn(study, image_id)
        assert image.views["original"][0, 0].tolist() == [60, 50, 90]
    assert "the vectors do not say where" in nowhere.reader().unseen
    with pytest.raises(UsageError, match="has no image with an id of these vectors"):
        embedshift.from_vectors(original, views, out=tmp_path / "other", images=str(photos))


def redrawn(study, image_id):
    from embedshift.store.redraw import redraw

    images, missing = redraw(study.reader(), [image_id])
    assert not missing
    return images


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Views of families written as files, a study of the files, and their vectors by another way."""
    folder = tmp_path_factory.mktemp("written")
    suite = {"augmentations": "strength", "families": ("jpeg", "rotation"), "levels": 2}
    views = embedshift.write_views(studies.pictures(9), out=folder / "views", draws=2, seed=3, workers=0, **suite)
    file = folder / "views" / "views.json"
    study = embedshift.run(file, pairs=file, model=MeanColour(), out=folder / "measured", workers=0)
    to_input, encoder, rows = ToInput(MeanColour.size), MeanColour(), []
    for view in ("original", *views.folders):
        name, _, draw = view.partition("/")
        for path in sorted((folder / "views" / view).iterdir()):
            vector = encoder(to_input(decode(path.read_bytes()))[None]).embedding[0]
            # As another program names them: with the ending of the file that it embedded.
            rows.append(
                {"image_id": f"{path.stem}.webp", "view": name, "draw": int(draw or 0), "vector": vector.tolist()}
            )
    return file, study, pl.DataFrame(rows)


def test_written_views_that_something_else_embedded_give_the_study_of_their_files(written, tmp_path):
    file, study, rows = written
    found = embedshift.from_vectors(rows, views=str(file), out=tmp_path / "found")
    assert found.reader().families == study.reader().families
    assert found.info()["descriptions"] == study.info()["descriptions"]
    for name in ("summary", "strength", "tolerance", "search", "directions"):
        ours, theirs = found.table(name), study.table(name)
        theirs = theirs.filter(pl.col("metric").is_in(EMBEDDING)) if name in ("summary", "strength") else theirs
        assert_frame_equal(ours, theirs, abs_tol=1e-6)
    assert json.dumps(embedshift.compare([study, found]).to_dicts())
    (image,) = redrawn(found, "picture-03.png")
    assert {"original", *found.augmentations} == {*image.views}


def test_views_json_is_checked(written, tmp_path):
    file, _, rows = written
    other = rows.with_columns(pl.col("image_id").replace("picture-00.webp", "other.webp"))
    with pytest.raises(UsageError, match=r"row 0 has the image_id 'other.webp', which views\.json does not have"):
        embedshift.from_vectors(other, views=str(file), out=tmp_path)
    other = rows.with_columns(pl.col("view").replace("jpeg@1", "jpg"))
    with pytest.raises(UsageError, match=r"has the view 'jpg', which views\.json does not have"):
        embedshift.from_vectors(other, views=str(file), out=tmp_path)
    with pytest.raises(UsageError, match="has 2 draws, the vectors 1"):
        embedshift.from_vectors(rows.filter(draw=0), views=str(file), out=tmp_path)
