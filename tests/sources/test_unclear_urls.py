"""What cannot be opened as it is named: each is one line that says what to do."""

import fsspec
import pytest

from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import open_source, url


@pytest.mark.parametrize("name", ["a.tar", "a.parquet", "a.jpg", "photos/"])
def test_a_missing_library_is_named(name, monkeypatch):
    def missing(*_):
        raise ImportError('HTTPFileSystem requires "requests" and "aiohttp" to be installed')

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    words = rf'^http://host/{name}: HTTPFileSystem .* "aiohttp" to be installed; install what is missing'
    with pytest.raises(UsageError, match=words):
        open_source([f"http://host/{name}"])


@pytest.mark.parametrize("name", ["a.tar.gz", "a.TGZ", "a.tar.zst", "a.zip"])
def test_a_compressed_archive_is_not_called_an_image(name, tmp_path):
    (tmp_path / name).write_bytes(b"packed")
    with pytest.raises(UsageError, match=rf"{name}: a compressed archive; unpack it, or give a \.tar that is not"):
        open_source([str(tmp_path / name)])


def test_no_more_of_a_url_is_read_than_an_image_may_have(monkeypatch):
    files = fsspec.filesystem("memory")
    files.pipe({"/limits/a.jpg": bytes(100), "/limits/b.jpg": bytes(101)})
    monkeypatch.setattr(url, "IMAGE_BYTES", 100)
    asked, real = [], type(files).cat_file
    monkeypatch.setattr(type(files), "cat_file", lambda *at, **way: asked.append(way) or real(*at, **way))
    source = open_source(["memory://limits"])
    assert source.read(source.samples[0]) == bytes(100)
    with pytest.raises(EmbedshiftError, match=r"^larger than 100 bytes"):
        source.read(source.samples[1])
    assert asked == [{"end": 101}, {"end": 101}]
