"""`onnx:PATH`: what a graph gives against the matrix in it, and what is refused."""

import json
import os
import pickle

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

import embedshift
from support.graphs import DIM, MEAN, PROCESSOR, SIDE, STD, matrix, rename_data, write_graph
from support.refusals import refused

VIEWS = np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), dtype=np.uint8)
STATS = {"mean": MEAN, "std": STD}


def normalised(views):
    return ((np.asarray(views, np.float64) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def product(pixels, seed=0):
    return np.reshape(pixels, (len(pixels), -1)) @ matrix(seed).astype(np.float64)


def close(embedding, expected):
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("batch", ["n", 2, 7])
def test_free_and_fixed_batches(tmp_path, batch):
    file = write_graph(tmp_path / "mine.onnx", shape=(batch, 3, SIDE, SIDE))
    encoder = embedshift.load_encoder(f"onnx:{file}", **STATS)
    close(encoder(VIEWS).embedding, product(normalised(VIEWS)))
    assert (encoder.name, encoder.dim, encoder.size, encoder.grid) == ("mine", DIM, SIDE, None)


def test_a_graph_of_any_size_and_of_half_precision(tmp_path):
    file = write_graph(tmp_path / "free.onnx", shape=("n", 3, "h", "w"), kind=TensorProto.FLOAT16)
    encoder = embedshift.load_encoder(f"onnx:{file}", size=SIDE, **STATS)
    half = normalised(VIEWS).astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(encoder(VIEWS).embedding, product(half), rtol=0, atol=0.02)
    assert encoder.precision == "float16"
    refused(f"onnx:{file}", "any size", "`size`", code=2, **STATS)


def test_the_output_is_the_one_with_a_usual_name_or_the_one_that_was_chosen(tmp_path):
    file = write_graph(tmp_path / "a.onnx", outputs=("logits", "pooler_output", "last_hidden_state", "image_embeds"))
    for wanted, seed in ((None, 3), ("pooler_output", 1), ("last_hidden_state", 2), ("logits", 0)):
        encoder = embedshift.load_encoder(f"onnx:{file}", embedding=wanted, **STATS)
        close(encoder(VIEWS).embedding, product(normalised(VIEWS), seed))
        assert encoder.embedding_name == (wanted or "image_embeds")
    refused(f"onnx:{file}", "no output 'features'", "logits, pooler_output", code=2, embedding="features", **STATS)
    hidden = write_graph(tmp_path / "b.onnx", outputs=("last_hidden_state",))
    close(embedshift.load_encoder(f"onnx:{hidden}", **STATS)(VIEWS).embedding, product(normalised(VIEWS)))
    others = write_graph(tmp_path / "c.onnx", outputs=("one", "two"))
    refused(f"onnx:{others}", "`embedding`: one, two", code=2, **STATS)


def test_a_graph_that_is_no_encoder_of_images_is_refused(tmp_path):
    file = tmp_path / "a.onnx"
    write_graph(file, inputs=("pixel_values", "input_ids"))
    refused(f"onnx:{file}", "2 inputs (pixel_values, input_ids)", code=2, **STATS)
    write_graph(file, shape=("n", 3, 8, 32))
    refused(f"onnx:{file}", "cannot encode an image", "Expected: 8", **STATS)
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("n", 3, 60_000, 60_000))
    made = helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, None)
    flat = helper.make_graph([helper.make_node("Flatten", ["pixels"], ["image_embeds"])], "graph", [given], [made])
    onnx.save(helper.make_model(flat, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    refused(f"onnx:{file}", "it must be float [N, 3, S, S]", code=2, **STATS)
    write_graph(file, data="w.bin")
    rename_data(file, "w\0.bin")
    refused(f"onnx:{file}", "names data that is not a file of its folder", **STATS)
    write_graph(file, kind=TensorProto.INT64)
    refused(f"onnx:{file}", "int64", code=2, **STATS)
    write_graph(file)
    refused(f"onnx:{file}", "`mean` and `std`", "preprocessor_config.json", code=2)
    refused(f"onnx:{file}", "cannot encode an image", "Got: 32 Expected: 16", size=32, **STATS)
    refused(f"onnx:{file}", "`precision`", code=2, precision="bfloat16", **STATS)
    refused(f"onnx:{file}", "device 'cuda:x'", "it has cpu", code=2, device="cuda:x", **STATS)
    refused("dinov2-small-offline", "`mean`", code=2, **STATS)
    for wrong in ({"mean": (float("nan"), 0, 0)}, {"std": (0, 1, 1)}, {"std": (float("inf"), 1, 1)}):
        refused(f"onnx:{file}", "give finite numbers, and `std` above 0", code=2, **(STATS | wrong))
    with open(tmp_path / "hole.onnx", "wb") as hole:
        hole.truncate(2**31 + 1)
    refused(f"onnx:{tmp_path / 'hole.onnx'}", "larger than 2 GB", code=1, **STATS)
    file.write_bytes(b"no graph")
    refused(f"onnx:{file}", "not an ONNX graph", **STATS)
    os.mkfifo(tmp_path / "fifo.onnx")
    refused(f"onnx:{tmp_path / 'fifo.onnx'}", "no such file", code=2, **STATS)
    refused(f"onnx:{tmp_path / 'none.onnx'}", "no such file", code=2, **STATS)
    (tmp_path / "empty").mkdir()
    refused(f"onnx:{tmp_path / 'empty'}", "empty/model.onnx: no such file", code=2, **STATS)


def test_in_a_folder_the_graph_has_a_usual_name(tmp_path):
    folder = tmp_path / "mine"
    write_graph(folder / "onnx" / "model.onnx")
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    encoder = embedshift.load_encoder(f"onnx:{folder}")
    assert (encoder.name, encoder.size) == ("mine", SIDE)
    write_graph(folder / "model.onnx", outputs=("one", "two"))
    refused(f"onnx:{folder}", "`embedding`: one, two", code=2)


def test_external_data_lies_in_the_folder_of_the_graph(tmp_path):
    file = write_graph(tmp_path / "model" / "a.onnx", data="a.onnx_data")
    encoder = embedshift.load_encoder(f"onnx:{file}", **STATS)
    close(encoder(VIEWS).embedding, product(normalised(VIEWS)))
    values = np.fromfile(file.parent / "a.onnx_data", np.uint8)
    outside = tmp_path / "weights"
    values.tofile(outside)
    (file.parent / "link").symlink_to(outside)
    for name in ("../weights", str(outside), "none", "link", "*/_ORT_MEM_ADDR_/*"):
        rename_data(file, name)
        refused(f"onnx:{file}", f"names data that is not a file of its folder ({name})", **STATS)
    rename_data(file, "a.onnx_data")
    values[:4] += 1
    values.tofile(file.parent / "a.onnx_data")
    assert embedshift.load_encoder(f"onnx:{file}", **STATS).weights_hash != encoder.weights_hash


def test_in_the_cache_of_the_hub_graph_and_data_are_links(tmp_path):
    snapshot = tmp_path / "snapshots" / "1"
    file = write_graph(tmp_path / "blobs" / "a.onnx", data="a.onnx_data")
    snapshot.mkdir(parents=True)
    for name in ("a.onnx", "a.onnx_data"):
        (snapshot / name).symlink_to(file.parent / name)
    encoder = embedshift.load_encoder(f"onnx:{snapshot / 'a.onnx'}", **STATS)
    close(encoder(VIEWS).embedding, product(normalised(VIEWS)))
    assert encoder.weights_hash == embedshift.load_encoder(f"onnx:{file}", **STATS).weights_hash


@pytest.fixture
def folder(tmp_path):
    """A graph with its preprocessing beside it, as optimum writes it."""
    write_graph(tmp_path / "model.onnx")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return tmp_path


def test_the_image_processor_prepares_files_and_squares_are_only_normalised(folder):
    encoder = embedshift.load_encoder(f"onnx:{folder}")
    rng = np.random.default_rng(2)
    files = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((30, 45), (50, 25), (SIDE, SIDE))]
    prepared = []
    for file in files:
        height, width = file.shape[:2]
        shorter = min(height, width)
        size = (int(20 * width / shorter), int(20 * height / shorter))
        left, top = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
        image = Image.fromarray(file).resize(size, Image.Resampling.BICUBIC)
        prepared.append(np.asarray(image.crop((left, top, left + SIDE, top + SIDE))))
    expected = product(normalised(prepared))
    close(encoder(files).embedding, expected)
    close(encoder.encode_images([Image.fromarray(file) for file in files]), expected)
    close(encoder(VIEWS).embedding, product(normalised(VIEWS)))
    assert encoder.preprocess.shortest == 20
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR | {"size": {"shortest_edge": 24}}))
    assert embedshift.load_encoder(f"onnx:{folder}").weights_hash != encoder.weights_hash


def test_a_processor_that_does_not_fit_is_refused(folder):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps(PROCESSOR | {"crop_size": {"height": 32, "width": 32}}))
    refused(f"onnx:{folder}", "cannot encode an image", "Got: 32 Expected: 16")
    refused(f"onnx:{folder}", "`size` 64", "preprocessor_config.json says 32", code=2, size=64)
    file.write_text(json.dumps({"image_processor_type": "NoSuchProcessor"}))
    refused(f"onnx:{folder}", "image processor cannot be loaded")
    file.write_text(json.dumps(PROCESSOR | {"do_normalize": False}))
    close(embedshift.load_encoder(f"onnx:{folder}")(VIEWS).embedding, product(VIEWS.transpose(0, 3, 1, 2) / 255))


def test_another_process_loads_it_again(folder):
    encoder = embedshift.load_encoder(f"onnx:{folder}")
    travelled = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(travelled(VIEWS).embedding, encoder(VIEWS).embedding)
    assert np.array_equal(travelled([VIEWS[0][:9]]).embedding, encoder([VIEWS[0][:9]]).embedding)


@pytest.mark.parametrize(
    ("node", "shape"), [("Reshape", [DIM, 1]), ("Transpose", [DIM, 1])], ids=["rows of all images", "turned"]
)
def test_a_graph_with_other_rows_than_images_is_refused(tmp_path, node, shape):
    file = write_graph(tmp_path / "mine.onnx")
    model = onnx.load(file)
    (last,) = (each for each in model.graph.node if "image_embeds" in each.output)
    last.output[0] = "embeddings"
    inputs = ["embeddings", *(["rows"] if node == "Reshape" else [])]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 1]), "rows"))
    model.graph.node.append(helper.make_node(node, inputs, ["image_embeds"]))
    onnx.save(model, file)
    refused(f"onnx:{file}", f"its output image_embeds is {shape} for 1 image", **STATS)
