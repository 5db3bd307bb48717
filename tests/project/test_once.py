"""What tests read is made once in a test run, and a test that changes it is found."""

import multiprocessing
from functools import partial

import pytest

from support import once, studies
from support.models import Colours
from support.once import described, made


def slow(folder, count, *, name="a", options=()):
    """A maker that leaves a file for every time that it is called."""
    with (once.root / "calls").open("a") as calls:
        calls.write("x")
    folder.mkdir()
    (folder / "content").write_text(f"{count} {name} {list(options)}")
    if name == "fails":
        raise RuntimeError("no study")


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(once, "root", tmp_path)
    return tmp_path


def calls(root):
    return len((root / "calls").read_text())


@pytest.mark.slow
def test_processes_that_ask_at_once_get_one_folder(root):
    start = multiprocessing.get_context("fork").Process
    processes = [start(target=partial(made, slow, 3)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert (made(slow, 3) / "content").read_text() == "3 a []"
    assert calls(root) == 1


def test_equal_settings_are_one_however_they_are_given(root):
    assert made(slow, 3, name="a", options=[1]) == made(slow, count=3, options=(1,))
    assert calls(root) == 1
    assert len({made(slow, 3), made(slow, 4), made(slow, 3, name="b"), made(slow, 3, options=[1, 2])}) == 4


def test_what_failed_is_made_again(root):
    for times in (1, 2):
        with pytest.raises(RuntimeError, match="no study"):
            made(slow, 3, name="fails")
        assert calls(root) == times


def test_a_changed_file_is_found_once():
    folder = made(slow, 3)
    assert once.changed() == []
    (made(slow, 3) / "more").write_text("")
    (folder / "content").write_text("other")
    assert once.changed() == [folder / "content", folder / "more"]
    assert once.changed() == [], "it has not asked since"


def test_functions_and_encoders_are_told_apart_by_what_they_hold():
    def adds(level):
        return lambda image, rng: image + level

    assert described(adds(1)) == described(adds(1)) != described(adds(2))
    assert described(Colours()) == described(Colours()) != described(Colours(dim=3))
    with pytest.raises(TypeError):
        described(object())


@pytest.mark.slow
def test_a_copy_is_a_study_of_its_own(root):
    shared = studies.synthetic(3, ["noise"], with_pictures=True)
    own = studies.copied(shared, root / "own")
    assert own.verify().damaged == []
    assert own.info()["source"]["root"] == str(root / "own" / "pictures")
    own.report(figures=["views"], formats=["svg"])
    assert (own.folder / "figures" / "fig04a_views.svg").is_file()
    assert once.changed() == []
