"""Small cases worked by hand."""

import io
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from embedshift import errors, sources
from embedshift.sources import base, completeness, folder, images, pairs, roots, views_file
from embedshift.sources import datasets as parquet
from embedshift.sources import folder as lists
from embedshift.sources.base import ImageRef


def test_sources_open_source():
    with pytest.raises(errors.UsageError, match=r"/photos\.zip: no such file or folder"):
        sources.open_source(["photos.zip"])


def test_views_file_attacked_variant():
    assert (
        views_file.AttackedVariant(norm="linf", eps=4.0, through="jpeg:50").name,
        views_file.AttackedVariant(norm="l2", eps=0.5).name,
    ) == ("linf-4-through-jpeg-50", "l2-0.5")


def test_views_file_view_path():
    assert views_file.view_path(Path("adv"), "linf-4", "cats/tom.jpg", "png").as_posix() == "adv/linf-4/cats/tom.png"


def test_views_file_attack_record():
    assert views_file.read_attack_record({}) is None


def test_base_stem():
    assert (base.stem("a/b.JPG"), base.stem("a/b.v2"), base.stem("b.v2.webp")) == ("a/b", "a/b.v2", "b.v2")


def test_base_storable():
    assert base.storable("caf\udce9.jpg") == "caf\\xe9.jpg"


def test_base_captions_of():
    assert base.read_caption("a.json", b'{"caption": "a cat"}') == "a cat"
    assert base.read_caption("b.txt", b"a dog") == "a dog"


def test_base_without_folders():
    assert (
        base.without_folders("/data/a b/c.tar ends early", {"kind": "tar", "paths": ["/data/a b/c.tar"]})
        == "c.tar ends early"
    )


def test_base_passed_over():
    assert base.describe_skipped({".txt": 2, ".md": 1}) == " (skipped:  1 .md, 2 .txt)"


def test_folder_folder_source():
    import tempfile

    root = Path(tempfile.mkdtemp())
    for name in ("b.JPG", "a.png", "notes.md", ".hidden.png"):
        _ = (root / name).write_bytes(b"")
    source = folder.FolderSource([str(root)])
    assert ([s.image_id for s in source.samples], dict(source.skipped)) == (["a.png", "b.JPG"], {".md": 1})


def test_images_decode():
    buffer = io.BytesIO()
    Image.new("L", (3, 2), 7).save(buffer, "PNG")
    assert images.decode(buffer.getvalue()).shape == (2, 3, 3)


def test_images_upright_size():
    buffer = io.BytesIO()
    Image.new("L", (3, 2), 7).save(buffer, "PNG")
    assert images.upright_size(buffer.getvalue()) == (3, 2)


def test_images_pixels_hash():
    black = np.zeros((2, 6, 3), np.uint8)
    assert (
        images.pixels_hash(black) == images.pixels_hash(black.copy()),
        images.pixels_hash(black) == images.pixels_hash(black.reshape(3, 4, 3)),
    ) == (True, False)


def test_images_resize():
    assert images.ToInput(2)(np.zeros((4, 6, 3), np.uint8)).shape == (2, 2, 3)


def test_lists_expand():
    assert lists.expand("s3://bucket/photos") == ["s3://bucket/photos"]


def test_lists_open_place():
    with pytest.raises(errors.EmbedshiftError, match="a device, not a file"):
        lists.open_location("file:///dev/null")


def test_lists_file_and_column():
    assert (lists.file_and_column("/data/a.parquet#q50"), lists.file_and_column("photos#1")) == (
        ("/data/a.parquet", "q50"),
        ("photos#1", ""),
    )


def test_order_select():
    assert [
        s.image_id for s in base.select([ImageRef("b", "2"), ImageRef("a", "1")], limit=1, sample=None, seed=0)
    ] == ["a"]


def test_order_split():
    assert [len(s.samples) for s in base.split([ImageRef(str(i), "") for i in range(5)], 2)] == [2, 2, 1]


def test_parquet_image_column():
    assert parquet.image_column("a.parquet", pa.schema([("key", pa.string()), ("jpg", pa.binary())])) == "jpg"


def test_roots_roots_check():
    roots.Roots(["/data/photos"]).check("/data/photos/a.png")
    with pytest.raises(errors.EmbedshiftError, match="it is outside the folders from which images may be read"):
        roots.Roots(["/data/photos"]).check("/data/photos/../secret.png")


def test_roots_moved():
    assert roots.moved({"kind": "tar", "paths": ["/data/a.tar"]}, Path("/here")) == {
        "kind": "tar",
        "paths": ["/here/a.tar"],
    }
    assert roots.moved({"kind": "folder", "root": "/data"}, Path("/here")) == {"kind": "folder", "root": "/here"}


def test_pairs_named_variants():
    assert pairs.named_variants(["cdn=/data/a", "/data/q50/", "/data/q10.tar", "/data/b.parquet#webp"]) == {
        "cdn": "/data/a",
        "q50": "/data/q50/",
        "q10": "/data/q10.tar",
        "webp": "/data/b.parquet#webp",
    }


def test_completeness_without_texts():
    ihdr, text = (struct.pack(">I4sB4x", 1, b"IHDR", 0), struct.pack(">I4s2s4x", 2, b"tEXt", b"ab"))
    assert completeness.without_texts(bytes(8) + text + ihdr) == bytes(8) + ihdr
