"""A study from somebody else is data: images are read below the user's own roots alone."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

import embedshift
from embedshift.errors import EmbedshiftError
from embedshift.sources import Roots, image_reader, remember_roots
from embedshift.sources.roots import state_file
from embedshift.store.info import write_content
from embedshift.store.redraw import redraw
from support import studies
from support.models import Colours, pictures

pytestmark = pytest.mark.slow

LINE = "this user has not run embedshift on the image folders named in this study"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """A user who has run nothing yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "embedshift" / "roots"


def say(study, **source):
    info = study.info()
    write_content(study.folder, info | {"source": info["source"] | source})


def shown(study):
    return (study.folder / "report.html").read_text().count("data:image/webp")


@pytest.fixture
def study(tmp_path):
    return studies.copied(studies.synthetic(4, ["noise", "blur"], with_pictures=True), tmp_path / "study")


def test_a_run_notes_its_roots_once(state, tmp_path):
    photos = pictures(tmp_path / "photos", 2)
    (tmp_path / "link").symlink_to(photos)
    for name in ("photos", "link"):
        embedshift.run(tmp_path / name, out=tmp_path / "out", model=Colours(), families=["noise"], workers=0)
    assert [json.loads(line) for line in state.read_text().splitlines()] == [str(photos)]
    assert [path.name for path in state.parent.iterdir()] == ["roots"]


def test_roots_of_every_kind(state, tmp_path):
    remember_roots({"kind": "tar", "paths": ["/data/a.tar", "s3://bucket/b.tar/"], "variants": {"v": {"kind": "folder", "root": "/v", "paths": ["/v/list.txt"]}}})  # fmt: skip  # noqa: E501
    remember_roots({"kind": "parquet", "paths": ["/data/c.parquet#webp", "file:///data/d.parquet"]})
    remember_roots({"kind": "folder", "root": "/"})
    found = [json.loads(line) for line in state.read_text().splitlines()]
    assert found == ["/data/a.tar", "s3://bucket/b.tar", "/v", "/v/list.txt", "/data/c.parquet", "/data/d.parquet"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b"{}\n1\n", b"not json\n"])
def test_a_state_file_that_is_none_names_no_root(content, state):
    state.parent.mkdir(parents=True)
    state.write_bytes(content)
    assert Roots.allowed().places == ()


def test_a_state_folder_that_cannot_be_written_is_no_error(state, tmp_path, monkeypatch):
    (tmp_path / "state").write_text("")
    remember_roots({"kind": "folder", "root": "/data"})
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_file() == tmp_path / "home" / ".local" / "state" / "embedshift" / "roots"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # no home at all
    remember_roots({"kind": "folder", "root": "/data"})
    assert Roots.allowed().places == ()
    assert not (tmp_path / "home").exists()


INSIDE = ["/data", "/data/a.png", "/data/b/c.png", "s3://b/photos/x.png", "file:///data/a.png", "/data/p.parquet#webp"]
OUTSIDE = [
    "/database/a.png", "/data/../etc/a.png", "/", "/etc", "s3://b/photos-2/x.png", "s3://b/photos/../x.png", "s3://b",
    "http://b/photos/x.png", "file:///etc/a.png", "simplecache::file:///data/a.png", "a.png",
]  # fmt: skip


def test_what_lies_below_a_root():
    roots = Roots(["/data", "s3://b/photos"])
    for place in INSIDE:
        roots.check(place)
    for place in OUTSIDE:
        with pytest.raises(EmbedshiftError, match="outside the folders from which images may be read"):
            roots.check(place)


def test_a_foreign_study_shows_no_image_and_says_so_once(study, state, cli):
    study.report(figures=["views"], formats=["svg"])
    assert shown(study) > 0
    state.unlink()
    done = cli("report", study.folder, "--figures", "views,dendrogram")
    assert done.code == 0
    assert " ".join(done.err.split()).count(LINE) == 1
    assert "--images-root" in done.err
    assert "omits" not in done.err
    page = (study.folder / "report.html").read_text()
    assert page.count(LINE) == 1
    assert "--images-root" in page
    assert "image-00001.png" in page
    assert shown(study) == 0
    assert not list((study.folder / "figures").glob("fig04a*"))
    with pytest.raises(EmbedshiftError, match="no image to show"):
        study.figure("views")


@pytest.mark.matrix
def test_images_root_shows_them_on_another_machine(study, state, tmp_path, cli):
    state.unlink()
    shutil.move(study.folder / "pictures", tmp_path / "elsewhere")
    assert cli("report", study.folder, "--images-root", tmp_path / "elsewhere").code == 0
    assert shown(study) > 0
    assert LINE not in (study.folder / "report.html").read_text()
    refused = cli("report", study.folder, "--images-root", tmp_path / "none")
    assert (refused.code, refused.line) == (2, f"error: --images-root: {tmp_path / 'none'}: no such folder")


@pytest.mark.parametrize(
    "source", [{"root": "/etc"}, {"root": "/"}, {"kind": "url", "paths": ["file:///etc"]}, {"root": "photos/../.."},
               {"kind": "tar", "paths": ["/etc/a.tar"]}],
)  # fmt: skip
def test_a_study_names_no_place_of_its_own_choice(source, study):
    say(study, **source)
    assert study.reader().unseen
    found, missing = redraw(study.reader(), ["image-00000.png"])
    assert found == []
    assert "outside the folders" in missing["image-00000.png"] or not source.get("paths")


def test_links_and_ids_that_lead_out_of_a_root_are_refused(study, tmp_path):
    secret, (a, b) = pictures(tmp_path / "secret", 1), ("image-00000.png", "image-00001.png")
    (study.folder / "pictures" / b).unlink()
    (study.folder / "pictures" / b).symlink_to(secret / "picture-00.png")
    found, missing = redraw(study.reader(), [a, b])
    assert [image.image_id for image in found] == [a]
    assert missing == {b: "it is outside the folders from which images may be read"}
    read = image_reader(study.reader().source, study.reader().roots)
    assert read(a)
    for name in ("../../secret/picture-00.png", str(secret / "picture-00.png")):
        with pytest.raises(EmbedshiftError, match="outside"):
            read(name)


def test_an_image_that_has_changed_is_not_shown_beside_old_numbers(study):
    place = study.folder / "pictures" / "image-00002.png"
    Image.new("RGB", (40, 32), "red").save(place)
    found, missing = redraw(study.reader(), ["image-00001.png", "image-00002.png"])
    assert [image.image_id for image in found] == ["image-00001.png"]
    assert missing == {"image-00002.png": "it has changed since it was measured"}
    study.report(figures=[])
    assert "it has changed since it was measured" in (study.folder / "report.html").read_text()
    place = study.folder / "pictures" / "image-00001.png"
    Image.open(place).save(place, format="PNG", compress_level=0)
    assert redraw(study.reader(), ["image-00001.png"])[1] == {}, "the same pixels in another file"


@pytest.mark.matrix
def test_variants_below_another_folder(tmp_path, state):
    photos, small = pictures(tmp_path / "data" / "photos", 3), tmp_path / "data" / "small"
    shutil.copytree(photos, small)
    study = embedshift.run(photos, pairs=[str(small)], out=tmp_path / "study", model=Colours(), workers=0)
    assert redraw(study.reader(), ["picture-00.png"])[0][0].views.keys() == {"original", "small"}
    state.unlink()
    shutil.move(photos, tmp_path / "here")
    shutil.move(small, tmp_path / "here" / "small")
    study.report(figures=[], images_root=tmp_path / "here")
    assert shown(study) > 0


def test_images_of_several_places_have_their_folders_for_roots(state, tmp_path):
    """Nothing but `/` is common to them, and that is no root."""
    remember_roots({"kind": "folder", "root": "/"}, [str(tmp_path / "a" / "1.png"), "/elsewhere/2.png"])
    assert Roots.allowed().check(str(tmp_path / "a" / "1.png")) is None
    assert Roots.allowed().check("/elsewhere/2.png") is None
    for other in ("/etc/passwd", str(tmp_path / "b" / "1.png")):
        with pytest.raises(EmbedshiftError):
            Roots.allowed().check(other)


def test_runs_at_once_lose_no_root(state):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: remember_roots({"kind": "folder", "root": f"/data/{n}"}), range(200)))
    for n in range(200):
        Roots.allowed().check(f"/data/{n}/a.png")


def test_a_line_that_was_cut_costs_no_other(state):
    remember_roots({"kind": "folder", "root": "/data/a"})
    with state_file().open("a") as file:
        file.write('"/data/b')
    remember_roots({"kind": "folder", "root": "/data/c"})
    for root in ("/data/a", "/data/c"):
        Roots.allowed().check(root)
