"""Small cases worked by hand."""

from pathlib import Path

from embedshift.cli import estimate as estimate_module
from embedshift.cli import options, outputs


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


def test_outputs_printable():
    assert str(outputs.printable("a\x1b[2Jb\u202ec")) == "a\\x1b[2Jb\\u202ec"


def test_outputs_written():
    import tempfile

    folder = Path(tempfile.mkdtemp())
    (folder / "tables").mkdir()
    (folder / "report.html").touch()
    assert [line.replace(str(folder), "study") for line in outputs.output_lines(folder)] == [
        "Written:",
        "  study/tables",
        "Report: study/report.html",
    ]
