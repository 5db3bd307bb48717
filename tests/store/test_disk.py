"""A disk that is full and a folder that cannot be written: one line with the path, and nothing half-written."""

import contextlib
import os
import resource

import pytest

from embedshift.errors import EmbedshiftError
from embedshift.store.files import write_atomically
from embedshift.store.table import write_table
from embedshift.study import Study
from support.synthetic import make_study


# A file system that holds no more: the limit on the size of a file stops every writer in the same place.
@contextlib.contextmanager
def full(limit):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_full_disk_is_one_line_with_the_file(tmp_path):
    study = make_study(tmp_path / "study", 12, ["noise", "blur"])
    before = {path.name: path.read_bytes() for path in (study.folder / "tables").iterdir()}
    found = {}
    for limit in (60, 1200, 3500):
        with full(limit), pytest.raises(EmbedshiftError) as caught:
            Study(study.folder).write_tables()
        found[limit] = str(caught.value)
    for line in found.values():
        assert line.startswith(str(study.folder / "tables"))
        assert "cannot be written (File too large); free space or choose another folder" in line
    assert {line.split(": ")[0].rsplit(".")[-1] for line in found.values()} == {"csv", "parquet"}
    assert {path.name: path.read_bytes() for path in (study.folder / "tables").iterdir()} == before


def test_every_way_of_writing_says_the_same(tmp_path):
    import polars as pl

    table = pl.DataFrame({"a": range(5_000)})
    for write in (
        lambda: write_table(tmp_path / "file.csv", table),
        lambda: write_table(tmp_path / "file.parquet", table),
        lambda: write_atomically(tmp_path / "file", lambda path: path.write_text("x" * 5_000)),
    ):
        with full(1000), pytest.raises(EmbedshiftError, match=r"file.*: cannot be written \(File too large\)"):
            write()
        assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "tables").write_text("")
    with pytest.raises(EmbedshiftError, match=r"tables/a\.csv: cannot be written \((File exists|Not a directory)\)"):
        write_atomically(tmp_path / "tables" / "a.csv", lambda path: path.write_text("a"))


def test_a_mistake_of_the_writer_is_not_taken_for_the_disk(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "a.csv", lambda path: path.write_text(str(1 / 0)))
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_hidden_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / f".a.csv.{os.getpid()}").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "a.csv", lambda path: path.write_text("a"))
    assert (tmp_path / "precious").read_text() == "years of work"
    assert (tmp_path / "a.csv").read_text() == "a"


def test_an_error_that_is_not_of_the_disk_is_passed_on(tmp_path):
    def write(path):
        raise OSError("a library's own")

    with pytest.raises(OSError, match=r"^a library's own$"):
        write_atomically(tmp_path / "a.csv", write)
    assert list(tmp_path.iterdir()) == []
