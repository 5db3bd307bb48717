"""No member of a tar vanishes: whatever its name is, it is measured or counted with a reason."""

import io
import tarfile

import pytest

import embedshift
from embedshift.sources import open_source
from support.archives import write_tar
from support.mean_colour import MeanColour
from support.models import pictures

MEASURED = [
    "../up.jpg",
    "../../far/up.png",
    "a/../b.jpg",
    "a/./c.jpg",
    "a/..",
    "/absolute.jpg",
    "//twice//absolute.jpg",
    "...jpg",
    "a/...png",
    "..jpg",
    "C:\\windows.jpg",
    "~/home.jpg",
    "name with spaces .jpg",
    " .png",
    "-rf.jpg",
    "line\nend.jpg",
    "tab\t.jpg",
    "\x1b[31mred.jpg",
    "é.jpg",
    "e\u0301.jpg",
    "\u202egpj.exe.jpg",
    "a" * 300 + ".jpg",
    "%2e%2e/percent.jpg",
    "a#1.jpg",
    "a?b=c.jpg",
    "CON.jpg",
    "trailing.jpg.",
    "UPPER.JPEG",
]
HIDDEN = [".hidden.jpg", "a/.hidden.jpg", ".folder/a.jpg", "__MACOSX/._a.jpg", "../.hidden.jpg", "...a/b.jpg"]
OTHER = ["a.exe", "a/..", "trailing.jpg.", "no ending"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return next(pictures(tmp_path_factory.mktemp("made"), 1).iterdir()).read_bytes()


def test_every_member_is_measured_or_counted(tmp_path, data):
    names = [*dict.fromkeys([*MEASURED, *HIDDEN, *OTHER])]
    source = open_source([str(write_tar(tmp_path / "a.tar", [(name, data) for name in names]))])
    wanted = [name for name in MEASURED if name not in OTHER and name not in ("...jpg", "a/...png", "..jpg")]
    assert [sample.image_id for sample in source.samples] == wanted
    assert all(source.read(sample) == data for sample in source.samples)
    assert len(source.samples) + sum(source.skipped.values()) == len(names)
    assert source.skipped["hidden"] == len(HIDDEN) + 3


@pytest.mark.slow
def test_a_name_that_leads_out_is_measured_under_it(tmp_path, data):
    path = write_tar(tmp_path / "a.tar", [("../../a.png", data), ("/b.png", data)])
    study = embedshift.run(path, out=tmp_path / "study", model=MeanColour(), workers=0)
    assert set(study.rows().collect()["image_id"]) == {"../../a.png", "/b.png"}
    assert not list(tmp_path.parent.glob("a.png"))


def test_captions_and_links_of_such_names_are_found(tmp_path, data):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as made:
        for name, content in (("../a.png", data), ("../a.txt", b"a caption")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("../b.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        made.addfile(link)
    first, second = open_source([str(path)]).samples
    assert (first.image_id, first.caption, first.problem) == ("../a.png", "a caption", None)
    assert (second.image_id, second.problem) == ("../b.png", None)
    assert (second.position, second.length) == (first.position, first.length)


@pytest.mark.slow
def test_the_study_says_how_many_were_hidden(tmp_path, data):
    path = write_tar(tmp_path / "a.tar", [("a.png", data), *[(name, data) for name in HIDDEN]])
    study = embedshift.run(path, out=tmp_path / "study", model=MeanColour(), workers=0)
    assert study.info()["counts"]["skipped"] == {"hidden": len(HIDDEN)}
