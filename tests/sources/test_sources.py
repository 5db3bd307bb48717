"""Folders, files and lists → samples: ids, order, what is passed over, and what is refused."""

import logging
import os
from pathlib import Path

import pytest

from embedshift import EmbedshiftError
from embedshift.sources import FolderSource, open_source
from support.archives import write_tar


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


def test_ids_are_paths_below_the_folder_sorted(tree, monkeypatch):
    root = tree("b.jpg", "a.png", "sub/deep/c.webp", "sub/a.bmp", "B.tif", "sub.jpeg")
    assert ids(root) == sorted(["b.jpg", "a.png", "sub/deep/c.webp", "sub/a.bmp", "B.tif", "sub.jpeg"])
    assert ids(f"{root}/") == ids(root) == ids(f"{root}/sub/..")
    monkeypatch.chdir(root.parent)
    assert ids("root") == ids("./root") == ids(root)
    monkeypatch.chdir(root)
    assert ids(".") == ids(root)


def test_endings_of_images_count_in_any_letter_case_others_are_counted_and_dotfiles_are_not(tree):
    names = [f"a.{ending}" for ending in ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff", "JPG", "Jpeg", "TIF")]
    others = ["x.md", "y.MD", "movie.mp4", "README", "a.jpg.part", "sub/notes.txt", "a.jpg~"]
    source = FolderSource([str(tree(*names, *others, ".hidden.jpg", ".git/b.jpg", "sub/.DS_Store"))])
    assert [sample.image_id for sample in source.samples] == sorted(names)
    assert source.skipped == {".md": 2, ".mp4": 1, "no ending": 1, ".part": 1, ".txt": 1, ".jpg~": 1}


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
    # The same path twice is one image.
    assert ids(root, root, root / "d.jpg", f"{root}/./one/../d.jpg", root / "one") == ids(root)
    description = {"kind": "folder", "root": str(root)}
    assert FolderSource([str(root / "one"), str(root / "two")]).description == description


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


def test_a_folder_that_holds_a_study_is_passed_over(tree, caplog):
    caplog.set_level(logging.INFO, logger="embedshift")
    inside = ("study.json", "shards/part-00000.parquet", "figures/x.png", "photos/y.jpg")
    root = tree("a.jpg", *(f"study/{name}" for name in inside))
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
    root = tree("a.jpg", "sub/b.jpg", "x/c.jpg", "y/d.jpg", ".secret/z.jpg")
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
    # What is named itself is read: a linked folder, and a hidden one.
    assert ids(root / "link") == ["e.jpg"]
    assert ids(root / ".secret") == ["z.jpg"]


@pytest.mark.parametrize("name", ["gone", "gone.jpg", "gone.txt", "a.jpg/gone"])
def test_a_missing_path_is_refused(tree, name):
    root = tree("a.jpg")
    with pytest.raises(EmbedshiftError, match=rf"{name}: no such file or folder") as caught:
        FolderSource([str(root), str(root / name)])
    assert caught.value.exit_code == 2


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


def test_captions_of_a_folder_are_those_of_its_tar(tree, tmp_path, caplog):
    root = tree("0.png", "1.png", "2.png", "3.png")
    texts = {"0.txt": " a cat \n", "1.json": '{"caption": "a dog"}', "2.json": "[1, 2", "readme.txt": "beside no image"}
    for name, text in texts.items():
        (root / name).write_text(text)
    members = [(path.name, path.read_bytes()) for path in sorted(root.iterdir())]
    tar = write_tar(tmp_path / "photos.tar", members)
    for source in (open_source([str(path)]) for path in (root, tar)):
        assert [sample.caption for sample in source.samples] == ["a cat", "a dog", None, None]
        assert dict(source.skipped) == {".txt": 1}
    single = open_source([str(root / "0.png"), str(root / "3.png")])
    assert [(s.image_id, s.caption) for s in single.samples] == [("0.png", "a cat"), ("3.png", None)]
    (root / "list.txt").write_text("0.png\n1.png\n")
    assert [sample.caption for sample in open_source([str(root / "list.txt")]).samples] == ["a cat", "a dog"]
    (root / "3.txt").symlink_to(root / "nowhere")
    assert open_source([str(root / "3.png")]).samples[0].caption is None
    assert not caplog.text, "it is no file, and so no text beside the image"
    assert open_source([str(root)]).samples[3].caption is None
    assert "3.txt: no caption could be read" in caplog.text


def test_a_line_of_a_list_costs_a_few_looks_and_an_equal_one_none(tree, monkeypatch):
    """Lists have millions of lines: no file system of a library is made for one, and each file is looked at once."""
    names = [f"{number}.jpg" for number in range(500)]
    root, looks, exists = tree(*names), [], os.path.exists
    (root / "list.txt").write_text("\n".join(names * 20))
    monkeypatch.setattr("fsspec.url_to_fs", None)
    monkeypatch.setattr(os.path, "exists", lambda path: looks.append(path) or exists(path))
    assert len(open_source([str(root / "list.txt")]).samples) == len(names)
    assert len(looks) < 4 * len(names)
