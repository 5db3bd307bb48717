"""The lock of a study's folder, and what a run may delete there."""

import os
import threading

import pytest

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.store.files import locked
from support import studies
from support.models import Colours


@pytest.fixture(scope="module")
def photos():
    return studies.pictures(2)


def run(photos, out, **settings):
    return embedshift.run(photos, out=out, model=Colours(), families=["noise"], workers=0, **settings)


def test_a_link_in_the_place_of_the_lock_is_refused_and_what_it_names_is_untouched(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("years of work")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / ".lock").symlink_to(precious)
    with (
        pytest.raises(EmbedshiftError, match=r"\.lock: a link where the lock file should be; delete it"),
        locked(tmp_path / "study"),
    ):
        pass
    assert precious.read_text() == "years of work"


def test_a_file_in_the_place_of_the_lock_keeps_its_content(tmp_path):
    (tmp_path / "notes").write_text("years of work")
    (tmp_path / "study").mkdir()
    os.link(tmp_path / "notes", tmp_path / "study" / ".lock")
    with locked(tmp_path / "study"):
        pass
    assert (tmp_path / "notes").read_text() == "years of work"


def test_what_is_no_file_is_refused_at_once(tmp_path):
    for name, make in (("pipe", os.mkfifo), ("folder", os.mkdir)):
        (tmp_path / name).mkdir()
        make(tmp_path / name / ".lock")
        with (
            pytest.raises(EmbedshiftError, match=r"\.lock: (not a regular file|cannot be written)"),
            locked(tmp_path / name),
        ):
            pass


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


@pytest.mark.slow
def test_two_threads_with_one_folder(photos, tmp_path):
    outcomes = []

    def measure():
        try:
            outcomes.append(run(photos, tmp_path / "study").rows().collect().height)
        except EmbedshiftError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=measure) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 4 in outcomes
    assert all(each == 4 or "another run is using this folder" in each for each in outcomes)


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
def test_only_what_embedshift_left_is_deleted(photos, tmp_path):
    shards = tmp_path / "study" / "shards"
    run(photos, tmp_path / "study")
    for name in (*FOREIGN, ".part-00000.parquet.4242", ".part-00001.parquet.4243"):
        (shards / name).write_bytes(b"x")
    (shards / ".part-00007.parquet.1").mkdir()
    (shards / ".hidden").mkdir()
    run(photos, tmp_path / "study")
    assert names(shards) == sorted([*FOREIGN, ".hidden", ".part-00007.parquet.1", "part-00000.parquet"])


@pytest.mark.slow
def test_nothing_is_deleted_where_the_folder_is_of_another_study(photos, tmp_path):
    shards = tmp_path / "study" / "shards"
    run(photos, tmp_path / "study")
    (shards / ".part-00000.parquet.4242").write_bytes(b"x")
    with pytest.raises(EmbedshiftError, match="contains another study"):
        run(photos, tmp_path / "study", seed=1)
    assert names(shards) == [".part-00000.parquet.4242", "part-00000.parquet"]
