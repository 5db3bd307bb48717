"""What others read holds no path of the machine; and without pictures, no image and no id of one."""

import base64
import gzip
import json
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import embedshift
from embedshift.store.shards import Failure
from embedshift.study import Study
from support.command import call
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures
from support.synthetic import make_study

pytestmark = pytest.mark.slow

ROOT = "root-7f3a of-jane"


def faint(image, rng):
    return image // 2 + 60


def picky(image, rng):
    if image[..., 0].mean() > 190:
        raise RuntimeError(f"{picky.place}/photos/portrait-1.png: too red, see {picky.place}/notes.txt")
    return image[:, ::-1]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Nine images, two of which fail."""
    folder = tmp_path_factory.mktemp("private") / ROOT
    made = pictures(folder / "made", 8)
    (folder / "photos" / "ward").mkdir(parents=True)
    for number, path in enumerate(sorted(made.iterdir())):
        path.rename(folder / "photos" / "ward" / f"portrait-{number}.png")
    red = np.full((40, 40, 3), (220, 0, 0), np.uint8)
    Image.fromarray(red).save(folder / "photos" / "portrait-1.png")
    (folder / "photos" / "ward" / "portrait-0.png").write_bytes(b"no image")
    picky.place = str(folder)
    return folder


@pytest.fixture(scope="module")
def studies(root) -> list[Study]:
    """Of the folder, and of its files one by one; then two files are gone."""
    suite = {"faint": faint, "picky": picky}
    paths = sorted(root.rglob("portrait-*.png"))
    given = {"a": [root / "photos"], "b": paths}
    found = [
        embedshift.run(images, out=root / name / "study", model=MeanColour(), augmentations=suite, workers=0)
        for name, images in given.items()
    ]
    for number in (2, 3):
        (root / "photos" / "ward" / f"portrait-{number}.png").unlink()
    return found


def texts(folder: Path):
    """All that people read of a folder: name → text; tables as CSV, and pictures of a page that are text too."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".csv", ".svg", ".html"):
            text = path.read_text()
            yield path.name, text
            for number, part in enumerate(re.findall(r"data:application/gzip;base64,([A-Za-z0-9+/=]+)", text)):
                yield f"{path.name}, figure {number}", gzip.decompress(base64.b64decode(part)).decode()
        elif path.suffix == ".parquet" and path.parent.name != "shards":
            yield path.name, json.dumps(pl.read_parquet(path).to_dicts(), default=str)


@pytest.mark.matrix
@pytest.mark.parametrize("figures", first_only([["sample_heatmap", "views"], None]))
def test_no_report_table_or_comparison_holds_the_root(figures, studies, root, monkeypatch, capsys):
    studies[0].report(figures=figures, formats=["svg"])
    studies[1].report(figures=["sample_heatmap"], formats=["svg"])
    assert (
        call(monkeypatch, capsys, "compare", *(s.folder for s in studies), "--out", root / "both", "--quiet").code == 0
    )
    names = set()
    for folder in (studies[0].folder, studies[1].folder, root / "both"):
        for name, text in texts(folder):
            assert ROOT not in text, (name, text[max(0, text.index(ROOT) - 200) : text.index(ROOT) + 200])
            names.add(name)
    assert {"report.html", "summary.csv", "claims.parquet", "failures.parquet", "studies.csv"} <= names
    assert {"fig09_sample_heatmap.svg", "compare_means.svg", "report.html, figure 0"} <= names
    assert pl.read_csv(root / "both" / "studies.csv")["folder"].to_list() == ["a/study", "b/study"]
    page = (studies[0].folder / "report.html").read_text()
    assert "<dt>source</dt><dd>photos</dd>" in page
    reasons = dict(studies[0].failures().select("image_id", "reason").iter_rows())
    assert set(reasons) == {"portrait-1.png", "ward/portrait-0.png"}
    assert reasons["portrait-1.png"].endswith("RuntimeError: portrait-1.png: too red, see notes.txt")


def test_a_reason_that_was_stored_with_a_path_is_shown_without(tmp_path):
    place = tmp_path / ROOT / "study"
    reason = f"cannot open '{place}/pictures/a b.png' with {tmp_path}/x.so"
    study = make_study(place, 3, failures=[Failure("a b.png", "read", reason)])
    text = study.report(figures=[]).read_text()
    assert "cannot open &#39;a b.png&#39; with x.so" in text
    assert ROOT not in text


@pytest.mark.matrix
def test_without_pictures_no_id_is_left(studies, root, monkeypatch, capsys):
    for study in studies:
        options = ["--no-pictures", "--figures", "sample_heatmap,views", "--format", "svg", "--quiet"]
        done = call(monkeypatch, capsys, "report", study.folder, *options)
        assert done.code == 0, done.err
        read = dict(texts(study.folder))
        read.pop("failures.parquet")
        for name, text in read.items():
            assert "portrait" not in text, (name, text[text.index("portrait") - 200 : text.index("portrait") + 200])
            assert ROOT not in text
        assert "fig09_sample_heatmap.svg" in read
        assert not {"fig01_attention.svg", "fig04a_views.svg"} & set(read)
        page = read["report.html"]
        assert "data:image/webp" not in page
        shown = set(re.findall(r"image-[0-9a-f]{8}\b", page))
        assert len(shown) == 9
        heatmap = set(re.findall(r"image-[0-9a-f]{8}\b", read["fig09_sample_heatmap.svg"]))
        assert len(heatmap) == 7
        assert heatmap <= shown
    study.report(figures=[])
    assert "portrait" in (study.folder / "report.html").read_text()
