"""A folder as people have it: what can be read is measured, the rest is listed with a reason, nothing stops the run."""

import hashlib
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from support import command, studies
from support.pictures import PICTURE, encoded

pytestmark = pytest.mark.slow

PNG = encoded(PICTURE, "PNG")
SIXTEEN = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
# Names and kinds of pictures by the dozen are in `support.corpus`.
GOOD: dict[bytes, bytes] = {
    b"16-bit.png": encoded(Image.fromarray(SIXTEEN), "PNG"),
    "não-ASCII – 写真 🦊.png".encode(): PNG,
    b"not utf-8 \xe9\xff.png": PNG,
    b"sub/folder/deep.WEBP": encoded(PICTURE.rotate(90), "WEBP"),
}
BAD: dict[bytes, tuple[bytes | None, str, str]] = {
    b"broken link.png": (None, "read", "No such file or directory"),
    b"\xff\xfe bad name.png": (b"this is no picture at all", "decode", "not an image in a known format"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for name, content in [*GOOD.items(), *((name, bad[0]) for name, bad in BAD.items())]:
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if content is None:
            os.symlink(b"nowhere.png", path)
        else:
            with open(path, "wb") as file:
                file.write(content)
    (root / ".hidden.png").write_bytes(PNG)
    (root / "notes.txt").write_text("passed over")
    return root


@pytest.fixture(scope="module")
def clip() -> str:
    return str(studies.checkpoint("clip"))


def stored(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def test_good_ones_are_measured_bad_ones_listed(folder, clip, tmp_path, monkeypatch, capsys):
    out = tmp_path / "study"
    done = command.call(monkeypatch, capsys, "run", folder, "--out", out, "--model", clip, "--quiet", "--no-report")
    assert done.code == 0
    study = embedshift.load(out)
    rows = study.rows().collect()
    assert set(rows["image_id"]) == {stored(name) for name in GOOD}
    assert len(rows) == len(GOOD) * 10
    failures = {image: (stage, reason) for image, stage, reason, _ in study.failures().rows()}
    assert set(failures) == {stored(name) for name in BAD}
    for name, (_, stage, words) in BAD.items():
        assert failures[stored(name)][0] == stage
        assert words in failures[stored(name)][1]
        assert "\n" not in failures[stored(name)][1]
    assert study.info()["counts"] == {
        "images": len(GOOD) + len(BAD), "measured": len(GOOD), "failed": len(BAD), "rows": len(rows),
        "skipped": {".txt": 1},
    }  # fmt: skip
    # A line on stderr says how many failed, which, why and where; another, that one PNG is there under two names.
    *_, copied, line = done.err.splitlines()
    assert copied.startswith("warning: 1 image repeats the pixels of another")
    assert line.startswith(f"warning: {len(BAD)} of {len(GOOD) + len(BAD)} images could not be measured (first: ")
    assert str(out / "failures.parquet") in line
    assert f"{len(GOOD)} of {len(GOOD) + len(BAD)} images measured" in done.out
    # Seeds come from the bytes of a name, and the original view is what the picture shows.
    for name in GOOD:
        found = rows.filter((pl.col("image_id") == stored(name)) & (pl.col("view") == "noise"))["view_seed"].item()
        digest = hashlib.blake2b(b"0|" + name + b"|noise|0", digest_size=4).digest()
        assert found == int.from_bytes(digest, "big")
    view = embedshift.make_views(np.stack([SIXTEEN // 256] * 3, -1).astype(np.uint8), image_id="x", size=32)["original"]
    original = rows.filter(image_id="16-bit.png", view="original")["embedding"].to_numpy()
    expected = embedshift.load_encoder(clip)(view[None]).embedding
    np.testing.assert_allclose(original, expected, rtol=0, atol=1e-4)


def test_a_study_whose_images_all_fail(folder, clip, tmp_path, monkeypatch, capsys):
    for name in GOOD:
        os.unlink(os.path.join(os.fsencode(folder), name))
    out = tmp_path / "study"
    first = min(BAD, key=lambda name: hashlib.blake2b(b"0|order|" + name, digest_size=8).digest())
    for _ in range(2):  # and again, on what the first run left
        done = command.call(monkeypatch, capsys, "run", folder, "--out", out, "--model", clip, "--shard-size", 4)
        assert done.code == 1
        words = f"error: no image could be measured: all {len(BAD)} failed, first {stored(first)}: "
        assert done.line.startswith(words)
        assert BAD[first][2] in done.line
        assert len(pl.read_parquet(out / "failures.parquet")) == len(BAD)
    assert not embedshift.load(out).is_complete()
    # No reader of Parquet opens a folder whose own name is no text.
    other = os.fsdecode(os.fsencode(tmp_path) + b"/study \xe9")
    refused = command.call(monkeypatch, capsys, "run", folder, "--model", clip, "--out", other)
    assert refused.line == rf"error: {tmp_path}/study \xe9: contains bytes that are not UTF-8; choose another --out"


def test_a_folder_without_an_image(clip, tmp_path, monkeypatch, capsys):
    root = tmp_path / "photos"
    root.mkdir()
    for content in (None, "notes.md"):
        if content is not None:
            (root / content).write_text("hello")
            (root / ".hidden.png").write_bytes(PNG)
        done = command.call(monkeypatch, capsys, "run", root, "--out", tmp_path / "study", "--model", clip)
        assert done.code == 1
        assert done.line.startswith(f"error: no image in {root}")
        assert content is None or "1 .md" in done.line
        assert not (tmp_path / "study").exists()
