"""Tar, Parquet, saved datasets and URLs: the same pictures give the same samples, bytes and rows as their folder."""

import pickle
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from threading import Barrier, Thread
from urllib.parse import quote

import datasets
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import embedshift
from embedshift import EmbedshiftError
from embedshift.sources import SOURCES, Roots, image_reader, open_source, select, shuffle, split
from support.archives import write_parquet, write_tar
from support.mean_colour import MeanColour

NAMES = ["a.png", "b.JPG", "deep/c.png", "deep/er/d e.webp", "é.png"]
SOURCE_OF = {"tar": "tar", "parquet": "datasets"}


@pytest.fixture
def photos(tmp_path):
    """A folder of five small pictures, some below others."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def members(photos):
    return [(name, (photos / name).read_bytes()) for name in NAMES]


def contents(source):
    return {sample.image_id: source.read(sample) for sample in source.samples}


def test_every_kind_of_source_gives_the_bytes_of_the_folder(photos, tmp_path, monkeypatch):
    folder = dict(members(photos))
    tar = write_tar(tmp_path / "a.tar", members(photos))
    parquet = write_parquet(tmp_path / "a.parquet", members(photos))
    features = datasets.Features({"image": datasets.Image(), "image_id": datasets.Value("string")})
    columns = {"image": [str(photos / name) for name in NAMES], "image_id": NAMES}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "saved")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for name, data in members(photos):
        memory.pipe(f"/bucket/photos/{name}", data)
    memory.pipe("/bucket/a.tar", tar.read_bytes())
    memory.pipe("/bucket/b.parquet", parquet.read_bytes())
    far = [f"memory://bucket/{name}" for name in ("photos", "a.tar", "b.parquet")]
    for place in [photos, f"file://{photos}", tar, parquet, tmp_path / "saved", *far, f"file://{tar}"]:
        source = open_source([str(place)])
        assert contents(source) == folder, place
        sent = pickle.loads(pickle.dumps(source))
        assert (len(sent.samples), {sample.image_id: sent.read(sample) for sample in source.samples}) == (0, folder)
        roots, kind = Roots(["/", "memory://"]), source.description["kind"]
        image_reader(source.description, roots)
        with monkeypatch.context() as patch:  # what was listed once is not listed again
            patch.setitem(SOURCES._entries, kind, None)
            again = image_reader(source.description, roots)
        assert {name: again(name) for name in NAMES} == folder, place


def test_archives_of_a_folder_are_one_collection_and_shards_run_across_them(photos, tmp_path):
    picture = (photos / "a.png").read_bytes()
    for number in (1, 0):
        write_tar(tmp_path / f"{number}.tar", [(f"{number}{letter}.png", picture) for letter in "cab"])
    (tmp_path / "0_stats.json").write_text("{}")
    source = open_source([str(tmp_path)])
    assert [s.image_id for s in source.samples] == [f"{number}{letter}.png" for number in (0, 1) for letter in "cab"]
    chosen = select(source.samples, limit=5, sample=None, seed=0)
    assert [s.image_id for s in chosen] == ["0a.png", "0b.png", "0c.png", "1a.png", "1b.png"]
    ordered, name = shuffle(chosen, source, seed=0)
    assert name == "shuffled"
    shards = split(ordered, 2)
    assert [len(shard.samples) for shard in shards] == [2, 2, 1]
    assert [s for shard in shards for s in shard.samples] == ordered
    assert any(len({s.archive for s in shard.samples}) == 2 for shard in shards)
    assert {s.image_id: source.read(s) for s in ordered} == {s.image_id: picture for s in chosen}


def test_a_list_may_hold_urls(tmp_path):
    fsspec.filesystem("memory").pipe({"/bucket/a.png": b"", "/bucket/deep/c.png": b""})
    (tmp_path / "list.txt").write_text("memory://bucket/deep/c.png\nmemory://bucket/a.png\n")
    assert [s.image_id for s in open_source([str(tmp_path / "list.txt")]).samples] == ["a.png", "deep/c.png"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda t: t / "missing.tar", "no such file"),
        (lambda t: write_tar(t / "a.tar", [("a.png", b"x")], "w:gz"), "unpack a compressed one"),
        (lambda t: (t / "a.parquet").write_bytes(b"text") and t / "a.parquet", "not Parquet"),
        (lambda t: write_parquet(t / "a.parquet", (), image_id=None, jpg=None, x=[1], y=["a"]), r"it has x, y"),
        (lambda t: "memory://nowhere/at/all", "no such file or folder"),
        (lambda t: "nosuchscheme://a/b", "cannot be listed"),
    ],
)
def test_what_cannot_be_opened_is_one_line(tmp_path, make, words):
    with pytest.raises(EmbedshiftError, match=words) as caught:
        open_source([str(make(tmp_path))])
    assert caught.value.exit_code == 2


def test_kinds_are_not_mixed(photos, tmp_path):
    tar = write_tar(tmp_path / "a.tar", members(photos))
    with pytest.raises(EmbedshiftError, match=r"several kinds \(folder, tar\)"):
        open_source([str(photos), str(tar)])


@pytest.mark.matrix
@pytest.mark.slow
def test_a_comparison_of_an_archive_out_of_order_keeps_the_views_of_an_image_in_order(photos, tmp_path):
    """Rows of one image that changed places would be read as other augmentations."""
    names = [f"{number:03}.png" for number in np.random.default_rng(1).permutation(40)]
    tar = write_tar(tmp_path / "a.tar", [(name, (photos / NAMES[0]).read_bytes()) for name in names])
    settings = {"model": MeanColour(), "workers": 0}
    studies = [embedshift.run(tar, out=tmp_path / f"{size}", batch_size=size, **settings) for size in (10, 7)]
    assert not studies[0].rows().collect()["image_id"].is_sorted()
    compared = embedshift.compare(studies).comparison.filter(metric="cosine_similarity")
    compared = compared.rows_by_key("augmentation", named=True, unique=True)
    for own in studies[0].summary().filter(metric="cosine_similarity").iter_rows(named=True):
        row = compared[own["augmentation"]]
        assert row["reference_mean"] == pytest.approx(own["mean"], abs=1e-9)
        # No width: each image is compared with itself.
        assert [row[end] for end in ("difference", "ci_low", "ci_high")] == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.fixture
def served(photos):
    handler = partial(type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None}), directory=photos)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_table_of_addresses_gives_the_rows_of_the_folder_and_names_what_is_gone(photos, served, tmp_path):
    (tmp_path / "secret.png").write_bytes((photos / "a.png").read_bytes())
    gone = [f"{served}/gone.png", f"file://{tmp_path}/secret.png", f"simplecache::file://{tmp_path}/secret.png", None]
    addresses = [f"{served}/{quote(name)}" for name in NAMES] + gone
    ids = [*NAMES, "gone.png", "local.png", "chained.png", "none.png"]
    columns = {"image_id": ids, "URL": addresses, "TEXT": [f"of {name}" for name in ids], "hash": [b"1"] * len(ids)}
    pq.write_table(pa.table(columns), tmp_path / "laion.parquet")
    settings = {"model": MeanColour(), "workers": 0}
    folder = embedshift.run(photos, out=tmp_path / "folder", **settings)
    study = embedshift.run(tmp_path / "laion.parquet", out=tmp_path / "study", **settings)
    rows = [each.reader().rows().drop("caption").sort("image_id", "view").collect() for each in (folder, study)]
    assert rows[0].equals(rows[1])
    captions = dict(study.reader().rows().select("image_id", "caption").collect().iter_rows())
    assert captions == {name: f"of {name}" for name in NAMES}
    reasons = {failure.image_id: failure.reason for record in study.reader().records for failure in record.failures}
    none = "the row contains no address of an image"
    assert reasons.pop("gone.png").endswith("its server answers 404 (not found)")
    assert reasons == dict.fromkeys(("local.png", "chained.png", "none.png"), none)


def test_a_saved_dataset_of_addresses_is_read(photos, served, tmp_path):
    datasets.Dataset.from_dict({"url": [f"{served}/a.png"], "image_id": ["a.png"]}).save_to_disk(tmp_path / "saved")
    assert contents(open_source([str(tmp_path / "saved")])) == {"a.png": (photos / "a.png").read_bytes()}


@pytest.mark.parametrize("ending", ["tar", "parquet"])
def test_archives_behind_addresses_are_listed_at_the_same_time_and_in_order(photos, tmp_path, monkeypatch, ending):
    memory, module = fsspec.filesystem("memory"), import_module(f"embedshift.sources.{SOURCE_OF[ending]}")
    write = write_tar if ending == "tar" else write_parquet
    for number, member in enumerate(members(photos)):
        memory.pipe(f"/far/{number}.{ending}", write(tmp_path / "a", [member]).read_bytes())
    together, opened = Barrier(len(NAMES)), module.open_location

    def open_together(location):
        together.wait(10)
        return opened(location)

    monkeypatch.setattr(module, "open_location", open_together)
    source = open_source([f"memory://far/{number}.{ending}" for number in range(len(NAMES))])
    assert [sample.image_id for sample in source.samples] == NAMES
