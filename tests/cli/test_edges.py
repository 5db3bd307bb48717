"""What a person mistypes, and what a machine may lack: one line or it works, never a traceback."""

import pytest

from support.models import pictures


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "photos", "--out", ""], "--out is empty"),
        (["demo", "--out", ""], "--out is empty"),
        (["compare", "a", "b", "--out", ""], "--out is empty"),
        (["run", "", "--out", "out"], "an image's name is empty"),
        (["run", "photos", "", "--out", "out"], "an image's name is empty"),
        (["run", "photos", "--out", "out", "--device", "meta", "--model", "dinov2-small-offline"], "device 'meta'"),
    ],
)
def test_nothing_is_written_where_something_is_missing(cli, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "photos", 1)
    done = cli(*arguments)
    assert done.code == 2
    assert words in done.line
    assert [path.name for path in tmp_path.iterdir()] in (["photos"], ["photos", "out"], ["out", "photos"])
    assert not list((tmp_path / "out").rglob("*.parquet"))
