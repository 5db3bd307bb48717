"""Names in archives never become paths: nothing is written or read beside what the user named."""

import pytest

import embedshift
from support.archives import write_parquet, write_tar
from support.command import call
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = pytest.mark.slow

NAMES = [
    "../../x.jpg",
    "/etc/absolute.jpg",
    "a/../../../y.jpg",
    "C:\\z.jpg",
    "~/w.jpg",
    "shards/part-00000.parquet.jpg",
]


@pytest.fixture(params=first_only(["tar", "parquet"]))
def archive(request, tmp_path):
    """Eight good images under hostile names, two directories below an empty one."""
    deep = tmp_path / "outside" / "inside" / "deep"
    deep.mkdir(parents=True)
    data = [path.read_bytes() for path in sorted(pictures(tmp_path / "made", len(NAMES) + 1).iterdir())]

    members = [*zip(NAMES, data, strict=False), ("good.png", data[-1])]
    write = {"tar": write_tar, "parquet": write_parquet}[request.param]
    return write(deep / f"a.{request.param}", members)


def files(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def test_nothing_leaves_the_folder(archive, tmp_path, monkeypatch, capsys):
    before = files(tmp_path)
    out = archive.parent / "study"
    monkeypatch.chdir(archive.parent)
    study = embedshift.run(
        archive, out=out, model=MeanColour(), augmentations={"dark": lambda image, rng: image // 2}, workers=0
    )
    ids = set(study.rows().collect()["image_id"]) | set(study.failures()["image_id"])
    assert "good.png" in ids
    assert ids == {*NAMES, "good.png"}
    hostile = sorted(ids - {"good.png"})
    done = call(monkeypatch, capsys, "report", out, "--images", ",".join(hostile[:2]), "--figures", "views,attention")
    assert done.code in (0, 2), done.err
    assert "Traceback" not in done.err
    study.report(figures=["views"], formats=["svg"], images=[hostile[0]])
    new = files(tmp_path) - before
    assert new
    assert all(path.is_relative_to(out) for path in new)
    allowed = {"study.json", "report.html", "failures.parquet", ".lock"}
    for path in new:
        place = path.relative_to(out).parts
        assert place[0] in {"shards", "tables", "figures"} or path.name in allowed, path


@pytest.mark.parametrize("name", first_only(["../../etc/passwd", "/etc/passwd", "..", ""]))
def test_an_id_that_is_asked_for_is_no_path(name, tmp_path):
    study = embedshift.run(
        pictures(tmp_path / "photos", 2),
        out=tmp_path / "study",
        model=MeanColour(),
        augmentations={"dark": lambda image, rng: image // 2},
        workers=0,
    )
    with pytest.raises(embedshift.EmbedshiftError):
        study.report(figures=["views"], formats=["svg"], images=[name])
