"""Lists of millions of lines are read in seconds, each file once."""

import time

import pytest

from embedshift.sources import open_source
from support.models import pictures


@pytest.mark.slow
def test_three_million_equal_lines_are_one_image(tmp_path):
    (name,) = (path.name for path in pictures(tmp_path / "photos", 1).iterdir())
    (tmp_path / "list.txt").write_text(f"photos/{name}\n" * 3_000_000)
    started = time.process_time()
    assert [sample.image_id for sample in open_source([str(tmp_path / "list.txt")]).samples] == [name]
    assert time.process_time() - started < 15


@pytest.mark.slow
def test_a_file_costs_a_few_looks(tmp_path, monkeypatch):
    """Five thousand lines, and no file system of a library is made for one."""
    names = [f"{number}.jpg" for number in range(5_000)]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("\n".join([*names, *names, ""]))
    monkeypatch.setattr("fsspec.url_to_fs", None)
    started = time.process_time()
    assert len(open_source([str(tmp_path / "list.txt")]).samples) == len(names)
    assert time.process_time() - started < 5
