"""A full disk, a folder that cannot be written, the lock of a study's folder, and what a run may delete there."""

import contextlib
import os
import resource
import threading

import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.store.files import locked, write_atomically
from embedshift.study import Study
from support import studies
from support.models import Colours


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
    study = studies.copied(studies.synthetic(12, ["noise", "blur"]), tmp_path / "study")
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


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "tables").write_text("")
    with pytest.raises(EmbedshiftError, match=r"tables/a\.csv: cannot be written \((File exists|Not a directory)\)"):
        write_atomically(tmp_path / "tables" / "a.csv", lambda path: path.write_text("a"))


def test_a_link_in_the_place_of_the_hidden_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / f".a.csv.{os.getpid()}").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "a.csv", lambda path: path.write_text("a"))
    assert (tmp_path / "precious").read_text() == "years of work"
    assert (tmp_path / "a.csv").read_text() == "a"


@pytest.mark.parametrize("error", [ZeroDivisionError("a mistake"), OSError("a library's own")])
def test_an_error_that_is_not_of_the_disk_is_passed_on(error, tmp_path):
    def write(path):
        path.write_text("half")
        raise error

    with pytest.raises(type(error), match=str(error)) as caught:
        write_atomically(tmp_path / "a.csv", write)
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(2)


def run(photos, out, **settings):
    return embedshift.run(photos, out=out, model=Colours(), families=["noise"], workers=0, **settings)


LOCKS = {
    "link": (lambda lock, precious: lock.symlink_to(precious), "a link where the lock file should be; delete it"),
    "pipe": (lambda lock, _: os.mkfifo(lock), "not a regular file"),
    "folder": (lambda lock, _: lock.mkdir(), "cannot be written"),
    "file": (lambda lock, precious: os.link(precious, lock), None),
}


@pytest.mark.parametrize("kind", LOCKS)
def test_what_stands_in_the_place_of_the_lock_is_refused_or_keeps_its_content(kind, tmp_path):
    make, words = LOCKS[kind]
    (tmp_path / "precious").write_text("years of work")
    make(tmp_path / ".lock", tmp_path / "precious")
    with (
        pytest.raises(EmbedshiftError, match=rf"\.lock: {words}") if words else contextlib.nullcontext(),
        locked(tmp_path),
    ):
        pass
    assert (tmp_path / "precious").read_text() == "years of work"


def test_a_second_thread_is_kept_out_and_the_first_keeps_the_folder(tmp_path):
    """A lock of a process would let its threads in, and one that opened and closed the file would even free it."""
    found = []

    def second(out):
        try:
            with locked(out):
                found.append("in")
        except EmbedshiftError as error:
            found.append(str(error))

    (tmp_path / "study").mkdir()
    (tmp_path / "link").symlink_to("study")
    with locked(tmp_path / "study"):
        for out in (tmp_path / "study", tmp_path / "link", tmp_path / "study" / ".." / "study"):
            thread = threading.Thread(target=second, args=(out,))
            thread.start()
            thread.join()
    assert len(found) == 3
    assert all("another run is using this folder" in line for line in found)
    second(tmp_path / "study")
    assert found[-1] == "in"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


FOREIGN = (
    ".DS_Store",
    "._part-00000.parquet",
    ".part-00001.parquet",
    ".part-1.parquet.77",
    ".part-00001.parquet.bak",
    ".git",
)


@pytest.mark.slow
def test_only_what_embedshift_left_is_deleted_and_nothing_in_the_folder_of_another_study(photos, tmp_path):
    shards = tmp_path / "study" / "shards"
    run(photos, tmp_path / "study")
    for name in (*FOREIGN, ".part-00000.parquet.4242", ".part-00001.parquet.4243"):
        (shards / name).write_bytes(b"x")
    (shards / ".part-00007.parquet.1").mkdir()
    (shards / ".hidden").mkdir()
    before = names(shards)
    with pytest.raises(EmbedshiftError, match="contains another study"):
        run(photos, tmp_path / "study", seed=1)
    assert names(shards) == before
    run(photos, tmp_path / "study")
    assert names(shards) == sorted([*FOREIGN, ".hidden", ".part-00007.parquet.1", "part-00000.parquet"])
