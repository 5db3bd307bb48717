"""The checksums of shards: what they are over, and that no bit escapes them."""

import contextlib
import hashlib
import json
import os
import random

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedshift.errors import EmbedshiftError
from embedshift.store import files, shards
from embedshift.store.files import Damaged, file_checksum, with_checksum
from embedshift.store.info import read_content, write_content
from embedshift.store.listing import Listing, verify
from embedshift.store.shards import METADATA_KEY, SUMS_KEY, read_record, rows_checksum, shard_path
from embedshift.study import Study
from support import studies
from support.revised import revise_embeddings, revise_shard
from support.synthetic import make_study

NAMES = ["noise", "blur"]


@pytest.fixture
def study(tmp_path):
    return studies.copied(studies.synthetic(6, NAMES, with_tables=False), tmp_path / "study")


@pytest.mark.slow
def test_study_json_records_the_sha_256_of_every_file(study):
    study.report(figures=["l2_density"], formats=["svg"])
    files = [path for path in study.folder.rglob("*") if path.is_file()]
    content = {str(path.relative_to(study.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    del content["study.json"]
    assert study.info()["files"] == content


def test_its_own_checksum_is_over_all_other_fields(study):
    content = study.info()
    fields = {name: value for name, value in content.items() if name != "checksum"}
    assert content["checksum"] == hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    (study.folder / "study.json").write_text(json.dumps(content | {"seconds": {"encode": 2.0}}))
    with pytest.raises(EmbedshiftError, match=r"incomplete or damaged \(ValueError: it does not match its checksum"):
        study.rows()


def flips(folder, count, seed):
    """Places of bits: every file gets the same number, however small it is."""
    rng = random.Random(seed)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    chosen = [files[number % len(files)] for number in range(count)]
    return [(path, rng.randrange(path.stat().st_size), rng.randrange(8)) for path in chosen]


def wrong(study, places, truth):
    """Yields each flip that `verify` calls intact though other content is read, or that changes a table's numbers."""
    for path, byte, bit in places:
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[byte] ^= 1 << bit
        path.write_bytes(flipped)
        where, name = f"{path.relative_to(study.folder)}, byte {byte}, bit {bit}", path.stem
        try:
            if not verify(study.folder).damaged and not reads_the_same(path, whole, flipped):
                yield f"{where}: called intact"
            if path.suffix in (".parquet", ".json"):
                name = name if path.parent.name == "tables" else "summary"
                with contextlib.suppress(EmbedshiftError):  # refused
                    if not study.table(name).equals(truth[name], null_equal=True):
                        yield f"{where}: table {name} has other numbers"
        finally:
            path.write_bytes(whole)


def reads_the_same(path, whole, flipped):
    """An escape or an exponent in capitals, for example, is the same JSON."""
    with contextlib.suppress(ValueError):
        return path.name == "study.json" and json.loads(flipped) == json.loads(whole)
    return False


@pytest.mark.slow
def test_no_flipped_bit_is_called_intact_and_none_changes_a_number(tmp_path):
    study = make_study(tmp_path / "study", 12, NAMES, shard_size=5)
    study.report(figures=["l2_density"], formats=["svg"])
    truth = {name: study.table(name) for name in study.table_names}
    places = flips(study.folder, 40, seed=30)
    names = {path.name for path, *_ in places}
    assert names >= {"study.json", "part-00002.parquet", "report.html"}
    assert any(name.endswith(".csv") for name in names)
    assert list(wrong(study, places, truth)) == []
    assert not study.verify().damaged


@pytest.mark.matrix
def test_a_flip_in_a_shard_of_a_killed_run_is_seen_or_changes_nothing(study):
    """As a killed run leaves it: study.json does not record the shard."""
    write_content(study.folder, study.info() | {"complete": False, "files": {}})
    path = shard_path(study.folder, 0)
    content, drawn = path.read_bytes(), random.Random(0)
    table, (record, rows, _) = pq.read_table(path), read_record(path)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    places = [drawn.randrange(footer) for _ in range(150)] + [drawn.randrange(footer, len(content)) for _ in range(250)]
    seen = 0
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << drawn.randrange(8)
        path.write_bytes(changed)
        part = Listing(study.folder).read(1)[0]
        if isinstance(part, Damaged):
            seen += 1
            continue
        assert (part.record, part.rows) == (record, rows)
        assert Study(study.folder).rows().collect().equals(pl.DataFrame(table), null_equal=True)
    assert seen > 300


def test_nothing_can_be_cut_or_added_unseen(study):
    path, content = shard_path(study.folder, 0), shard_path(study.folder, 0).read_bytes()
    whole = study.info()
    cuts = [content[:cut] for cut in (0, 7, 8, 5_000, -1, -8)]
    for recorded in (True, False):  # study.json of a killed run does not record the shard
        write_content(study.folder, whole | ({} if recorded else {"complete": False, "files": {}}))
        for changed in [*cuts, *([content + b"\0", b"\0" + content, content + content] if recorded else [])]:
            path.write_bytes(changed)
            with pytest.raises(Damaged, match=r"part-00000\.parquet: damaged .*with `repair` to measure it"):
                Study(study.folder).rows()


def test_the_rows_have_one_checksum_before_and_after_parquet():
    columns = {
        "text": pa.array(["a", None, "", "b\n"], pa.string()),
        "number": pa.array([1.5, None, float("nan"), -0.0]),
        "fixed": pa.array([[1, 2], None, [3, 4], [5, 6]], pa.list_(pa.float32(), 2)),
        "list": pa.array([[1.0], [], None, [2.0, None]], pa.list_(pa.float32())),
    }
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    again = pq.read_table(pa.BufferReader(sink.getvalue()))
    expected = rows_checksum(table, b"")
    assert rows_checksum(again, b"") == expected
    assert rows_checksum(pa.concat_tables([table, table]).slice(4), b"") == expected
    for name, values in {"text": ["a", "", None, "b\n"], "number": [1.5, None, 0.0, -0.0]}.items():
        changed = pa.table(columns | {name: pa.array(values, table[name].type)})
        assert rows_checksum(changed, b"") != expected
    for changed in (
        table.rename_columns(["text", "number", "fixed", "other"]),
        table.set_column(3, "list", pa.array([[1.0], None, [], [2.0, None]], pa.list_(pa.float32()))),
        table.set_column(1, "number", table["number"].cast(pa.float32())),
        table.slice(1),
    ):
        assert rows_checksum(changed, b"") != expected
    assert rows_checksum(table, b"sums") != expected


@pytest.mark.slow
def test_the_checksum_of_a_study_is_over_rows_and_sums_and_not_over_times(study):
    one, file = study.reader().measured_checksum(), file_checksum(shard_path(study.folder, 0))
    revise_shard(study.folder, 0, lambda rows: rows, seconds={"encode": 1234.5}, batch_size=77)
    assert file_checksum(shard_path(study.folder, 0)) != file
    assert study.reader().measured_checksum() == one
    revise_embeddings(study, lambda vectors: vectors + np.float32(1))
    other = study.reader().measured_checksum()
    revise_shard(study.folder, 0, lambda rows: rows.replace_schema_metadata(None))
    assert len({one, other, study.reader().measured_checksum()}) == 3


@pytest.mark.slow
def test_a_file_is_hashed_once_as_long_as_it_is_the_same(study, monkeypatch):
    read = []
    real = files.open_file
    monkeypatch.setattr(files, "open_file", lambda path: read.append(path.name) or real(path))
    for _ in range(3):
        study.write_tables()
    assert read.count("part-00000.parquet") == 1
    assert read.count("summary.parquet") == 3, "once each time that it was written"
    path = shard_path(study.folder, 0)
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    with pytest.raises(Damaged, match="part-00000"):
        Study(study.folder).rows()
    assert read.count("part-00000.parquet") == 2


def test_what_is_no_file_is_refused_without_waiting(tmp_path, study):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe", "none"):
        with pytest.raises(EmbedshiftError, match=f"{name}: cannot be read"):
            file_checksum(tmp_path / name)
    (tmp_path / "link").symlink_to(shard_path(study.folder, 0))
    assert file_checksum(tmp_path / "link") == file_checksum(shard_path(study.folder, 0))


def test_a_disk_that_cannot_read_is_damage_and_a_file_of_somebody_else_is_none(study, monkeypatch):
    path = shard_path(study.folder, 0)
    for error, damaged in ((OSError(5, "Input/output error"), True), (PermissionError(13, "Permission denied"), False)):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(files, "open_file", fail)
        with pytest.raises(EmbedshiftError, match=error.strerror) as caught:
            file_checksum(path)
        assert isinstance(caught.value, Damaged) is damaged


def test_a_record_that_is_incomplete_is_damage(study):
    path = shard_path(study.folder, 0)
    assert read_record(path)[0].images == 6
    sums = pq.read_metadata(path).metadata[SUMS_KEY]
    for fields in ({"schema_version": shards.SCHEMA_VERSION, "index": 0}, {"schema_version": shards.SCHEMA_VERSION}):
        record = json.dumps(with_checksum(fields))
        table = pq.read_table(path).replace_schema_metadata({METADATA_KEY: record, SUMS_KEY: sums})
        pq.write_table(table, path)
        with pytest.raises(Damaged, match="rows_checksum"):
            read_record(path)
    assert read_content(study.folder)["files"]
