"""Pairs: which variant belongs to which image, what is refused, and what an inspection says of their files."""

import hashlib
import io
import logging
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from embedshift import EmbedshiftError
from embedshift.config import as_pairs
from embedshift.errors import UsageError
from embedshift.sources import Roots, image_reader, inspect, named_variants, variant_reader, without_folders
from support.archives import write_parquet, write_tar
from support.pairs import paired, write_files

EVERYWHERE = Roots(["/", "memory://"])

IDS = ["a.png", "b.jpg", "deep/c.webp"]


def refused(*arguments, code=2, **settings):
    with pytest.raises(EmbedshiftError) as caught:
        paired(*arguments, **settings)
    assert caught.value.exit_code == code
    assert "\n" not in str(caught.value)
    return str(caught.value)


def contents(source, name, listed=None):
    found = {sample.image_id: source.variant(name, sample) for sample in (listed or source).samples}
    return {image_id: None if each is None else source.read_variant(name, each) for image_id, each in found.items()}


# Names.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("/data/q50/", "q50"), ("/data/v1.0", "v1.0"), ("/data/q50.TAR", "q50"), ("/data/all.txt", "all"),
        ("s3://bucket/x.parquet#webp", "webp"), ("s3://bucket/x?a=b", "x?a=b"), ("cdn=s3://bucket/q50", "cdn"),
        ("cdn=/data/x.parquet#webp", "cdn"), ("/data/quality=50", "quality=50"),
    ],
)  # fmt: skip
def test_a_name_is_given_or_that_of_the_column_or_the_folder(text, name):
    assert named_variants([text]) == {name: text.removeprefix("cdn=")}


def test_a_folder_may_hold_an_equals_sign_and_equal_names_are_refused(tmp_path, monkeypatch):
    (tmp_path / "quality=50").mkdir()
    monkeypatch.chdir(tmp_path)
    assert named_variants(["quality=50", "quality=60"]) == {"quality=50": "quality=50", "quality": "60"}
    assert named_variants(["."]) == {tmp_path.name: "."}
    with pytest.raises(UsageError, match=r"have the name 'q50': a/q50 and b/q50; name them as NAME=PATH"):
        named_variants(["a/q50", "b/q50"])
    assert named_variants(["one=a/q50", "two=b/q50"]) == {"one": "a/q50", "two": "b/q50"}


def test_one_path_several_and_a_mapping(tmp_path):
    assert as_pairs(tmp_path) == as_pairs([tmp_path]) == [str(tmp_path)]
    assert as_pairs({"cdn": tmp_path, "x": "y"}) == [f"cdn={tmp_path}", "x=y"]
    with pytest.raises(UsageError, match=r"'a/b' cannot be a name"):
        as_pairs({"a/b": "c"})


# Matching.


def test_a_variant_has_the_id_of_its_image_but_for_the_ending(tmp_path):
    originals = write_files(tmp_path / "o", *IDS, "b.v2.png")
    variants = write_files(tmp_path / "v", "a.webp", "b.JPG", "deep/c.png", "b.v2.jpeg", "notes.md")
    source = paired(originals, variants)
    assert contents(source, "v") == {
        "a.png": b"v/a.webp", "b.jpg": b"v/b.JPG", "deep/c.webp": b"v/deep/c.png", "b.v2.png": b"v/b.v2.jpeg",
    }  # fmt: skip
    assert source.skipped == {".md": 1}
    assert [sample.problem for sample in source.samples] == [None] * 4
    assert {source.read(sample) for sample in source.samples} == {f"o/{name}".encode() for name in [*IDS, "b.v2.png"]}


def test_an_image_takes_its_variants_to_another_process_and_no_others(tmp_path):
    names = [f"{number:03}.png" for number in range(200)]
    for folder in ("originals", "v"):
        write_files(tmp_path / folder, *names)
    source = paired(tmp_path / "originals", tmp_path / "v")
    assert len(pickle.dumps(source)) < 2_000
    sent, sample = pickle.loads(pickle.dumps((source, source.samples[7])))
    assert sent.read_variant("v", sent.variant("v", sample)) == b"v/007.png"


def test_tar_parquet_column_and_list_give_what_the_folder_gives(tmp_path):
    originals = write_files(tmp_path / "o", *IDS)
    folder = write_files(tmp_path / "v", *IDS)
    members = [(name, (folder / name).read_bytes()) for name in IDS]
    others = [b"other"] * len(IDS)
    write_tar(tmp_path / "v.tar", members)
    write_parquet(tmp_path / "x.parquet", members[::-1], rows=1, first=others)
    (tmp_path / "list.txt").write_text("".join(f"{folder / name}\n" for name in IDS))
    (tmp_path / "columns.txt").write_text("x.parquet#jpg\n")
    expected = contents(paired(originals, f"v={folder}"), "v")
    assert len(expected) == 3
    for place in ("v.tar", "x.parquet#jpg", "list.txt", "columns.txt"):
        source = paired(originals, f"v={tmp_path / place}")
        assert contents(source, "v") == expected, place
        # What travels to another process, and what a report finds again.
        again = variant_reader(source.description["variants"]["v"], EVERYWHERE)
        assert contents(pickle.loads(pickle.dumps(source)), "v", source) == expected, place
        assert {image_id: again(image_id) for image_id in expected} == expected, place
    source = paired(originals, tmp_path / "x.parquet#first", tmp_path / "x.parquet#jpg")
    assert source.variants == ("first", "jpg")
    assert {*contents(source, "first").values()} == {b"other"}


def test_originals_may_be_a_column_too(tmp_path):
    members = [(name, f"jpg of {name}".encode()) for name in ("a", "b")]
    file = write_parquet(tmp_path / "x.parquet", members, small=[b"small a", b"small b"])
    source = paired(f"{file}#jpg", f"{file}#small")
    assert contents(source, "small") == {"a": b"small a", "b": b"small b"}
    assert [source.read(sample) for sample in source.samples] == [b"jpg of a", b"jpg of b"]
    assert [image_reader(source.description, EVERYWHERE)(name) for name in ("a", "b")] == [b"jpg of a", b"jpg of b"]
    # Rows without ids are matched by their numbers.
    pq.write_table(pa.table({"one": [b"1", b"2"], "two": [b"3", b"4"]}), file)
    source = paired(f"{file}#one", f"{file}#two")
    assert contents(source, "two") == {"x.parquet#0": b"3", "x.parquet#1": b"4"}


def test_a_column_that_is_not_there_or_holds_no_bytes_is_refused(tmp_path):
    file = write_parquet(tmp_path / "x.parquet", [("a", b"1")], small=[b"2"])
    assert f"{file}: the column 'tiny' does not exist; those with bytes: jpg, small" in refused(f"{file}#tiny", file)
    assert "the column 'image_id' contains no bytes; those with bytes: jpg, small" in refused(file, f"{file}#image_id")
    assert f"{tmp_path / 'y.parquet'}: no such file" in refused(file, f"{tmp_path / 'y.parquet'}#jpg")


# What is missing, left over, ambiguous, or not paired at all.


def test_a_missing_variant_is_the_problem_of_its_image(tmp_path):
    originals = write_files(tmp_path / "o", *IDS)
    one, two = write_files(tmp_path / "one", *IDS[:2]), write_files(tmp_path / "two", *IDS[1:])
    problems = [sample.problem for sample in paired(originals, one, two).samples]
    assert problems == ["no variant in two", None, "no variant in one"]
    source = paired(originals, one, two, allow_missing=True)
    assert [sample.problem for sample in source.samples] == [None] * 3
    assert contents(source, "one") == {"a.png": b"one/a.png", "b.jpg": b"one/b.jpg", "deep/c.webp": None}
    (two / "deep" / "c.webp").unlink()  # without any variant it fails even so
    problems = [sample.problem for sample in paired(originals, one, two, allow_missing=True).samples]
    assert problems == [None, None, "no variant in one, two"]


def test_variants_without_an_original_are_counted_and_said(tmp_path, caplog):
    originals = write_files(tmp_path / "o", *IDS, "unmeasured.png")
    variants = write_files(tmp_path / "v", *IDS, "unmeasured.png", "x.png", "x.jpg", "deep/y.png")
    with caplog.at_level(logging.INFO):
        source = paired(originals, variants, limit=2)
    assert source.skipped == {"no original: v": 3}, "one whose image is not selected is none of them"
    assert [record.getMessage() for record in caplog.records] == ["v: 3 variants have no original and are skipped"]


def test_equal_stems_are_refused_where_an_image_has_one(tmp_path):
    originals = write_files(tmp_path / "o", "a.png", "a.jpg", "b.png", "c.png")
    variants = write_files(tmp_path / "v", "a.png", "b.png", "c.png", "c.webp")
    line = refused(originals, variants)
    assert line.startswith("two images have the same name 'a' without the file extension: ")
    assert all(str(originals / name) in line for name in ("a.jpg", "a.png"))
    (originals / "a.jpg").unlink()
    line = refused(originals, variants)
    assert line.startswith("two variants in v have the same name 'c' without the file extension: ")
    assert all(str(variants / name) in line for name in ("c.png", "c.webp"))
    assert len(paired(originals, variants, limit=2).samples) == 2
    # Not among the selected, but among all.
    write_files(originals, "a.jpeg")
    assert "two images have the same name 'a'" in refused(originals, variants, limit=1)


def test_sets_that_are_not_paired_are_refused(tmp_path):
    originals = write_files(tmp_path / "o", "n01/1.jpg", "n01/2.jpg")
    variants = write_files(tmp_path / "v", "n01/art_1.jpg", "n02/1.jpg")
    line = refused(originals, variants)
    assert "no variant in v matches an image" in line
    assert "'n01/1.jpg', 'n01/2.jpg'" in line
    assert "'n01/art_1.jpg', 'n02/1.jpg'" in line
    assert "ImageNet-R" in line
    assert "no variant in v" in refused(originals, variants, allow_missing=True)
    assert "nothing (no files)" in refused(originals, f"v={write_files(tmp_path / 'empty', 'x.md')}")


def test_fewer_variants_than_half_are_a_warning(tmp_path, caplog):
    originals = write_files(tmp_path / "o", "a.png", "b.png", "c.png", "d.png")
    half, few = write_files(tmp_path / "half", "a.png", "b.png"), write_files(tmp_path / "few", "c.png")
    with caplog.at_level(logging.INFO):
        paired(originals, half, few, allow_missing=True)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "half: variants for 2 of 4 images, none for 2 (first: c.png)"),
        ("WARNING", "few: variants for 1 of 4 images, none for 3 (first: a.png)"),
    ]


# Finding them again.


def test_a_variant_that_is_gone_says_so(tmp_path):
    originals, folder = (write_files(tmp_path / name, *IDS) for name in ("o", "v"))
    described = paired(originals, folder).description["variants"]["v"]
    (folder / "a.png").unlink()
    read = variant_reader(described, EVERYWHERE)
    assert read("b.jpg") == b"v/b.jpg"
    with pytest.raises(EmbedshiftError, match="no longer in its source"):
        read("a.png")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    with pytest.raises(EmbedshiftError, match="no such file or folder"):
        variant_reader(described, Roots(["/"]))


def test_reasons_are_without_the_folders_of_variants(tmp_path):
    description = {"kind": "folder", "root": "/data/o", "variants": {"v": {"root": "/srv/x y/v"}}}
    assert without_folders("/srv/x y/v/a.png: not /data/o/b.png", description) == "a.png: not b.png"


# What an inspection says.


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
