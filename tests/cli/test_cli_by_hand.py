"""Small cases worked by hand."""

from pathlib import Path

import numpy as np
from PIL import Image

from embedshift.cli import demo, options, words
from embedshift.cli import estimate as estimate_module
from embedshift.cli import written as written_module


def test_demo_copy_photos():
    import tempfile

    assert len(list(demo.copy_photos(Path(tempfile.mkdtemp()) / "photos").iterdir())) == 8


def test_estimate_size():
    assert (estimate_module._size(45300000), estimate_module._size(2345000000), estimate_module._size(300000)) == (
        "45 MB",
        "2.3 GB",
        "0.30 MB",
    )


def test_options_originals_and_variants():
    assert (
        options.originals_and_variants(["a", "b"], pairs=True),
        options.originals_and_variants(["a", "b"], pairs=False),
    ) == ({"images": ["a"], "pairs": ["b"]}, {"images": ["a", "b"], "pairs": None})


def test_words_printable():
    assert str(words.printable("a\x1b[2Jb\u202ec")) == "a\\x1b[2Jb\\u202ec"


def test_written_written():
    import tempfile

    folder = Path(tempfile.mkdtemp())
    (folder / "tables").mkdir()
    (folder / "report.html").touch()
    assert [line.replace(str(folder), "study") for line in written_module.written(folder)] == [
        "Written:",
        "  study/tables",
        "Report: study/report.html",
    ]


def test_the_pieces_of_the_demo_do_not_overlap(tmp_path):
    """Two quarters of each photograph, in a folder of its own, hold the pixels of its corners."""
    folder = demo.cut_photos(tmp_path / "photos")
    pieces = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    assert len(pieces) == 32
    assert len({piece.split("/")[0] for piece in pieces}) == 16
    whole = demo.copy_photos(folder.parent / "whole")
    with Image.open(whole / "coffee.png") as photo, Image.open(folder / "coffee" / "lower-right.png") as piece:
        assert (np.asarray(piece) == np.asarray(photo)[200:, 300:]).all()
    with Image.open(whole / "coffee.png") as photo, Image.open(folder / "coffee" / "upper-left.png") as piece:
        assert (np.asarray(piece) == np.asarray(photo)[:200, :300]).all()
