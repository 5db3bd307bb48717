"""Exactly the shards that study.json implies are read: nothing twice, nothing of others, nothing without what lacks."""

import functools
import gc
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.store import listing
from embedshift.store.files import Damaged
from embedshift.store.info import read_content, write_content
from embedshift.store.listing import Listing
from embedshift.store.shards import shard_path
from embedshift.study import Study
from support import studies
from support.revised import revise_shard


@pytest.fixture(scope="module")
def made():
    return studies.synthetic(12, ["noise", "blur"], shard_size=4)


@pytest.fixture
def study(made, tmp_path):
    return studies.copied(made, tmp_path / "study [v2]*%20#?")  # no pattern


USES = {
    "rows": lambda study: study.rows(),
    "records": lambda study: study.reader().records,
    "sums": lambda study: study.reader().sums("baseline"),
    "tables": lambda study: study.write_tables(),
    "search": lambda study: study.search(queries="all"),
    "ids": lambda study: study.reader().image_ids(),
    "report": lambda study: study.report(figures=[]),
}


def copied_to(name, folder, index=1):
    shutil.copy(shard_path(folder, index), folder / "shards" / name)


def revised(folder, change=lambda rows: rows, **said):
    revise_shard(folder, 1, change, **said)


def counted(folder, **counts):
    content = read_content(folder)
    write_content(folder, content | {"counts": content["counts"] | counts})


def linked_to_nowhere(folder):
    shard_path(folder, 1).unlink()
    shard_path(folder, 1).symlink_to(folder / "nowhere")


def flipped(folder):
    content = bytearray(shard_path(folder, 1).read_bytes())
    content[1000] ^= 16
    shard_path(folder, 1).write_bytes(content)


FOREIGN = "not part of this study, whose shards are named part-00000.parquet to part-00002.parquet; move it elsewhere"
COUNTS = "its shards contain 12 measured and 0 failed images, but study.json lists"
COPIES = [
    "part-00001 (copy).parquet", "part-1.parquet", "part-00003.parquet", "part-00001.sync-conflict.parquet",
    "Part-00001.PARQUET", "copy of part-00001.parquet", "part-00001.parquet.bak", "part-00001\n.parquet",
]  # fmt: skip
# What is done to the folder, what `verify` names, and the words of the line.
DAMAGES = {name: (functools.partial(copied_to, name), "shards", FOREIGN) for name in COPIES} | {
    "the name of another": (
        lambda folder: copied_to("part-00001.parquet", folder, 0), "shards/part-00001.parquet",
        "part-00001.parquet: contains shard 0 but has another name",
    ),
    "a link to nowhere": (
        linked_to_nowhere, "shards/part-00001.parquet", "part-00001.parquet: cannot be read (No such file or directory)"
    ),
    "another study": (
        lambda folder: revised(folder, config_hash="f" * 64), "shards/part-00001.parquet",
        "part-00001.parquet: a shard of another study",
    ),
    "missing": (
        lambda folder: shard_path(folder, 1).unlink(), "shards/part-00001.parquet",
        "part-00001.parquet: missing from a finished study; run the study again to measure it",
    ),
    "other rows": (
        lambda folder: revised(folder, lambda rows: rows.slice(0, 9)), "shards/part-00001.parquet",
        "part-00001.parquet: 9 rows, expected 4 images of 3 views",
    ),
    "a flipped bit": (
        flipped, "shards/part-00001.parquet", "part-00001.parquet: damaged (its content does not match its checksum)"
    ),
    "fewer measured": (lambda folder: counted(folder, measured=11), "study.json", COUNTS),
    "fewer in all": (lambda folder: counted(folder, measured=11, images=11), "study.json", COUNTS),
    "more failed": (lambda folder: counted(folder, failed=1), "study.json", COUNTS),
    "fewer listed": (lambda folder: counted(folder, images=11), "study.json", COUNTS),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_whoever_reads_says_what_is_wrong_and_no_table_is_overwritten(damage, study):
    damaged, where, words = DAMAGES[damage]
    damaged(study.folder)
    before = {path: path.read_bytes() for path in (study.folder / "tables").iterdir()}
    for use in USES.values():
        with pytest.raises(EmbedshiftError) as caught:
            use(Study(study.folder))
        assert words in str(caught.value)
        assert str(caught.value).startswith(str(study.folder))
        assert isinstance(caught.value, Damaged) == (damage == "a flipped bit")
        assert caught.value.exit_code == (1 if damage in ("a flipped bit", "a link to nowhere") else 2)
        if damage in COPIES:
            assert " ".join(damage.split()) in str(caught.value), "the copy is named"
    assert {path: path.read_bytes() for path in (study.folder / "tables").iterdir()} == before
    assert where in [finding.name for finding in study.verify().damaged]


def test_commands_say_it_too_with_the_flag_that_mends_it(made, study, cli):
    flipped(study.folder)
    for arguments in (["report"], ["search"], ["compare", made.folder]):
        done = cli(*arguments, study.folder)
        assert "part-00001.parquet: damaged" in done.line
        assert "run the study again with --repair" in done.line


def test_files_that_nobody_takes_for_a_shard_stop_nothing(study):
    for name in (".part-00001.parquet.4242", ".DS_Store", "._part-00001.parquet", "notes.txt", "Thumbs.db"):
        (study.folder / "shards" / name).write_bytes(b"x")
    (study.folder / "shards" / ".hidden").mkdir()
    assert study.rows().collect().height == 36


def test_an_unfinished_study_is_read_as_far_as_it_is(study):
    shard_path(study.folder, 1).unlink()
    write_content(study.folder, study.info() | {"complete": False})
    assert study.rows().collect().height == 24
    for index in (0, 2):
        shard_path(study.folder, index).unlink()
    with pytest.raises(EmbedshiftError, match="no image is measured yet"):
        study.rows()


@pytest.mark.slow
def test_a_shard_leaves_no_metadata_in_memory(study):
    """Of 1,500 shards it took 200 MB until Python looked for cycles."""
    gc.collect()
    gc.disable()
    try:
        found = Listing(study.folder)
        assert [part.rows for part in found.parts] == [12, 12, 12]
        assert not [kept for kept in gc.get_objects() if isinstance(kept, pq.FileMetaData)]
    finally:
        gc.enable()


@pytest.fixture
def opened(monkeypatch):
    """The shards that were opened, in order."""
    names, real = [], listing.read_record
    monkeypatch.setattr(listing, "read_record", lambda path: names.append(path.name) or real(path))
    return names


def test_a_shard_is_opened_once_until_its_file_changes(study, opened):
    study = Study(study.folder)
    study.summary()
    assert opened == [], "a table of a finished study needs none"
    study.rows()
    first = study.reader().listing
    assert study.reader().listing is first
    study.write_tables()
    assert study.reader().listing is not first, "study.json was written"
    study.rows()
    assert sorted(opened) == [f"part-0000{index}.parquet" for index in range(3)]
    revise_shard(study.folder, 1, lambda rows: rows, seconds={"encode": 2.0})
    assert [record.seconds["encode"] for record in study.reader().records] == [1.0, 2.0, 1.0]
    # `revise_shard` itself reads the record by another name.
    assert opened[3:] == ["part-00001.parquet"]


def test_a_run_opens_no_footer_of_the_shards_that_it_wrote(tmp_path, opened, monkeypatch):
    numbers = np.random.default_rng(0).normal(size=(30, 4))

    def made(name):
        return embedshift.from_vectors(numbers, {"jpeg": numbers + 0.1}, out=tmp_path / name, shard_size=8)

    kept = made("kept")
    tables = {name: kept.table(name) for name in kept.table_names}
    assert opened == []
    # As where the sums of all shards are too large to be kept.
    monkeypatch.setattr(listing, "_SUMS_BYTES", 0)
    again = made("again")
    assert all(part.sums is None for part in again.reader().parts)
    assert all(again.table(name).equals(table) for name, table in tables.items())


def test_a_shard_that_another_process_has_written_meanwhile_is_there(study, opened):
    shard = shard_path(study.folder, 1)
    whole = shard.read_bytes()
    shard.unlink()
    write_content(study.folder, study.info() | {"complete": False})
    study = Study(study.folder)
    assert study.rows().collect().height == 24
    shard.write_bytes(whole)
    assert study.rows().collect().height == 36
    assert len(opened) == 3
