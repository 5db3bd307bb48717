"""A lock: what it holds, what it refuses, which stacks keep to it and which do not."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import embedshift
from embedshift.stacks.images import _digest, read_lock, write_lock
from support import models
from support.network import no_network

pytestmark = pytest.mark.slow

SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return models.make("dinov2", tmp_path_factory.mktemp("models") / "dinov2")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Smooth pictures, and of each seven copies with faint noise, which are almost equally near to it."""
    place = models.pictures(tmp_path_factory.mktemp("photos") / "photos", 4, width=SIDE, height=SIDE)
    rng = np.random.default_rng(0)
    for path in sorted(place.iterdir()):
        pixels = np.asarray(Image.open(path), np.int64)
        for copy in "abcdefg":
            noisy = (pixels + rng.integers(-9, 10, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(path.with_stem(f"{path.stem}{copy}"))
    return place


@pytest.fixture(scope="module")
def lock(folder, photos, tmp_path_factory):
    path = tmp_path_factory.mktemp("locks") / "ours.lock"
    write_lock(photos, str(folder), path)
    return path


def test_it_holds_the_files_their_vectors_and_where_they_come_from(lock, folder, photos):
    tensors, encoder = load_file(lock), embedshift.load_encoder(str(folder))
    with safe_open(lock, "np") as file:
        about = json.loads(file.metadata()["embedshift"])
    ids = sorted(path.name for path in photos.iterdir())
    assert about["ids"] == ids
    assert tensors["images"].tobytes() == b"".join((photos / name).read_bytes() for name in ids)
    squares = [Image.open(photos / name).resize((models.SIZE,) * 2, Image.Resampling.BICUBIC) for name in ids]
    expected = encoder(np.stack([np.asarray(square) for square in squares])).embedding
    np.testing.assert_allclose(tensors["vectors"], expected, atol=1e-4)
    units = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    cosines = np.sort(units @ units.T - 9 * np.eye(len(ids)), axis=1)
    np.testing.assert_allclose(tensors["margins"], cosines[:, -1] - cosines[:, -2], atol=1e-5)
    assert about["weights_hash"] == encoder.weights_hash
    assert about["versions"]["torch"] == torch.__version__
    assert str(models.MEAN[0]) in about["recipe"]["preprocess"]


def test_more_than_32_images_are_drawn_and_take_less_than_5_mb(folder, tmp_path, cli):
    place = models.pictures(tmp_path / "photos", 34, width=40, height=30)
    done = cli("parity", folder, place, "--lock", tmp_path / "a.lock", "--quiet")
    assert done.out.startswith(f"Written: {tmp_path / 'a.lock'}, 32 images, ")
    assert (tmp_path / "a.lock").stat().st_size < 5e6
    assert len(read_lock(tmp_path / "a.lock")[0]) == 32
    assert cli("parity", tmp_path / "a.lock", folder, "--quiet").code == 0
    assert "give it after REFERENCE, or write a file by --lock" in cli("parity", folder).line
    assert "'lock' is gone: the option lock of `embedshift parity` takes its place" in cli("lock", place).line


def rewritten(lock, place, change, *, sign=True):
    """A copy whose content was changed, with a digest that fits where it is signed."""
    tensors = load_file(lock)
    with safe_open(lock, "np") as file:
        about = json.loads(file.metadata()["embedshift"])
    change(tensors, about)
    if sign:
        about.pop("sha256")
        about["sha256"] = _digest(tensors, about)
    save_file(tensors, place, {"embedshift": json.dumps(about)})
    return place


def test_what_was_changed_or_is_foreign_is_refused(lock, tmp_path, cli):
    os.mkfifo(tmp_path / "fifo.lock")
    changes = {
        "changed": (lambda tensors, about: tensors.update(vectors=tensors["vectors"] + 1), False),
        "changed,": (lambda tensors, about: about.update(ids=["other.png", *about["ids"][1:]]), False),
        "is code": (lambda tensors, about: about.update(model="python:os:getcwd"), True),
        "not a lock": (lambda tensors, about: about["lengths"].pop(), True),
    }
    wrong = {
        words: rewritten(lock, tmp_path / f"{number}.lock", change, sign=sign)
        for number, (words, (change, sign)) in enumerate(changes.items())
    }
    for words, path in (wrong | {"No such file": tmp_path / "none.lock", "a FIFO": tmp_path / "fifo.lock"}).items():
        line = cli("parity", path, "dinov2-small-offline").line
        assert words in line
        assert str(path) in line
    data = lock.read_bytes()
    save_file({"vectors": np.ones((2, 3), np.float32)}, tmp_path / "f.lock")
    foreign = (tmp_path / "f.lock").read_bytes()
    for content in (b"", b"no lock", data[:-5], data[:1000], data[:8] + b"}" + data[9:], foreign):
        (tmp_path / "e.lock").write_bytes(content)
        assert "not a lock of" in _error(read_lock, tmp_path / "e.lock")
    assert "leave `images` out" in _error(embedshift.parity, lock, "dinov2-small-offline", tmp_path)


def _error(function, *given):
    with pytest.raises(embedshift.EmbedshiftError) as caught:
        function(*given)
    return str(caught.value)


def colours(images):
    return [[*image.resize((2, 2)).tobytes()] for image in images]


def test_no_lock_names_code_or_makes_this_machine_download_a_model(lock, photos, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    code = "def embed(images):\n    return [[*image.resize((2, 2)).tobytes()] for image in images]\n"
    (tmp_path / "embeds_of_a_lock.py").write_text(code)
    about = write_lock(photos, "python:embeds_of_a_lock:embed", tmp_path / "code.lock")
    assert about["model"] is None
    elsewhere = rewritten(lock, tmp_path / "hub.lock", lambda tensors, about: about.update(model="somebody/else"))
    others = {tmp_path / "code.lock": lambda images: np.ones((len(images), 12)) + np.arange(12), elsewhere: colours}
    with no_network() as tried:
        for path, served in others.items():
            assert "the encoder of the lock is not here" in embedshift.parity(path, served).sentence
    assert tried == []


def test_a_lock_is_written_whole_and_over_a_file_alone(photos, tmp_path):
    os.mkfifo(tmp_path / "fifo.lock")
    for name, words in (("fifo.lock", "a FIFO, not a file"), ("missing/a.lock", "cannot be written")):
        assert words in _error(write_lock, photos, colours, tmp_path / name)
    rng = np.random.default_rng(0)
    noisy = embedshift.image_encoder(lambda images: rng.normal(size=(len(images), 4)), name="noisy", version="1")
    words = _error(write_lock, photos, noisy, tmp_path / "noisy.lock")
    assert words.startswith("noisy: its vector of an image depends on the pass")
    assert [path.name for path in tmp_path.iterdir()] == ["fifo.lock"]


def with_layer(folder, before=lambda image: image, after=None, batch=None):
    """The same weights behind our own steps; `after` changes what the first block gives."""
    encoder = embedshift.load_encoder(str(folder))
    if after is not None:
        encoder.module.encoder.layer[0].register_forward_hook(lambda _module, _given, states: after(states))

    def ours(images):
        squares = [np.asarray(before(image).resize((models.SIZE,) * 2, Image.Resampling.BICUBIC)) for image in images]
        size = batch or len(squares)
        parts = [np.stack(squares[start : start + size]) for start in range(0, len(squares), size)]
        return np.concatenate([encoder(part).embedding for part in parts])

    return ours


def test_it_holds_under_another_batch_size_and_number_of_threads(lock, folder):
    threads = torch.get_num_threads()
    try:
        for count, batch in ((1, 1), (2, 3)):
            torch.set_num_threads(count)
            result = embedshift.parity(lock, with_layer(folder, batch=batch))
            assert result.passed, result.verdict
            assert result.sentence.endswith("rounding is left.")
    finally:
        torch.set_num_threads(threads)


def in_bfloat16(states):
    return states.bfloat16().float()


def bgr(image):
    return Image.fromarray(np.asarray(image)[..., ::-1])


def coarse(image):
    return image.resize((models.SIZE,) * 2, Image.Resampling.BILINEAR)


def test_it_breaks_in_bfloat16_where_a_neighbour_flips_and_by_channels_and_filter(lock, folder):
    first = read_lock(lock)[1]
    changes = {"bfloat16": {"after": in_bfloat16}, "bgr": {"before": bgr}, "filter": {"before": coarse}}
    results = {name: embedshift.parity(lock, with_layer(folder, **c), causes=False) for name, c in changes.items()}
    assert {name: result.passed for name, result in results.items()} == dict.fromkeys(changes, False)
    half = results["bfloat16"].distance
    assert half.relative_shift < 0.01  # so that the neighbours alone decide
    files = [Image.open(io.BytesIO(data)) for data in read_lock(lock)[0].values()]
    second = with_layer(folder, after=in_bfloat16)(files)

    def nearest(vectors):
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return (units @ units.T - 9 * np.eye(len(units))).argmax(axis=1)

    alone = {*np.flatnonzero(nearest(first) != nearest(second))}
    assert alone
    assert alone <= {*half.changed}


def test_with_the_weights_at_hand_the_cause_is_named(lock, folder, tmp_path):
    result = embedshift.parity(lock, with_layer(folder, before=bgr))
    assert result.locked
    assert "with channels in order BGR: that explains 99.99 %" in result.sentence
    gone = rewritten(lock, tmp_path / "gone.lock", lambda tensors, about: about.update(model=str(tmp_path / "gone")))
    without = embedshift.parity(gone, with_layer(folder, before=bgr))
    assert without.distance.mean == pytest.approx(result.distance.mean)
    assert "No cause is looked for, since the encoder of the lock is not here" in without.sentence
    assert embedshift.parity(gone, str(folder)).passed


def test_an_encoder_with_another_setting_is_not_the_one_of_the_lock(photos, tmp_path):
    own = models.make("dinov2", tmp_path / "own")
    write_lock(photos, str(own), tmp_path / "own.lock")
    served, config = with_layer(own, before=bgr), own / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_attention_heads": 2}))
    assert "has other weights or settings" in embedshift.parity(tmp_path / "own.lock", served).sentence


AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
PROGRAM = """
import sys, embedshift, torch
assert "AVX2" in torch.backends.cpu.get_cpu_capability()
result = embedshift.parity(sys.argv[1], sys.argv[2], causes=False)
print(result.verdict)
sys.exit(0 if result.passed and result.distance.mean < 1e-10 else 3)
"""


@pytest.mark.matrix
def test_it_holds_with_older_instructions(lock, folder):
    command = [sys.executable, "-c", PROGRAM, lock, folder]
    done = subprocess.run(command, env=os.environ | AVX2, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
