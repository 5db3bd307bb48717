"""Exactly the shards that study.json implies are read: nothing twice, nothing of others, nothing without what lacks."""

import gc
import shutil

import pyarrow.parquet as pq
import pytest

from embedshift.errors import EmbedshiftError
from embedshift.store import listing
from embedshift.store.info import write_content
from embedshift.store.listing import Listing
from embedshift.store.shards import shard_path
from embedshift.study import Study
from support import command
from support.revised import revise_shard
from support.synthetic import make_study

NAMES = ["noise", "blur"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("made") / "study", 12, NAMES, shard_size=4)


@pytest.fixture
def study(made, tmp_path):
    shutil.copytree(made.folder, tmp_path / "study")
    return type(made)(tmp_path / "study")


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


USES = {
    "rows": lambda study: study.rows(),
    "records": lambda study: study.reader().records,
    "sums": lambda study: study.reader().sums("baseline"),
    "tables": lambda study: study.write_tables(),
    "search": lambda study: study.search(queries="all"),
    "ids": lambda study: study.reader().image_ids(),
    "report": lambda study: study.report(figures=[]),
}


@pytest.mark.parametrize(
    "name",
    ["part-00001 (copy).parquet", "part-1.parquet", "part-00003.parquet", "part-00001.sync-conflict.parquet",
     "Part-00001.parquet", "copy of part-00001.parquet", "part-00001.parquet.bak", "part-00001\n.parquet"],
)  # fmt: skip
def test_a_copied_shard_is_refused_by_its_name(name, study):
    shutil.copy(shard_path(study.folder, 1), study.folder / "shards" / name)
    for use in USES.values():
        with pytest.raises(EmbedshiftError) as caught:
            use(Study(study.folder))
        words = "not part of this study, whose shards are named part-00000.parquet to part-00002.parquet"
        assert str(caught.value).startswith(" ".join(str(study.folder / "shards" / name).split()))
        assert f"{words}; move it elsewhere" in str(caught.value)


def test_files_that_nobody_takes_for_a_shard_stop_nothing(study):
    for name in (".part-00001.parquet.4242", ".DS_Store", "._part-00001.parquet", "notes.txt", "Thumbs.db"):
        (study.folder / "shards" / name).write_bytes(b"x")
    (study.folder / "shards" / ".hidden").mkdir()
    assert study.rows().collect().height == 36


def test_a_shard_under_the_name_of_another_is_refused(study):
    shutil.copy(shard_path(study.folder, 0), shard_path(study.folder, 2))
    for use in USES.values():
        with pytest.raises(EmbedshiftError, match=r"part-00002.parquet: contains shard 0 but has another name"):
            use(Study(study.folder))


def test_a_link_to_nowhere_in_the_place_of_a_shard_is_named(study):
    shard_path(study.folder, 1).unlink()
    shard_path(study.folder, 1).symlink_to(study.folder / "nowhere")
    for use in USES.values():
        with pytest.raises(EmbedshiftError, match=r"part-00001.parquet: cannot be read \(No such file or directory\)"):
            use(Study(study.folder))


def test_a_shard_of_another_study_is_refused(study):
    revise_shard(study.folder, 1, lambda rows: rows, config_hash="f" * 64)
    for use in USES.values():
        with pytest.raises(EmbedshiftError, match=r"part-00001.parquet: a shard of another study"):
            use(Study(study.folder))


def test_a_part_that_is_missing_is_named_and_no_table_is_overwritten(study, monkeypatch, capsys):
    shard_path(study.folder, 1).unlink()
    before = {path: path.read_bytes() for path in (study.folder / "tables").iterdir()}
    for use in USES.values():
        with pytest.raises(EmbedshiftError, match=r"part-00001.parquet: missing from a finished study; run the study"):
            use(Study(study.folder))
    assert {path: path.read_bytes() for path in (study.folder / "tables").iterdir()} == before
    done = command.call(monkeypatch, capsys, "report", study.folder)
    assert done.code == 2
    assert "missing from a finished study" in done.line


def test_an_unfinished_study_is_read_as_far_as_it_is(study):
    shard_path(study.folder, 1).unlink()
    write_content(study.folder, study.info() | {"complete": False})
    assert study.rows().collect().height == 24
    for index in (0, 2):
        shard_path(study.folder, index).unlink()
    with pytest.raises(EmbedshiftError, match="no image is measured yet"):
        study.rows()


@pytest.mark.parametrize("counts", [{"measured": 11}, {"measured": 11, "images": 11}, {"failed": 1}, {"images": 11}])
def test_shards_that_hold_other_counts_than_study_json_are_refused(counts, study):
    info = study.info()
    write_content(study.folder, info | {"counts": info["counts"] | counts})
    with pytest.raises(
        EmbedshiftError, match=r"its shards contain 12 measured and 0 failed images, but study.json lists"
    ):
        study.rows()


def test_a_damaged_part_is_refused_by_whoever_reads_it_with_the_flag_that_mends_it(made, study, monkeypatch, capsys):
    path = shard_path(study.folder, 2)
    content = bytearray(path.read_bytes())
    content[1000] ^= 16
    path.write_bytes(content)
    for use in USES.values():
        with pytest.raises(
            EmbedshiftError, match=r"part-00002.parquet: damaged \(its content does not match its checksum\)"
        ):
            use(Study(study.folder))
    for arguments in (["report"], ["search"], ["compare", made.folder]):
        done = command.call(monkeypatch, capsys, *arguments, study.folder)
        assert "part-00002.parquet: damaged" in done.line
        assert "run the study again with --repair" in done.line


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
