"""A server that drops one request in ten: every image is measured, or listed as failed and measured by another run."""

import io
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pytest
from PIL import Image

import embedshift
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow
IMAGES = [f"{number:02}.png" for number in range(25)]


def picture(name):
    pixels = np.random.default_rng(int(name[:2])).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content := io.BytesIO(), "PNG")
    return content.getvalue()


class Dropping(BaseHTTPRequestHandler):
    asked, wrong = 0, (0, 5)  # of ten requests, the one without an answer and the one with half an answer

    def do_GET(self):
        Dropping.asked += 1
        place = Dropping.asked % 10
        if place in self.wrong[:1]:
            return
        content = picture(self.path.rsplit("/", 1)[1])
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:40] if place in self.wrong[1:] else content)

    def log_message(self, *_):
        """Says nothing."""


class PlainHttp(fsspec.AbstractFileSystem):
    """As fsspec's own for http, which needs a library that is not needed otherwise; what is there is known."""

    protocol = "plainhttp"

    def ls(self, path, detail=True, **_):
        files = [{"name": f"{path}/{name}", "size": 1, "type": "file"} for name in IMAGES]
        return files if detail else [file["name"] for file in files]

    def info(self, path, **_):
        return {"name": path, "size": 1, "type": "file" if path.endswith(".png") else "directory"}

    def cat_file(self, path, start=None, end=None, **_):
        with urllib.request.urlopen(f"http://{path}", timeout=10) as answer:
            return answer.read()[:end]  # with a number of bytes, half an answer would be no error


@pytest.fixture
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dropping)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    fsspec.register_implementation("plainhttp", PlainHttp, clobber=True)
    yield f"plainhttp://127.0.0.1:{server.server_port}/images"
    server.shutdown()
    server.server_close()


@pytest.mark.matrix
def test_what_is_dropped_is_listed_and_measured_by_the_next_run(address, tmp_path, monkeypatch):
    (tmp_path / "images").mkdir()
    for name in IMAGES:
        (tmp_path / "images" / name).write_bytes(picture(name))
    settings = {"model": MeanColour(), "workers": 0, "shard_size": 8}
    whole = embedshift.run(tmp_path / "images", out=tmp_path / "whole", **settings)
    study = embedshift.run(address, out=tmp_path / "study", **settings)
    lost = study.failures()
    assert 2 <= len(lost) <= 5
    assert sorted([*lost["image_id"], *study.rows().collect()["image_id"].unique()]) == IMAGES
    assert set(lost["stage"]) == {"read"}
    assert lost["transient"].all()
    monkeypatch.setattr(Dropping, "wrong", ())  # the server is well again
    study = embedshift.run(address, out=study.folder, retry_failed=True, **settings)
    assert study.failures().is_empty()
    columns = [name for name in whole.rows().collect_schema() if name != "caption"]
    expected, found = (each.rows().select(columns).collect() for each in (whole, study))
    assert found.equals(expected)
