"""Vectors in real stores: LanceDB in a folder, and a PostgreSQL server with pgvector; every fault is one line."""

import gc
import re
import shutil

import lancedb
import numpy as np
import polars as pl
import psycopg
import pytest

from embedshift.errors import MissingExtra, UsageError
from embedshift.sources import base
from embedshift.sources.vectors import VectorSet
from support.given_vectors import arrays, table
from support.postgresql import started

N, DIM = 60, 8
SECRET = "hunter2-is-secret"
TYPES = {"image_id": "text", "view": "text"}


@pytest.fixture(scope="module")
def server():
    with started() as found:
        yield found


@pytest.fixture
def rows(tmp_path):
    """Originals and two views of some images, as a Parquet file has them; float32 as the stores have."""
    original, views = arrays(images=N, dim=DIM)
    frame = pl.read_parquet(table(tmp_path, original, views))
    frame = frame.with_columns(pl.col("vector").cast(pl.List(pl.Float32)))
    frame.write_parquet(tmp_path / "vectors.parquet")
    return frame


@pytest.fixture(params=["lancedb", pytest.param("postgresql", marks=pytest.mark.slow)])
def put(request, tmp_path):
    """Puts a frame into a table of a store, and returns its address."""

    def into(frame, name="items", kind=f"vector({DIM})"):
        if request.param == "lancedb":
            cells = frame.with_columns(pl.col(pl.List(pl.Float32)).list.to_array(DIM)).to_arrow()
            lancedb.connect(tmp_path / "lance").create_table(name, cells, mode="overwrite")
            return f"lancedb:{tmp_path / 'lance'}/{name}"
        found = request.getfixturevalue("server")
        write(found, frame, name, kind)
        return found.address(name)

    return into


def write(server, frame, name, kind):
    columns = [f"{psycopg.sql.Identifier(column).as_string(None)} " for column in frame.columns]
    kinds = [TYPES.get(column, "text") if column not in ("vector", "emb") else kind for column in frame.columns]
    place = psycopg.sql.Identifier(name).as_string(None)
    gc.collect()  # a set that was read before keeps its snapshot as long as it lives
    with server.connect() as connection:
        connection.execute("SET lock_timeout = '5s'")
        connection.execute(f"DROP TABLE IF EXISTS {place}")
        connection.execute(
            f"CREATE TABLE {place} ({', '.join(map(''.join, zip(columns, [f'{k}' for k in kinds], strict=True)))})"
        )
        cells = [[None if cell is None else str(cell) for cell in row] for row in frame.iter_rows()]
        places = ", ".join(f"%s::{kind}" for kind in kinds)
        connection.cursor().executemany(f"INSERT INTO {place} VALUES ({places})", cells)


def refused(address, **given):
    with pytest.raises(UsageError) as caught:
        [*VectorSet.open(address, **given).blocks(zeros=False, infinite=False)]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_study_of_a_table_is_that_of_its_file(put, rows, tmp_path, cli):
    done = [
        cli("vectors", place, "--out", tmp_path / name, "--no-report", "--json")
        for name, place in (("file", tmp_path / "vectors.parquet"), ("store", put(rows)))
    ]
    assert [each.code for each in done] == [0, 0], done[1].err
    one, other = (pl.read_parquet(tmp_path / name / "shards") for name in ("file", "store"))
    assert one.equals(other)


def test_columns_are_named_by_options_or_in_the_address(put, rows):
    frame = rows.rename({"image_id": "sku", "vector": "emb"})
    address = put(frame)
    expected = np.array(rows["vector"].to_list(), np.float32)
    joined = "&" if "?" in address else "?"
    for given, columns in ((address, {"id": "sku", "vector": "emb"}), (f"{address}{joined}id=sku&vector=emb", None)):
        found = VectorSet.open(given, columns=columns or {})
        np.testing.assert_array_equal(np.concatenate([*found.blocks()]), expected)
        assert found.keys["image_id"].to_pylist() == frame["sku"].to_list()
    assert re.search(r"has no column 'vector'; its columns are .*'emb'", refused(address, named=False))
    assert "has no column 'nix'" in refused(address, named=False, columns={"vector": "nix"})


def test_a_table_is_as_it_was_when_it_was_opened(put, rows, server, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "AT_ONCE", 4 * DIM * 5)
    address = put(rows)
    opened = VectorSet.open(address)
    blocks = opened.blocks()
    first = next(blocks)
    if address.startswith("lancedb:"):
        lancedb.connect(tmp_path / "lance").open_table("items").delete("image_id = '3.jpg'")
    else:
        with server.connect() as connection:
            connection.execute("DELETE FROM items WHERE image_id = '3.jpg'")
            connection.execute("UPDATE items SET image_id = 'other'")
    every = np.concatenate([first, *blocks])
    assert len(first) < len(every)  # in blocks of bounded memory
    np.testing.assert_array_equal(every, np.array(rows["vector"].to_list(), np.float32))
    np.testing.assert_array_equal(np.concatenate([*opened.blocks()]), every)
    assert len(VectorSet.open(address)) == len(rows) - 3


def test_searches_and_thresholds_take_a_table_as_a_gallery(put, rows, tmp_path, cli):
    assert cli("vectors", tmp_path / "vectors.parquet", "--out", tmp_path / "study", "--no-report").code == 0
    others = np.random.default_rng(5).normal(size=(20, DIM)).astype(np.float32)
    frame = pl.DataFrame({"image_id": [f"other {n}" for n in range(20)], "vector": others.tolist()})
    frame = frame.with_columns(pl.col("vector").cast(pl.List(pl.Float32)))
    frame.write_parquet(tmp_path / "gallery.parquet")
    address, found = put(frame, "gallery"), []
    for command in (("search", "--queries", "12"), ("index", "int8"), ("threshold", "--wrong-queries", "0.3")):
        for place in (tmp_path / "gallery.parquet", address):
            done = cli(command[0], tmp_path / "study", *command[1:], "--gallery", place, "--json")
            assert done.code == 0, done.err
            found.append(re.sub(r'"gallery": "[^"]*"', "", done.out))
        assert found[-2] == found[-1]
    again = cli("index", tmp_path / "study", "--json")  # a kept table needs no store
    assert again.code == 0, again.err
    lost = cli("index", tmp_path / "study", "--gallery", address.replace("gallery", "lost"))
    assert (lost.code, "no table 'lost'" in lost.line) == (2, True)


def test_drift_upgrade_and_dissect_take_a_table(put, rows, tmp_path, cli):
    study, address = tmp_path / "study", put(rows)
    assert cli("vectors", tmp_path / "vectors.parquet", "--out", study, "--no-report").code == 0
    for command in (("drift", study), ("dissect", study)):
        of_file, of_store = (cli(*command, place, "--json") for place in (tmp_path / "vectors.parquet", address))
        assert of_store.code == of_file.code == 0, of_store.err
    of_store = cli("upgrade", address, address, "--json")
    of_file = cli("upgrade", tmp_path / "vectors.parquet", tmp_path / "vectors.parquet", "--json")
    assert (of_store.code, of_file.code) == (0, 0), of_store.err


def test_bad_vectors_are_one_line(put, rows):
    cells = rows["vector"].to_list()
    for wrong, words in (([0.0] * DIM, "is a zero vector"), (None, "has no vector")):
        changed = [wrong if place == 7 else cell for place, cell in enumerate(cells)]
        frame = rows.with_columns(pl.Series("vector", changed, pl.List(pl.Float32))).rename({"vector": "emb"})
        assert f"row 7 {words}" in refused(put(frame), columns={"vector": "emb"})


def test_a_number_that_is_nan_and_a_missing_table_in_lancedb(rows, tmp_path):
    cells = rows["vector"].to_list()
    cells[3][2] = float("nan")  # LanceDB looks for it in a column `vector` alone
    frame = rows.drop("vector").with_columns(pl.Series("emb", cells, pl.Array(pl.Float32, DIM)))
    lancedb.connect(tmp_path).create_table("items", frame.to_arrow())
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    assert "row 3 has a number that is NaN" in refused(f"lancedb:{tmp_path}/items?vector=emb")
    assert "no table 'nix'" in refused(f"lancedb:{tmp_path}/nix")
    assert "no table 'items'" in refused(f"lancedb:{tmp_path}/nowhere/items")
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before  # nothing is written


def test_a_version_that_is_deleted_in_the_middle_is_one_line(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(base, "AT_ONCE", 4 * DIM)
    frame = rows.with_columns(pl.col("vector").list.to_array(DIM))
    lancedb.connect(tmp_path).create_table("items", frame.to_arrow())
    opened = VectorSet.open(f"lancedb:{tmp_path}/items")
    shutil.rmtree(tmp_path / "items.lance")
    with pytest.raises(UsageError, match=r"lancedb:.*: cannot be read"):
        [*opened.blocks()]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "least"), [(f"halfvec({DIM})", 1e-3), ("vector", 0.0), (f"bit({DIM})", None)])
def test_types_of_pgvector(server, rows, kind, least):
    given = np.array(rows["vector"].to_list(), np.float32)
    frame = rows
    if least is None:
        frame = rows.with_columns(pl.Series("vector", ["".join("01"[int(x > 0)] for x in row) for row in given]))
        given = np.where(given > 0, np.float32(1), np.float32(-1))
    write(server, frame, "kinds", kind)
    found = np.concatenate([*VectorSet.open(server.address("kinds")).blocks()])
    np.testing.assert_allclose(found, given, rtol=least or 0, atol=least or 0)


@pytest.mark.slow
def test_tables_with_quotes_and_vectors_of_other_sizes(server, rows):
    name = 'it"ems; DROP TABLE x --'
    write(server, rows.rename({"image_id": 'i"d'}), name, "vector")
    address = server.address(name.replace(";", "%3B").replace(" ", "%20"))
    assert len(VectorSet.open(address, columns={"id": 'i"d'})) == len(rows)
    with server.connect() as connection:
        place = psycopg.sql.Identifier(name)
        update = psycopg.sql.SQL("UPDATE {} SET vector = '[1,2]' WHERE view = 'a'").format(place)
        connection.execute(update)
    assert "has 2 numbers, but row 0 has 8" in refused(address, columns={"id": 'i"d'})


@pytest.mark.slow
def test_a_user_without_rights_and_a_server_that_goes(server, rows, monkeypatch):
    monkeypatch.setattr(base, "AT_ONCE", 4 * DIM)
    write(server, rows, "items", f"vector({DIM})")
    with server.connect() as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    assert "permission denied for table items; ask" in refused(server.address("items", user="guest")).replace(")", "")
    assert "no table 'other'" in refused(server.address("other"))
    assert 'database "nix" does not exist' in refused(server.address("items", database="nix"))
    opened = VectorSet.open(server.address("items"))
    blocks = opened.blocks()
    next(blocks)
    server.control("-m", "immediate", "stop")
    try:
        with pytest.raises(UsageError, match=r"postgresql://.*: no answer \(.*\); see that the server runs"):
            list(blocks)
        assert "Connection refused" in refused(server.address("items"))
    finally:
        server.start()


def test_no_password_is_taken_from_an_address_or_repeated(tmp_path, cli):
    for address in (
        f"postgresql://me:{SECRET}@127.0.0.1/db?table=t",
        f"postgres://me:{SECRET}@127.0.0.1/db?table=t",
        f"postgresql://127.0.0.1/db?password={SECRET}&table=t",
    ):
        done = cli("vectors", address, "--out", tmp_path / "study")
        assert done.code == 2
        assert SECRET not in done.err + done.out
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.slow
def test_a_password_of_the_environment_stands_nowhere(server, rows, tmp_path, cli, monkeypatch):
    write(server, rows, "items", f"vector({DIM})")
    monkeypatch.setenv("PGPASSWORD", SECRET)
    done = cli("vectors", server.address("items"), "--out", tmp_path / "study")
    assert done.code == 0, done.err
    assert SECRET not in done.err + done.out
    assert not any(SECRET.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_missing_libraries_are_named_by_their_extras(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    monkeypatch.setitem(__import__("sys").modules, "lancedb", None)
    for extra, address in (("pgvector", "postgresql://h/db?table=t"), ("lancedb", f"lancedb:{tmp_path}/t")):
        with pytest.raises(MissingExtra, match=rf"embedshift\[{extra}\]"):
            VectorSet.open(address)
