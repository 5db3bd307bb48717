"""The service of docs/encoders.md: run against a server that fails, dies and comes back."""

import base64
import io
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

import embedshift
from embedshift import EmbedshiftError
from embedshift.encoders import images as module
from support import models
from support.pages import ROOT, blocks

pytestmark = pytest.mark.slow

IMAGES = 12
TWO = {"mirror": lambda image, rng: image[:, ::-1], "dark": lambda image, rng: image // 2}
SETTINGS = {"augmentations": TWO, "apply_to": "file", "shard_size": 2, "batch_size": 4, "workers": 0}


def vectors(images):
    return [[image.width, *np.asarray(image.resize((4, 4)), np.float64).ravel()] for image in images]


class Server:
    """Answers with vectors; every tenth request fails, in turns as a refusal and as a broken connection."""

    def __init__(self, port=0):
        server = self
        self.requests, self.images = 0, 0

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                server.requests += 1
                texts = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if server.requests % 20 == 10:
                    self.close_connection = True
                    return
                if server.requests % 20 == 0:
                    self.send_error(503)
                    return
                images = [Image.open(io.BytesIO(base64.b64decode(text))) for text in texts]
                server.images += len(images)
                body = json.dumps(vectors(images)).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def photos(tmp_path):
    return models.pictures(tmp_path / "photos", IMAGES)


def write_service(folder, port):
    page = (ROOT / "docs" / "encoders.md").read_text()
    (block,) = [block.text for block in blocks(page) if "httpx2" in block.text]
    assert "localhost:8000" in block
    (folder / "service.py").write_text(block.replace("localhost:8000", f"127.0.0.1:{port}"))


def finished_shards(study):
    return len(list((study / "shards").glob("part-*")))


def test_every_image_is_measured_though_requests_fail_and_the_server_dies(server, photos, tmp_path, monkeypatch):
    write_service(tmp_path, server.port)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.01))
    out = tmp_path / "study"

    def run():
        return embedshift.run(photos, out=out, model="python:service:embed", **SETTINGS)

    try:
        stop = threading.Thread(target=lambda: (wait_for(server, 24), server.stop()))
        stop.start()
        with pytest.raises(EmbedshiftError, match="run the same command again to go on"):
            run()
        stop.join()
        assert finished_shards(out) >= 1
        again = Server(server.port)
        try:
            study = run()
        finally:
            again.stop()
    finally:
        sys.modules.pop("service", None)
    assert study.failures().is_empty()
    assert study.info()["counts"]["measured"] == IMAGES
    assert again.images < IMAGES * 3, "it went on with the shards that were left"
    direct = embedshift.image_encoder(vectors, name="direct", version="1")
    assert study.summary().equals(embedshift.run(photos, out=tmp_path / "direct", model=direct, **SETTINGS).summary())


def wait_for(server, images):
    while server.images < images:
        time.sleep(0.001)
