"""A folder as people have it: what can be read is measured, the rest is listed with a reason, nothing stops the run."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from support import command, studies

pytestmark = pytest.mark.slow


def smooth(seed: int = 0, width: int = 64, height: int = 48) -> Image.Image:
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rotated_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    return encoded(smooth(3), "JPEG", exif=exif, quality=95)


def palette_with_alpha() -> Image.Image:
    image = smooth(4).quantize(16)
    image.info["transparency"] = bytes(range(0, 256, 16))
    return image


PNG = encoded(smooth(1), "PNG")
JPEG = encoded(smooth(2), "JPEG")
SIXTEEN = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
GOOD: dict[bytes, bytes] = {
    b"16-bit.png": encoded(Image.fromarray(SIXTEEN), "PNG"),
    b"animation, renamed.png": encoded(
        smooth(5), "GIF", save_all=True, append_images=[smooth(6), smooth(7)], duration=100
    ),
    b"cmyk.JPG": encoded(smooth(8).convert("CMYK"), "JPEG"),
    b"exif.jpeg": rotated_by_exif(),
    b"name 'with' \"quotes\" and  spaces .png": PNG,
    "não-ASCII – 写真 🦊.png".encode(): PNG,
    b"not utf-8 \xe9\xff.png": PNG,
    b"one pixel.png": encoded(smooth(9, 1, 1), "PNG"),
    b"palette.png": encoded(palette_with_alpha(), "PNG"),
    b"sub/folder/deep.WEBP": encoded(smooth(10), "WEBP"),
    b"<img src=x onerror=alert(1)>.png": PNG,
    b"-rf.png": PNG,
    b"[bold]red[-bold].bmp": encoded(smooth(11), "BMP"),
}
BAD: dict[bytes, tuple[bytes | None, str, str]] = {
    b"broken link.png": (None, "read", "No such file or directory"),
    b"empty.jpg": (b"", "decode", "the file is empty"),
    b"text.jpg": (b"this is no picture at all", "decode", "not an image in a known format"),
    b"truncated.jpg": (JPEG[: len(JPEG) // 2], "decode", "damaged or ends early"),
    b"truncated.png": (PNG[: len(PNG) - 30], "decode", "damaged or ends early"),
    b"\xff\xfe bad name.png": (b"GIF89a", "decode", ""),
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
    # A line on stderr says how many failed, which, why and where; another, that one PNG is there under five names.
    *_, copied, line = done.err.splitlines()
    assert copied.startswith("warning: 4 images repeat the pixels of another; ")
    assert line.startswith(f"warning: {len(BAD)} of {len(GOOD) + len(BAD)} images could not be measured (first: ")
    assert str(out / "failures.parquet") in line
    assert f"{len(GOOD)} of {len(GOOD) + len(BAD)} images measured" in done.out


@pytest.mark.matrix
def test_what_was_measured_is_what_the_picture_shows(folder, clip, tmp_path):
    """The embedding of the original view, against the encoder on pixels made here by hand."""
    study = embedshift.run(folder, out=tmp_path / "study", model=clip, workers=0)
    rows = study.rows().filter(pl.col("view") == "original").collect()
    found = dict(zip(rows["image_id"], rows["embedding"].to_numpy(), strict=True))
    exif = Image.open(io.BytesIO(GOOD[b"exif.jpeg"])).convert("RGB").transpose(Image.Transpose.ROTATE_270)
    grey = Image.fromarray((SIXTEEN // 256).astype(np.uint8)).convert("RGB")
    palette = Image.new("RGBA", (64, 48), "white")
    palette.alpha_composite(Image.open(io.BytesIO(GOOD[b"palette.png"])).convert("RGBA"))
    pixel = Image.new("RGB", (32, 32), smooth(9, 1, 1).getpixel((0, 0)))
    expected = {
        "exif.jpeg": exif,
        "16-bit.png": grey,
        "palette.png": palette.convert("RGB"),
        "one pixel.png": pixel,
        "animation, renamed.png": Image.open(io.BytesIO(GOOD[b"animation, renamed.png"])).convert("RGB"),
        "cmyk.JPG": Image.open(io.BytesIO(GOOD[b"cmyk.JPG"])).convert("RGB"),
    }
    encoder = embedshift.load_encoder(clip)
    for name, image in expected.items():
        view = embedshift.make_views(np.asarray(image), image_id="x", size=32)["original"]
        np.testing.assert_allclose(found[name], encoder(view[None]).embedding[0], rtol=0, atol=1e-4, err_msg=name)


@pytest.mark.matrix
def test_seeds_come_from_the_bytes_of_the_name(folder, clip, tmp_path):
    rows = embedshift.run(folder, out=tmp_path / "study", model=clip, workers=0).rows().collect()
    for name in GOOD:
        found = rows.filter((pl.col("image_id") == stored(name)) & (pl.col("view") == "noise"))["view_seed"].item()
        digest = hashlib.blake2b(b"0|" + name + b"|noise|0", digest_size=4).digest()
        assert found == int.from_bytes(digest, "big")


def test_a_study_whose_images_all_fail(folder, clip, tmp_path, monkeypatch, capsys):
    for name in GOOD:
        os.unlink(os.path.join(os.fsencode(folder), name))
    out = tmp_path / "study"
    first = min(BAD, key=lambda name: hashlib.blake2b(b"0|order|" + name, digest_size=8).digest())
    for _ in range(2):  # and again, on what the first run left
        done = command.call(monkeypatch, capsys, "run", folder, "--out", out, "--model", clip, "--shard-size", 4)
        assert done.code == 1
        assert done.line.startswith(
            f"error: no image could be measured: all {len(BAD)} failed, first {stored(first)}: "
        )
        assert BAD[first][2] in done.line
        assert len(pl.read_parquet(out / "failures.parquet")) == len(BAD)
    assert not embedshift.load(out).is_complete()


@pytest.mark.parametrize("content", [None, "notes.md"])
def test_a_folder_without_an_image(content, clip, tmp_path, monkeypatch, capsys):
    root = tmp_path / "photos"
    root.mkdir()
    if content is not None:
        (root / content).write_text("hello")
        (root / ".hidden.png").write_bytes(PNG)
    done = command.call(monkeypatch, capsys, "run", root, "--out", tmp_path / "study", "--model", clip)
    assert done.code == 1
    assert done.line.startswith(f"error: no image in {root}")
    assert content is None or "1 .md" in done.line
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("missing", ["nowhere", "list.txt"])
def test_a_missing_folder(missing, clip, tmp_path, monkeypatch, capsys):
    given = tmp_path / missing
    if missing == "list.txt":
        given.write_text("not-there.png\n")
    done = command.call(monkeypatch, capsys, "run", given, "--out", tmp_path / "study", "--model", clip)
    named = tmp_path / "not-there.png" if missing == "list.txt" else given
    assert done.code == 2
    assert done.line == f"error: {named}: no such file or folder"


@pytest.mark.matrix
def test_folders_whose_own_names_are_no_text(tmp_path, clip, monkeypatch, capsys):
    """Of the pictures: measured, and found again. Of the study: refused, since no reader of Parquet opens it."""
    root = os.path.join(os.fsencode(tmp_path), b"photos \xe9")
    os.mkdir(root)
    with open(os.path.join(root, b"\xe9.png"), "wb") as file:
        file.write(PNG)
    arguments = ["run", os.fsdecode(root), "--model", clip, "--no-report", "--out"]
    done = command.call(monkeypatch, capsys, *arguments, tmp_path / "study é")
    assert done.code == 0, done.err
    assert embedshift.load(tmp_path / "study é").info()["source"]["root"] == os.fsdecode(root)
    refused = command.call(monkeypatch, capsys, *arguments, os.fsdecode(os.fsencode(tmp_path) + b"/study \xe9"))
    assert refused.code == 2
    assert refused.line == rf"error: {tmp_path}/study \xe9: contains bytes that are not UTF-8; choose another --out"
