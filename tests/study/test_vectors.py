"""Studies of vectors: the same tables as the study that the vectors are of, whatever they come in."""

import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

import embedshift
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.study.gate import propose
from support import command, models, studies
from support.given_vectors import EMBEDDING, arrays, table
from support.matrix import first_only

pytestmark = pytest.mark.slow

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


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"variants": [np.eye(3)]}, "variants: give a mapping of name -> vectors, not list"),
        ({"out": "a\0b"}, "`out` 'a"),
        ({"ids": 3}, "`ids`: give a list of ids or a text file, not 3"),
        ({"ids": "none.txt"}, "none.txt: No such file"),
    ],
)
def test_what_no_study_can_be_made_of_is_one_line(tmp_path, settings, words):
    with pytest.raises(UsageError, match=words):
        embedshift.from_vectors(**({"originals": np.eye(3), "variants": {}, "out": tmp_path} | settings))


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


@pytest.mark.parametrize("form", first_only(["parquet", "npy", "torch", "polars", "pandas", "lists"]))
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


@pytest.mark.parametrize("kind", first_only(["float16", "float64", "int8"]))
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


@pytest.mark.matrix
def test_rows_may_come_in_any_order(rows, again, tmp_path):
    shuffled = rows.sample(fraction=1, shuffle=True, seed=1)
    for number, part in enumerate(shuffled.iter_slices(100)):
        part.write_parquet(tmp_path / f"{number}.parquet", row_group_size=30)
    files = [str(path) for path in sorted(tmp_path.glob("*.parquet"))]
    from_files = embedshift.from_vectors(files[0], {path: path for path in files[1:]}, out=tmp_path / "study")
    ours, theirs = (each.summary().sort("augmentation", "metric") for each in (from_files, again))
    assert_frame_equal(ours, theirs, abs_tol=1e-9)


@pytest.mark.matrix
def test_groups_are_those_of_the_images(rows, study, tmp_path):
    names = sorted(set(rows["image_id"]))
    groups = {name: str(number // 3) for number, name in enumerate(names)}
    expected = studies.copied(study, tmp_path / "expected")
    expected.regroup(groups)
    column = rows.with_columns(group=pl.col("image_id").replace_strict(groups))
    found = embedshift.from_vectors(column, out=tmp_path / "column")
    assert found.reader().info.groups.count == 8
    assert_frame_equal(found.summary(), expected.summary().filter(pl.col("metric").is_in(EMBEDDING)), abs_tol=1e-6)
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


@pytest.mark.matrix
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


@pytest.mark.parametrize("model", ["vectors", "named"])
def test_a_table_whose_views_have_exchanged_their_names_is_another_study(model, tmp_path):
    original, views = arrays()
    embedshift.from_vectors(table(tmp_path, original, views), out=tmp_path / "study", model=model)
    exchanged = table(tmp_path, original, dict(zip(("b", "a"), views.values(), strict=True)))
    with pytest.raises(UsageError, match=r"contains another study: .*vectors: "):
        embedshift.from_vectors(exchanged, out=tmp_path / "study", model=model)


def test_names_of_views_that_polars_would_read_as_patterns_are_names(tmp_path):
    original, views = arrays(images=30)
    plain = {"a": views["a"], "ab": views["b"], "c": 0.5 * (views["a"] + views["b"])}
    odd = {"a": "*", "ab": "^a.*$", "c": "^.*$"}
    study = embedshift.from_vectors(original, plain, out=tmp_path / "plain")
    found = embedshift.from_vectors(original, {odd[name]: array for name, array in plain.items()}, out=tmp_path / "odd")
    assert found.table_names == study.table_names
    for name in study.table_names:
        expected = study.table(name).rename(lambda column: odd.get(column, column))
        texts = [column for column, kind in expected.schema.items() if kind == pl.String]
        expected = expected.with_columns(pl.col(texts).replace(odd))
        assert_frame_equal(found.table(name), expected, check_row_order=name != "ranking")
    rules = propose(found.folder, tmp_path / "rules.yaml")
    assert not embedshift.check(studies.copied(found, tmp_path / "copy"), rules, against=found).of("broken")
    assert found.report(formats=["svg"]).is_file()


@pytest.mark.parametrize("form", ["polars", "pandas", "parquet"])
def test_arrays_of_views_are_in_the_order_of_the_originals_frame(form, tmp_path):
    original, views = arrays()
    ids = np.random.default_rng(1).permutation(len(original))
    frame = pl.DataFrame({"image_id": ids, "vector": original.tolist()})
    if form == "parquet":
        frame.write_parquet(tmp_path / "vectors.parquet")
    given = {"polars": frame, "pandas": frame.to_pandas(), "parquet": tmp_path / "vectors.parquet"}[form]
    study = embedshift.from_vectors(given, views, out=tmp_path / "study")
    found = study.rows().filter(view="b").select("image_id", "cosine_similarity").collect()
    cosine = (original * views["b"]).sum(axis=1) / np.linalg.norm(original, axis=1) / np.linalg.norm(views["b"], axis=1)
    assert dict(found.iter_rows()) == pytest.approx(dict(zip(map(str, ids), cosine, strict=True)), abs=1e-6)
    with pytest.raises(UsageError, match="`groups` is a list, which is for arrays"):
        embedshift.from_vectors(given, views, out=tmp_path / "other", groups=[1, 2] * 6)


@pytest.mark.parametrize("as_integers", [False, True])
def test_a_masked_number_is_none(as_integers, tmp_path):
    original, views = arrays()
    original = (100 * original).astype(int if as_integers else float)
    masked = np.ma.array(original, mask=False)
    masked[3], masked[5, 2] = np.ma.masked, np.ma.masked
    for number, given in enumerate((masked, [*masked])):
        study = embedshift.from_vectors(given, views, out=tmp_path / str(number))
        assert sorted(study.failures()["image_id"]) == ["3", "5"]


@pytest.mark.matrix
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


@pytest.mark.matrix
def test_neither_torch_nor_transformers_is_imported(tmp_path):
    original, views = arrays()
    program = (
        "import sys, embedshift; from embedshift.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "embedshift.load(sys.argv[3]).report(figures=['clustermap'], formats=['svg']); "
        "assert not {'torch', 'transformers'} & {*sys.modules}; print('none of them')"
    )
    given = table(tmp_path, original, views)
    process = command.start_python(program, "vectors", "--out", tmp_path / "study", given, "--no-report")
    done = command.finish(process)
    assert done.out.endswith("none of them\n"), done.err
    assert "36 vectors of 8 numbers, without metrics of pixels and attention; disk: up to 0 MB in" in done.err
    report = (tmp_path / "study" / "report.html").read_text()
    assert report.count("no metrics of pixels and attention") == 1
    assert "attention similarity" not in report.lower()
    assert "moves the embedding of these vectors furthest" in " ".join(re.sub(r"<[^>]*>", "", report).split())
    assert "too few for a threshold for duplicates: 1 false match in 100 pairs needs 46" in report
