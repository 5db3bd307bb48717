"""A shard with a right checksum and other rows than a run writes: one line that names the shard and the column."""

import shutil

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from embedshift.errors import EmbedshiftError
from embedshift.study import Study
from support import command
from support.matrix import first_only
from support.revised import read_shard, revise_shard, shard_path
from support.synthetic import make_study

NAMES, VIEWS = ["noise", "blur"], 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("made") / "study", 8, NAMES, shard_size=4).folder


@pytest.fixture
def study(made, tmp_path):
    return Study(shutil.copytree(made, tmp_path / "study"))


def put(rows, name, values):
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(place), values)


def cell(name, row, value):
    """Another value in one row of a column."""

    def change(rows):
        values = rows[name].to_pylist()
        values[row] = value(values[row]) if callable(value) else value
        return put(rows, name, pa.array(values, rows.schema.field(name).type))

    return change


def retyped(name, kind):
    def change(rows):
        place = rows.schema.get_field_index(name)
        return rows.set_column(place, pa.field(name, kind), rows[name].combine_chunks().cast(kind))

    return change


def shorter(rows):
    vectors = np.stack(rows["embedding"].to_numpy(zero_copy_only=False))[:, :5]
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 5)
    return rows.set_column(rows.schema.get_field_index("embedding"), pa.field("embedding", column.type), column)


def twice(rows):
    ids = rows["image_id"].to_pylist()
    return put(rows, "image_id", pa.array([*ids[:9], *ids[:3]], pa.string()))


MALFORMED = {
    "rows permuted": (
        lambda rows: rows.take(list(range(11, -1, -1))),
        "column 'view' has 'blur', where another value belongs",
    ),
    "an image twice": (twice, "names an image twice"),
    "views apart": (lambda rows: put(rows, "image_id", rows["image_id"].take([*range(1, 12), 0])), "'image_id' has"),
    "a view like a path": (cell("view", 4, "../../x"), r"column 'view' has '\.\./\.\./x'"),
    "a view of another name": (cell("view", 4, "sepia"), "column 'view' has 'sepia'"),
    "a draw below 0": (cell("draw", 4, -5), "column 'draw' has -5, where"),
    "vectors of another length": (shorter, r"column 'embedding' is fixed_size_list<element: float>\[5\], not"),
    "a number as text": (retyped("l2_distance", pa.string()), "column 'l2_distance' is string, not double"),
    "another type of a list": (retyped("attention", pa.list_(pa.float32())), "column 'attention' is list<"),
    "a column that is missing": (
        lambda rows: rows.drop_columns(["edge_preservation"]),
        "column 'edge_preservation' is missing, not double",
    ),
    "no pairs": (lambda rows: rows.drop_columns(["pairwise"]), "column 'pairwise' is missing, not list"),
    "a column of its own": (
        lambda rows: rows.append_column("more", pa.nulls(12, pa.float64())),
        "'more' is double, not in the other shards",
    ),
    "a cosine of 9": (cell("cosine_similarity", 5, 9.0), r"'cosine_similarity' has 9\.0, beyond -1\.0 to 1\.0"),
    "a distance without end": (cell("l2_distance", 5, np.inf), "column 'l2_distance' has inf, beyond 0"),
    "a cosine of NaN": (
        cell("cosine_similarity", 5, np.nan),
        "'cosine_similarity' has (nan|None), where a number belongs",
    ),
    "no cosine": (cell("cosine_similarity", 5, None), "'cosine_similarity' has (nan|None), where a number belongs"),
    "pairs of a wrong number": (
        cell("pairwise", 3, [0.5] * 4),
        r"'pairwise' has \[0.5, 0.5, 0.5, 0.5\], where a list of 1 ",
    ),
    "pairs of NaN": (cell("pairwise", 3, [np.nan]), "'pairwise' has nan, where a number belongs"),
    "an embedding of NaN": (
        cell("embedding", 4, lambda old: [np.nan, *old[1:]]),
        "'embedding' has nan, where a number",
    ),
    "no embedding": (cell("embedding", 4, None), "column 'embedding' has None, where a vector"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", first_only(MALFORMED))
def test_a_malformed_shard_is_one_line_wherever_it_is_read(case, study, monkeypatch, capsys):
    change, words = MALFORMED[case]
    revise_shard(study.folder, 1, lambda rows: change(rows).replace_schema_metadata(rows.schema.metadata))
    (damaged,) = study.verify().damaged
    assert damaged.name == "shards/part-00001.parquet"
    before = {path: path.read_bytes() for path in study.folder.rglob("*.*") if path.is_file()}
    done = command.call(monkeypatch, capsys, "report", study.folder, "--figures", "l2_density")
    assert done.code == 1
    assert f"part-00001.parquet: {damaged.problem}" in done.line
    assert "delete the file and run the study again to measure it" in done.line
    assert pl.Series([done.line, damaged.problem]).str.contains(words).all(), (done.line, damaged.problem)
    assert {path: path.read_bytes() for path in study.folder.rglob("*.*") if path.is_file()} == before
    with pytest.raises(EmbedshiftError, match=r"part-00001\.parquet: .*delete the file"):
        study.search(queries="all")


def test_an_image_of_another_study_in_a_shard(study):
    """Its ids and pixels are those that the record gives, whatever the rows say."""
    from embedshift.store.shards import pixels_digest

    rows, _ = read_shard(shard_path(study.folder, 1))
    digest = pixels_digest(rows["image_id"].to_pylist(), rows["pixels"].to_pylist())
    revise_shard(study.folder, 1, lambda rows: rows, pixels=digest)
    assert not study.verify().findings[2].problem
    assert study.rows().collect().height == 24
    orders = ([*range(3, 12), *range(3)], [*range(6), *range(9, 12), *range(6, 9)])
    names = [name if name != "image-00005.png" else "stranger.png" for name in rows["image_id"].to_pylist()]
    changes = [lambda rows, order=order: rows.take(order) for order in orders]
    for change in (*changes, lambda rows: put(rows, "image_id", pa.array(names, pa.string()))):
        revise_shard(study.folder, 1, change)
        with pytest.raises(EmbedshiftError, match=r"part-00001.*'image_id' and 'pixels' are not those of the images"):
            study.rows()
        assert "are not those of the images" in study.verify().damaged[0].problem


@pytest.mark.parametrize("sums", [{}, {"shape": [9], "kind": "<f4", "data": "AAAA"}, 5])
def test_sums_that_are_none(sums, study):
    import json

    from embedshift.store.shards import SUMS_KEY

    def change(rows):
        packed = json.loads(rows.schema.metadata[SUMS_KEY])
        packed["vectors"] = {"vectors": sums}
        return rows.replace_schema_metadata({SUMS_KEY: json.dumps(packed)})

    revise_shard(study.folder, 1, change)
    with pytest.raises(EmbedshiftError, match=r"part-00001\.parquet: damaged \(the sums 'vectors': "):
        study.summary()


def test_what_a_run_may_write_passes(study):
    """NaN where there is nothing to compare, a value beyond its limit by rounding, and views that are missing."""
    for change in (
        cell("detail_preservation", 4, np.nan),
        cell("cosine_similarity", 4, 1.0 + 2e-16),
        cell("caption", 4, "a cat"),
    ):
        revise_shard(study.folder, 1, change)
        assert study.rows().collect().height == 24
        assert not [each for each in study.verify().damaged if each.name.startswith("shards")]
