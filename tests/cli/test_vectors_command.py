"""`embedshift vectors`: arrays by name and place, and one line for everything that is wrong with vectors."""

import json
import shutil

import numpy as np
import polars as pl
import pytest

import embedshift

N, DIM = 6, 4
RNG = np.random.default_rng(0)
ORIGINAL = RNG.normal(size=(N, DIM))
VIEW = ORIGINAL + 0.1
IDS = [f"{number}.jpg" for number in range(N)]


def frame(**columns):
    content = {
        "image_id": IDS * 2,
        "view": ["original"] * N + ["jpeg"] * N,
        "vector": [row.tolist() for row in (*ORIGINAL, *VIEW)],
    }
    return pl.DataFrame({name: cells for name, cells in (content | columns).items() if cells is not None}, strict=False)


def cells(column, row, value):
    """A column with one other value."""
    return {column: [value if number == row else cell for number, cell in enumerate(frame()[column].to_list())]}


@pytest.mark.matrix
@pytest.mark.slow
def test_a_run_with_a_report_makes_the_core_tables_once(tmp_path, cli, monkeypatch):
    from embedshift.store import tables

    made, core = [], tables._core_tables
    monkeypatch.setattr(tables, "_core_tables", lambda reader: made.append(1) or core(reader))
    frame().write_parquet(tmp_path / "vectors.parquet")
    for wanted in (1, 1, 2):  # at first; where nothing is left to do; where only the report is missing
        done = cli("vectors", tmp_path / "vectors.parquet", "--out", tmp_path / "study")
        assert done.code == 0, done.err
        assert len(made) == wanted
        if done.out.count("nothing was left"):
            (tmp_path / "study" / "report.html").unlink()


BAD_TABLES = {
    "only originals": (frame().head(N), "all vectors are of 'original'; give those of one view at least"),
    "no original": (frame()[1:], "1 of 6 images have no vector of 'original' (first: 0.jpg)"),
    "no view": (frame()[:-1], "1 of 6 images have no vector of 'jpeg' (first: 5.jpg)"),
    "a double": (frame().vstack(frame()[-1:]), "image '5.jpg' has 2 vectors of 'jpeg'; give one"),
    "another length": (frame(**cells("vector", 7, [1.0, 2.0])), "row 7 has 2 numbers, but row 0 has 4"),
    "a zero vector": (frame(**cells("vector", 8, [0.0] * DIM)), "row 8 is a zero vector, which has no direction"),
    "no vector": (frame(**cells("vector", 2, None)), "row 2 has no vector"),
    "an empty vector": (frame(**cells("vector", 2, [])), "row 2 has no vector"),
    "texts": (frame(vector=["[1, 2]"] * 2 * N), "its column 'vector' holds large_string, not lists of numbers"),
    "lists of texts": (frame(vector=[["1", "2"]] * 2 * N), ", not lists of numbers"),
    "no ids": (
        frame(image_id=None),
        "has no column 'image_id'; its columns are 'view', 'vector': name one by --id-column",
    ),
    "no column of vectors": (frame(vector=None), "has no column 'vector'"),
    "a missing id": (frame(**cells("image_id", 3, None)), "row 3 has no image_id"),
    "a view without a name": (frame(**cells("view", 9, "")), "row 9 has no view"),
    "a draw below 0": (
        frame(draw=[0] * N + [-1] * N),
        "row 6 has a draw -1; number the draws of a view from 0, without gaps",
    ),
    "a gap in the draws": (frame(draw=[0] * N + [1] * N), "6 of 6 images have no vector of 'jpeg', draw 0"),
    "no row": (frame().head(0), "has no rows"),
    "groups of some": (frame(group=["g"] + [None] * (2 * N - 1)), "no group for 5 of 6 images"),
    "a draw without a number": (frame(draw=["0"] * N + ["x"] * N), "cannot be read"),
}


OTHER = {"image_id": "sku", "view": "kind", "vector": "emb.v1", "group": "scene", "draw": "seed", "tile": "part"}
FLAGS = [word for key, name in OTHER.items() for word in (f"--{key.removeprefix('image_')}-column", name)]


@pytest.mark.slow
def test_columns_of_other_names_give_the_study_of_the_usual_ones(tmp_path, cli):
    groups = [f"scene {number // 2}" for number in range(N)]
    tiles = frame().head(N).with_columns(tile=pl.lit(1), group=pl.lit(None, pl.String))
    usual = pl.concat([frame(tile=[0] * 2 * N, group=groups * 2), tiles], how="diagonal_relaxed").with_columns(
        draw=pl.lit(0)
    )
    usual.write_parquet(tmp_path / "usual.parquet")
    # Columns that have the usual names are of something else.
    renamed = usual.rename(OTHER).with_columns(view=pl.lit("shop"), emb=pl.lit("v1"), group=pl.lit(7))
    renamed.write_parquet(tmp_path / "other.parquet")
    found = {}
    for name, flags in (("usual", []), ("other", FLAGS)):
        given = ("vectors", tmp_path / f"{name}.parquet", "--out", tmp_path / name, "--no-report", "--json")
        done = cli(*given, *flags)
        assert done.code == 0, done.err
        info = embedshift.load(tmp_path / name).info()
        found[name] = (json.loads(done.out)["summary"], info["groups"]["count"], info["config"]["tiles"])
    assert found["usual"] == found["other"]
    assert found["other"][1:] == (3, 1)
    assert "columns that are not used: view, emb, group" in done.err


def test_what_is_wrong_with_names_of_columns_is_one_line(tmp_path, cli):
    frame(view=["orig"] * N + ["jpeg"] * N).rename({"image_id": "sku"}).write_parquet(tmp_path / "table.parquet")
    for words, *flags in (
        ("has no column 'image_id'; its columns are 'sku', 'view', 'vector': name one by --id-column",),
        (
            "has no column 'shot'; its columns are 'sku', 'view', 'vector': name one by --draw-column",
            "--draw-column",
            "shot",
        ),
        ("its views are 'orig', 'jpeg': rename one, or name the column of views by --view-column",),
    ):
        given = ["--id-column", "sku"] if flags or "views" in words else []
        done = cli("vectors", tmp_path / "table.parquet", "--out", tmp_path / "study", *given, *flags)
        assert (done.code, words in done.line) == (2, True), done.err


def test_a_bad_table_is_one_line(tmp_path, cli):
    for name, (table, words) in BAD_TABLES.items():
        table.write_parquet(tmp_path / "table.parquet")
        done = cli("vectors", tmp_path / "table.parquet", "--out", tmp_path / "study")
        assert (done.code, words in done.line) == (2, True), (name, done.err)
        assert "table.parquet" in done.line or "image" in done.line or "'original'" in done.line, name


def save(folder, **arrays):
    paths = {}
    for name, array in arrays.items():
        paths[name] = folder / f"{name}.npy"
        np.save(paths[name], array)
    return paths


BAD_ARRAYS = {
    "other rows": (VIEW[:-1], "1 of 6 images have no vector of 'view' (first: 5)"),
    "other length": (VIEW[:, :2], "view.npy: row 0 has 2 numbers, but others have 4; give vectors of one encoder"),
    "texts": (VIEW.astype(str), "give numbers [images, length of a vector]"),
    "objects": (VIEW.astype(object), "cannot be read"),
    "three axes": (VIEW[None], "of shape (1, 6, 4); give numbers [images, length of a vector]"),
    "complex numbers": (VIEW.astype(complex), "complex128 of shape (6, 4)"),
    "an infinite zero": (np.zeros_like(VIEW), "view.npy: row 0 is a zero vector"),
}


def test_a_bad_array_or_file_is_one_line(tmp_path, cli):
    for name, (array, words) in BAD_ARRAYS.items():
        paths = save(tmp_path, original=ORIGINAL, view=array)
        done = cli("vectors", paths["original"], paths["view"], "--out", tmp_path / "study")
        assert (done.code, words in done.line) == (2, True), (name, done.err)
    (tmp_path / "text.parquet").write_text("no Parquet")
    np.savez(tmp_path / "two.npz", a=ORIGINAL, b=VIEW)
    (tmp_path / "ids.txt").write_text("a\nb\n")
    paths = save(tmp_path, original=ORIGINAL, view=VIEW)
    both = paths["original"], f"jpeg={paths['view']}"
    for words, *arguments in (
        ("text.parquet: cannot be read", tmp_path / "text.parquet"),
        ("No such file", tmp_path / "missing.parquet"),
        ("two.npz: NpzFile of shape ()", tmp_path / "two.npz"),
        ("Is a directory", tmp_path),
        ("has 6 rows, but 2 of 'image_id' are given", *both, "--ids", tmp_path / "ids.txt"),
        ("no such file; `embedshift views` writes it", *both, "--views", tmp_path / "views.json"),
        ("two variants have the name 'jpeg'", *both, f"jpeg={paths['view']}"),
    ):
        done = cli("vectors", *arguments, "--out", tmp_path / "study")
        assert (done.code, words in done.line) == (2, True), done.err
    assert not (tmp_path / "study").exists()


def test_a_study_without_room_on_disk_is_one_line(tmp_path, monkeypatch, cli):
    paths = save(tmp_path, original=np.ones((4_000, 250)), view=np.ones((4_000, 250)))
    monkeypatch.setattr("shutil.disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 10**7))
    done = cli("vectors", paths["original"], paths["view"], "--out", tmp_path / "study")
    # 8,000 vectors of 250 numbers of four bytes, and 64 bytes a row.
    words = f"up to 9 MB in {tmp_path / 'study'}, and 8 MB more while it runs; 10 MB are free"
    assert (done.code, done.line) == (2, f"error: the study takes {words}")


@pytest.mark.slow
def test_arrays_are_named_and_their_rows_have_ids(tmp_path, cli):
    paths = save(tmp_path, original=ORIGINAL, blur=VIEW, other=VIEW + 1)
    (tmp_path / "ids.txt").write_text("\n".join(IDS) + "\n")
    arguments = paths["original"], paths["blur"], f"jpeg={paths['other']}", "--ids", tmp_path / "ids.txt"
    options = "--out", tmp_path / "study", "--no-report", "--json", "--model", "ours"
    done = cli("vectors", *arguments, *options)
    assert done.code == 0, done.err
    content = json.loads(done.out)
    assert {row["augmentation"] for row in content["summary"]} == {"blur", "jpeg"}
    assert content["encoder"]["name"] == "ours"
    assert content["counts"]["measured"] == N
    rows = pl.read_parquet(tmp_path / "study" / "shards" / "part-00000.parquet")
    assert set(rows["image_id"]) == {*IDS}
    again = cli("vectors", *arguments, *options)
    assert json.loads(again.out) == content
    assert "already finished" in again.err
