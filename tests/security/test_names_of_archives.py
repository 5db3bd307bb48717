"""Names in archives never become paths: nothing is written or read beside what the user named."""

import pytest

import embedshift
from support.archives import write_parquet, write_tar
from support.command import call
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.models import pictures

pytestmark = pytest.mark.slow

NAMES = ["../../x.jpg", "/etc/absolute.jpg", "a/../../y.jpg", "C:\\z.jpg", "~/w.jpg", "shards/part-00000.parquet.jpg"]


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
    before, out = files(tmp_path), archive.parent / "study"
    monkeypatch.chdir(archive.parent)
    dark = {"dark": lambda image, rng: image // 2}
    study = embedshift.run(archive, out=out, model=MeanColour(), augmentations=dark, workers=0)
    assert set(study.rows().collect()["image_id"]) == {*NAMES, "good.png"}
    done = call(monkeypatch, capsys, "report", out, "--images", ",".join(NAMES[:2]), "--figures", "views,attention")
    assert done.code in (0, 2), done.err
    assert "Traceback" not in done.err
    study.report(figures=["views"], formats=["svg"], images=[NAMES[0]])
    for name in ("../../etc/passwd", "/etc/passwd", ""):  # an id that is asked for is no path either
        with pytest.raises(embedshift.EmbedshiftError):
            study.report(figures=["views"], formats=["svg"], images=[name])
    new = files(tmp_path) - before
    assert new
    for path in new:
        place = path.relative_to(out).parts
        allowed = {"study.json", "report.html", "failures.parquet", ".lock"}
        assert place[0] in {"shards", "tables", "figures"} or path.name in allowed, path
