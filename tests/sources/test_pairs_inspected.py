"""Pairs: what stands in the hash of variants, and which of them have another shape than their image."""

import hashlib
import io
import logging

import numpy as np
from PIL import Image

from embedshift.sources import inspect
from support.archives import write_parquet, write_tar
from support.pairs import paired, write_files

IDS = ["a.png", "b.jpg", "deep/c.webp"]


def expected_hash(files):
    """The definition again: stems and hashes of the bytes, sorted."""
    lines = sorted(f"{name}\n{hashlib.blake2b(data, digest_size=16).hexdigest()}\n" for name, data in files.items())
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()


def test_the_hash_is_of_stems_and_bytes(tmp_path):
    originals, folder = (write_files(tmp_path / name, *IDS) for name in ("o", "v"))
    files = {"a": b"v/a.png", "b": b"v/b.jpg", "deep/c": b"v/deep/c.webp"}
    first = inspect(paired(originals, folder))["v"]
    assert first.bytes_hash == expected_hash(files)
    assert first.missing == 0
    # Neither extra variants, nor the archive they lie in, nor their endings.
    write_files(folder, "x.png")
    assert inspect(paired(originals, folder))["v"] == first
    write_tar(tmp_path / "v.tar", [(f"{name}.png", data) for name, data in reversed(files.items())])
    assert inspect(paired(originals, tmp_path / "v.tar"))["v"] == first
    write_parquet(tmp_path / "x.parquet", [*files.items()], rows=1)
    assert inspect(paired(originals, f"v={tmp_path / 'x.parquet'}"))["v"] == first
    # But a byte, a name, and a variant less.
    assert inspect(paired(originals, folder, limit=2))["v"].bytes_hash == expected_hash(dict([*files.items()][:2]))
    write_files(folder, "a.png", content=b"v/a.pnG")
    assert inspect(paired(originals, folder))["v"].bytes_hash == expected_hash(files | {"a": b"v/a.pnG"})


def test_what_cannot_be_read_has_a_mark_and_is_no_error(tmp_path):
    originals, folder = (write_files(tmp_path / name, *IDS) for name in ("o", "v"))
    source = paired(originals, folder)
    whole = inspect(source)["v"]
    (folder / "a.png").unlink()
    (originals / "b.jpg").unlink()
    found = inspect(source)["v"]
    assert found.bytes_hash != whole.bytes_hash


def test_missing_counts_images_that_are_measured_without(tmp_path):
    originals, one, two = (
        write_files(tmp_path / name, *IDS[:count]) for name, count in (("o", 3), ("one", 2), ("two", 1))
    )
    found = inspect(paired(originals, one, two, allow_missing=True))
    assert {name: each.missing for name, each in found.items()} == {"one": 0, "two": 1}
    assert [each.missing for each in inspect(paired(originals, one, two)).values()] == [0, 0]


def image(width, height, orientation=1):
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(file, "JPEG", exif=exif)
    return file.getvalue()


def test_other_shapes_are_counted_by_the_upright_image(tmp_path, caplog):
    originals, variants = tmp_path / "o", tmp_path / "v"
    cases = {
        "same": (image(300, 200), image(150, 100)),
        "rounded": (image(300, 200), image(151, 100)),
        "square": (image(300, 200), image(200, 200)),
        "taller": (image(300, 200), image(300, 205)),
        "turned": (image(300, 200), image(200, 300, orientation=6)),
        "sideways": (image(300, 200), image(300, 200, orientation=8)),
        "mirrored": (image(300, 200), image(300, 200, orientation=2)),
        "broken": (image(300, 200), b"no picture"),
    }
    for name, (original, variant) in cases.items():
        write_files(originals, f"{name}.jpg", content=original)
        write_files(variants, f"{name}.jpg", content=variant)
    with caplog.at_level(logging.INFO):
        inspect(paired(originals, variants))
    assert [record.getMessage() for record in caplog.records] == [
        "hashing the bytes of 8 variants",
        "v: 3 of 8 variants have an aspect ratio more than 2 % off that of their original (first: sideways.jpg)",
    ]
