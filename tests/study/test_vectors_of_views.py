"""Studies of vectors whose images are known: shown in reports, and described by the views.json of written views."""

import json

import polars as pl
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

import embedshift
from embedshift.errors import UsageError
from embedshift.sources.images import ToInput, decode
from support import studies
from support.given_vectors import EMBEDDING, arrays, table
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow


@pytest.mark.matrix
def test_images_are_shown_where_their_place_is_known(tmp_path):
    original, views = arrays()
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(len(original)):
        Image.new("RGB", (20, 10), (20 * number, 50, 90)).save(photos / f"{number}.png")
    by_path = table(tmp_path, original, views, path=[f"photos/{number}.png" for number in range(len(original))])
    studied = embedshift.from_vectors(by_path, out=tmp_path / "path")
    in_folder = embedshift.from_vectors(
        original, views, out=tmp_path / "folder", images=str(photos), ids=[f"{n}.png" for n in range(len(original))]
    )
    nowhere = embedshift.from_vectors(original, views, out=tmp_path / "nowhere")
    for study, image_id in ((studied, "3.jpg"), (in_folder, "3.png")):
        assert study.reader().shows_images
        (image,) = redrawn(study, image_id)
        assert image.views["original"][0, 0].tolist() == [60, 50, 90]
    assert "the vectors do not say where" in nowhere.reader().unseen
    with pytest.raises(UsageError, match="has no image with an id of these vectors"):
        embedshift.from_vectors(original, views, out=tmp_path / "other", images=str(photos))


def redrawn(study, image_id):
    from embedshift.store.redraw import redraw

    images, missing = redraw(study.reader(), [image_id])
    assert not missing
    return images


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Views of families written as files, a study of the files, and their vectors by another way."""
    folder = tmp_path_factory.mktemp("written")
    suite = {"augmentations": "strength", "families": ("jpeg", "rotation"), "levels": 2}
    views = embedshift.write_views(studies.pictures(9), out=folder / "views", draws=2, seed=3, workers=0, **suite)
    file = folder / "views" / "views.json"
    study = embedshift.run(file, pairs=file, model=MeanColour(), out=folder / "measured", workers=0)
    to_input, encoder, rows = ToInput(MeanColour.size, "crop"), MeanColour(), []
    for view in ("original", *views.folders):
        name, _, draw = view.partition("/")
        for path in sorted((folder / "views" / view).iterdir()):
            vector = encoder(to_input(decode(path.read_bytes()))[None]).embedding[0]
            # As another program names them: with the ending of the file that it embedded.
            rows.append(
                {"image_id": f"{path.stem}.webp", "view": name, "draw": int(draw or 0), "vector": vector.tolist()}
            )
    return file, study, pl.DataFrame(rows)


def test_written_views_that_something_else_embedded_give_the_study_of_their_files(written, tmp_path):
    file, study, rows = written
    found = embedshift.from_vectors(rows, views=str(file), out=tmp_path / "found")
    assert found.reader().families == study.reader().families
    assert found.info()["descriptions"] == study.info()["descriptions"]
    for name in ("summary", "strength", "tolerance", "search", "directions"):
        ours, theirs = found.table(name), study.table(name)
        theirs = theirs.filter(pl.col("metric").is_in(EMBEDDING)) if name in ("summary", "strength") else theirs
        assert_frame_equal(ours, theirs, abs_tol=1e-6)
    assert json.dumps(embedshift.compare([study, found]).to_dicts())
    (image,) = redrawn(found, "picture-03.png")
    assert {"original", *found.augmentations} == {*image.views}


def test_captions_are_those_of_the_table_else_of_views_json(written, tmp_path):
    file, _, rows = written
    content = json.loads(file.read_text())
    for number in (2, 3):
        content["images"][f"picture-0{number}.png"]["caption"] = f"written {number}"
    with_captions = file.with_name("with_captions.json")
    with_captions.write_text(json.dumps(content))
    own = rows.with_columns(
        caption=pl.when((pl.col("image_id") == "picture-03.webp") & (pl.col("view") == "original")).then(pl.lit("own"))
    )
    study = embedshift.from_vectors(own, views=str(with_captions), out=tmp_path / "study")
    captions = dict(study.rows().filter(view="original").select("image_id", "caption").collect().iter_rows())
    assert {name: text for name, text in captions.items() if text is not None} == {
        "picture-02.png": "written 2",
        "picture-03.png": "own",
    }


@pytest.mark.parametrize("columns", [("draw", "group", "caption", "path"), ("label", "other")])
def test_each_column_of_a_table_is_used_or_named(columns, tmp_path, caplog):
    original, views = arrays()
    cells = {
        name: [0] * 12 if name == "draw" else [f"{name} {number // 2}" for number in range(12)] for name in columns
    }
    given = table(tmp_path, original, views, **cells)
    with caplog.at_level("INFO", "embedshift"):
        study = embedshift.from_vectors(given, out=tmp_path / "study")
    named = [record.message for record in caplog.records if "not used" in record.message]
    if "label" in columns:
        assert named == [f"{given}: columns that are not used: label, other"]
        return
    assert named == []
    assert study.reader().info.groups.count == 6
    assert study.rows().collect()["caption"].unique().sort().to_list()[-1] == "caption 5"
    assert study.info()["source"]["root"] == str(tmp_path)


def test_views_json_is_checked(written, tmp_path):
    file, _, rows = written
    other = rows.with_columns(pl.col("image_id").replace("picture-00.webp", "other.webp"))
    with pytest.raises(UsageError, match=r"row 0 has the image_id 'other.webp', which views\.json does not have"):
        embedshift.from_vectors(other, views=str(file), out=tmp_path)
    other = rows.with_columns(pl.col("view").replace("jpeg@1", "jpg"))
    with pytest.raises(UsageError, match=r"has the view 'jpg', which views\.json does not have"):
        embedshift.from_vectors(other, views=str(file), out=tmp_path)
    with pytest.raises(UsageError, match="has 2 draws, the vectors 1"):
        embedshift.from_vectors(rows.filter(draw=0), views=str(file), out=tmp_path)


@pytest.mark.parametrize("place", ["id", "caption", "view", "failure"])
def test_half_a_character_in_views_json_is_one_line(place, written, tmp_path):
    file, _, rows = written
    content = json.loads(file.read_text())
    name, image = next(iter(content["images"].items()))
    {
        "id": lambda: content["images"].update({"\ud800.png": image}),
        "caption": lambda: content["images"][name].update(caption="\ud800"),
        "view": lambda: content["augmentations"].update({"\ud800": content["augmentations"]["jpeg@1"]}),
        "failure": lambda: content["failures"].append({"image_id": "\ud800", "stage": "read", "reason": "none"}),
    }[place]()
    odd = file.with_name("odd.json")
    odd.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"odd\.json: not a file written by `embedshift views`"):
        embedshift.from_vectors(rows, views=str(odd), out=tmp_path)
