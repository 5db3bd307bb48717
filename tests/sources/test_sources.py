"""Folders, files and lists → samples: ids, order, what is passed over, and what is refused."""

import logging
import os
import random
from pathlib import Path

import pytest

from embedshift import EmbedshiftError
from embedshift.sources import FolderSource, ImageRef, select, split
from embedshift.sources.base import storable


@pytest.fixture
def tree(tmp_path):
    """Makes files below a new folder: `tree("a.jpg", "sub/b.png")`; each holds its own name."""

    def make(*names, below="root"):
        root = tmp_path / below
        root.mkdir(exist_ok=True)
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.fsencode(name))
        return root

    return make


def ids(*paths):
    return [sample.image_id for sample in FolderSource([str(path) for path in paths]).samples]


def test_ids_are_paths_below_the_folder_sorted(tree):
    root = tree("b.jpg", "a.png", "sub/deep/c.webp", "sub/a.bmp", "B.tif", "sub.jpeg")
    assert ids(root) == sorted(["b.jpg", "a.png", "sub/deep/c.webp", "sub/a.bmp", "B.tif", "sub.jpeg"])
    assert ids(f"{root}/") == ids(root) == ids(f"{root}/sub/..")


def test_a_relative_folder_gives_the_same(tree, monkeypatch):
    root = tree("b.jpg", "sub/a.png")
    monkeypatch.chdir(root.parent)
    assert ids("root") == ids("./root") == ids(root) == ["b.jpg", "sub/a.png"]
    monkeypatch.chdir(root)
    assert ids(".") == ["b.jpg", "sub/a.png"]


def test_every_ending_in_any_letter_case(tree):
    names = [f"{ending}.{ending}" for ending in ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "JPG", "Jpeg", "TIF")]  # fmt: skip  # noqa: E501
    assert ids(tree(*names)) == sorted(names)


def test_other_endings_are_counted_and_dotfiles_are_not(tree):
    root = tree(
        "a.jpg", "x.md", "y.MD", "movie.mp4", "README", "a.jpg.part", ".hidden.jpg", ".git/b.jpg", "sub/.DS_Store",
        "sub/notes.txt", "a.jpg~",
    )  # fmt: skip
    source = FolderSource([str(root)])
    assert [sample.image_id for sample in source.samples] == ["a.jpg"]
    assert source.skipped == {".md": 2, ".mp4": 1, "no ending": 1, ".part": 1, ".txt": 1, ".jpg~": 1}


def test_a_dot_folder_that_is_named_is_read(tree):
    root = tree(".secret/a.jpg")
    assert ids(root) == []
    assert ids(root / ".secret") == ["a.jpg"]


def test_several_arguments_count_from_their_common_parent(tree):
    root = tree("one/a.jpg", "one/deep/b.jpg", "two/a.jpg", "three/c.jpg", "d.jpg")
    assert ids(root / "one", root / "two") == ["one/a.jpg", "one/deep/b.jpg", "two/a.jpg"]
    assert ids(root / "two", root / "one") == ids(root / "one", root / "two")
    assert ids(root / "one/a.jpg", root / "three") == ["one/a.jpg", "three/c.jpg"]
    assert ids(root / "one/a.jpg", root / "one/deep/b.jpg") == ["a.jpg", "deep/b.jpg"]
    assert ids(root / "d.jpg") == ["d.jpg"]
    assert ids(root / "one", root / "one/deep") == ["a.jpg", "deep/b.jpg"]
    # Names that begin alike have no common parent but the folder above.
    assert ids(tree("ab/x.jpg", "abc/y.jpg") / "ab", root / "abc") == ["ab/x.jpg", "abc/y.jpg"]


def test_the_same_path_twice_is_one_image(tree):
    root = tree("a.jpg", "sub/b.jpg")
    assert ids(root, root) == ids(root)
    assert ids(root, root / "a.jpg", f"{root}/./sub/../a.jpg", root / "sub") == ids(root)


def test_a_file_that_is_named_is_taken_whatever_its_ending(tree):
    root = tree("picture", "notes.md")
    source = FolderSource([str(root / "picture"), str(root / "notes.md")])
    assert [sample.image_id for sample in source.samples] == ["notes.md", "picture"]
    assert not source.skipped


def test_a_list_names_one_path_a_line(tree, tmp_path, monkeypatch):
    root = tree("a.jpg", "sub/b c.jpg", "sub/d.jpg", "not listed.jpg")
    listed = root / "list.txt"
    listed.write_text(f"a.jpg\n\n  sub/b c.jpg  \r\n{root}/sub/d.jpg\n")
    assert ids(listed) == ["a.jpg", "sub/b c.jpg", "sub/d.jpg"]
    # From another folder too; and paths from here where there is none beside the list.
    monkeypatch.chdir(tmp_path)
    assert ids("root/list.txt") == ["a.jpg", "sub/b c.jpg", "sub/d.jpg"]
    elsewhere = tree("here.TXT", below="elsewhere") / "here.TXT"
    elsewhere.write_text("root/a.jpg\nroot/sub\n")
    assert ids(elsewhere) == ["a.jpg", "sub/b c.jpg", "sub/d.jpg"]


def test_a_list_may_hold_any_name(tree):
    names = ["café ✓.jpg", "nel\x85.jpg", "line\u2028separator.jpg", "caf\udce9.jpg", "quote'\".jpg"]
    root = tree(*names)
    (root / "list.txt").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(os.fsencode(name) for name in names))
    assert ids(root / "list.txt") == sorted(names)


def test_a_path_in_a_list_that_is_not_there_is_a_failure_of_that_image(tree):
    root = tree("a.jpg")
    (root / "list.txt").write_text("a.jpg\ngone.jpg\n")
    source = FolderSource([str(root / "list.txt")])
    gone = next(sample for sample in source.samples if sample.image_id == "gone.jpg")
    assert source.read(source.samples[0]) == b"a.jpg"
    with pytest.raises(FileNotFoundError):
        source.read(gone)


def test_a_folder_called_txt_is_a_folder(tree):
    assert ids(tree("photos.txt/a.jpg") / "photos.txt") == ["a.jpg"]


def test_a_folder_that_holds_a_study_is_passed_over(tree, caplog):
    caplog.set_level(logging.INFO, logger="embedshift")
    root = tree("a.jpg", "study/study.json", "study/shards/part-00000.parquet", "study/figures/x.png", "study/photos/y.jpg")  # fmt: skip  # noqa: E501
    source = FolderSource([str(root)])
    assert [sample.image_id for sample in source.samples] == ["a.jpg"]
    assert not source.skipped
    assert ids(root / "study" / "photos") == ["y.jpg"]
    # Images in the folder of a study itself may be measured again; its figures are none.
    assert ids(root / "study") == ["photos/y.jpg"]
    assert f"{root / 'study'}: holds a study too; skipping the study's own figures" in caplog.text
    # A file of that name alone makes no study.
    assert ids(tree("mine/study.json", "mine/b.jpg", below="other")) == ["mine/b.jpg"]


def test_links_are_followed_but_not_in_circles(tree):
    root = tree("a.jpg", "sub/b.jpg", "x/c.jpg", "y/d.jpg")
    elsewhere = tree("e.jpg", below="elsewhere")
    (root / "sub/up").symlink_to(root)
    (root / "sub/self").symlink_to(root / "sub")
    (root / "sub/above").symlink_to(root.parent)
    (root / "everything").symlink_to("/")
    (root / "x/to y").symlink_to(root / "y")
    (root / "y/to x").symlink_to(root / "x")
    (root / "nowhere").symlink_to(root / "gone")
    (root / "knot").symlink_to(root / "knot")
    (root / "link").symlink_to(elsewhere)
    (root / "link.jpg").symlink_to(elsewhere / "e.jpg")
    assert ids(root) == [
        "a.jpg", "link.jpg", "link/e.jpg", "sub/b.jpg", "x/c.jpg", "x/to y/d.jpg", "y/d.jpg", "y/to x/c.jpg",
    ]  # fmt: skip


def test_a_linked_folder_may_be_the_root(tree):
    root = tree("a.jpg", "sub/b.jpg")
    link = root.parent / "link"
    link.symlink_to(root)
    assert ids(link) == ["a.jpg", "sub/b.jpg"]


def test_a_link_that_leads_nowhere_stands_in_the_study_as_a_failure(tree):
    root = tree("a.jpg")
    (root / "gone.jpg").symlink_to(root / "nothing.jpg")
    source = FolderSource([str(root)])
    assert [sample.image_id for sample in source.samples] == ["a.jpg", "gone.jpg"]
    with pytest.raises(FileNotFoundError):
        source.read(source.samples[1])


NAMES = ["two  spaces .jpg", "'single' \"double\".png", "größe/Ω ✓.jpg", "emoji 🦊.webp", "-dash.jpg", "a#b?c%20.jpg", "new\nline.jpg", "<img src=x>.jpg", "caf\udce9.jpg"]  # fmt: skip  # noqa: E501


def test_any_name_is_found_and_read(tree):
    source = FolderSource([str(tree(*NAMES))])
    assert [sample.image_id for sample in source.samples] == sorted(NAMES)
    for sample in source.samples:
        assert source.read(sample) == os.fsencode(sample.image_id)


def test_bytes_that_are_no_text_can_be_stored(tree):
    found = [storable(image_id) for image_id in ids(tree("caf\udce9.jpg"))]
    assert found == ["caf\\xe9.jpg"]
    assert found[0].encode("utf-8")


@pytest.mark.parametrize("name", ["gone", "gone.jpg", "gone.txt", "a.jpg/gone"])
def test_a_missing_path_is_refused(tree, name):
    root = tree("a.jpg")
    for paths in ([root / name], [root, root / name]):
        with pytest.raises(EmbedshiftError, match=rf"{name}: no such file or folder") as caught:
            FolderSource([str(path) for path in paths])
        assert caught.value.exit_code == 2


def test_an_empty_folder_and_an_empty_list_have_no_samples(tree):
    root = tree("list.txt")
    (root / "list.txt").write_text("\n \n")
    assert ids(root) == []
    assert ids(root / "list.txt") == []


def test_a_folder_that_cannot_be_listed_is_one_image_that_failed(tree, monkeypatch):
    root = tree("a.jpg", "closed/b.jpg", "open/c.jpg")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    samples = FolderSource([str(root)]).samples
    assert [sample.image_id for sample in samples] == ["a.jpg", "closed", "open/c.jpg"]
    assert [sample.problem for sample in samples] == [None, "the folder cannot be listed: Permission denied", None]


def test_the_description_tells_where_the_pictures_are(tree):
    root = tree("one/a.jpg", "two/b.jpg")
    assert FolderSource([str(root / "one"), str(root / "two")]).description == {"kind": "folder", "root": str(root)}


# Selection and shards.

SAMPLES = [ImageRef(f"{number:03}.jpg", f"/photos/{number:03}.jpg") for number in range(50)]


def shuffled():
    return random.Random(1).sample(SAMPLES, len(SAMPLES))


def test_selection_is_sorted_and_limited():
    assert select(shuffled(), limit=None, sample=None, seed=0) == SAMPLES
    assert select(shuffled(), limit=7, sample=None, seed=0) == SAMPLES[:7]
    assert select(shuffled(), limit=500, sample=None, seed=0) == SAMPLES
    assert select([], limit=3, sample=3, seed=0) == []


def test_a_sample_is_drawn_by_the_seed_and_sorted():
    drawn = select(shuffled(), limit=None, sample=10, seed=0)
    assert drawn == sorted(drawn)
    assert len({sample.image_id for sample in drawn}) == 10
    assert drawn == select(SAMPLES, limit=None, sample=10, seed=0), "the order of the listing does not matter"
    assert drawn != select(SAMPLES, limit=None, sample=10, seed=1)
    assert drawn != SAMPLES[:10]
    assert select(SAMPLES, limit=None, sample=50, seed=0) == select(SAMPLES, limit=None, sample=99, seed=0) == SAMPLES


def test_every_image_can_be_drawn():
    seen = {sample for seed in range(60) for sample in select(SAMPLES, limit=None, sample=10, seed=seed)}
    assert seen == set(SAMPLES)


def test_a_sample_is_drawn_among_the_first():
    drawn = select(shuffled(), limit=20, sample=5, seed=3)
    assert len(drawn) == 5
    assert set(drawn) <= set(SAMPLES[:20])


def test_two_images_with_one_id_are_refused_and_named():
    twice = [ImageRef("a.jpg", "/x/a.jpg"), ImageRef("b.jpg", "/x/b.jpg"), ImageRef("a.jpg", "/y/a.jpg")]
    with pytest.raises(EmbedshiftError, match=r"'a\.jpg': /x/a\.jpg and /y/a\.jpg") as caught:
        select(twice, limit=1, sample=None, seed=0)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("size", [1, 7, 25, 50, 64])
def test_shards_are_fixed_slices(size):
    shards = split(SAMPLES, size)
    assert [shard.index for shard in shards] == list(range(-(-50 // size)))
    assert [sample for shard in shards for sample in shard.samples] == SAMPLES
    assert all(len(shard.samples) == size for shard in shards[:-1])
    assert 1 <= len(shards[-1].samples) <= size
    assert split([], size) == []
