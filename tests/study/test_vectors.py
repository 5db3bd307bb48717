"""Studies of vectors: the same tables as the study that the vectors are of, whatever they come in."""

import json
import logging
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal

import embedshift
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources.images import ToInput, decode
from embedshift.sources.vectors import VectorSet
from embedshift.store.redraw import redraw
from support import command, models, studies
from support.given_vectors import EMBEDDING, arrays, table
from support.matrix import first_only
from support.mean_colour import MeanColour

pytestmark = pytest.mark.slow

# Made from the means of all metrics, of which a study of vectors has fewer.
# Of what images show, too: their properties.
OF_ALL_METRICS = {"ranking", "claims", "content"}


@pytest.fixture(scope="module")
def study():
    """24 pictures under the paper's augmentations, with two draws, measured by an encoder."""
    return studies.measured(studies.pictures(24), models.Colours(), draws=2)


@pytest.fixture(scope="module")
def rows(study):
    return study.rows().select("image_id", "view", "draw", vector="embedding").collect()


@pytest.fixture(scope="module")
def again(rows, tmp_path_factory):
    # Other images first, since the order of rows must not matter.
    return embedshift.from_vectors(rows.sort("image_id", maintain_order=True), out=tmp_path_factory.mktemp("again"))


def test_what_no_study_can_be_made_of_is_one_line(tmp_path):
    for settings, words in (
        ({"variants": [np.eye(3)]}, "variants: give a mapping of name -> vectors, not list"),
        ({"ids": 3}, "`ids`: give a list of ids or a text file, not 3"),
        ({"ids": "none.txt"}, "none.txt: No such file"),
    ):
        with pytest.raises(UsageError, match=words):
            embedshift.from_vectors(**({"originals": np.eye(3), "variants": {}, "out": tmp_path} | settings))


def test_every_table_is_that_of_the_study_that_has_the_vectors(study, again):
    assert set(again.table_names) == set(study.table_names)
    filled = [name for name in again.table_names if len(again.table(name))]
    assert len(filled) >= 15, filled  # 24 images are too few for thresholds
    for name in sorted({*again.table_names} - OF_ALL_METRICS):
        ours, theirs = again.table(name), study.table(name)
        if "metric" in ours.columns and not {*theirs["metric"]} <= {*ours["metric"]}:
            theirs = theirs.filter(pl.col("metric").is_in(ours["metric"].unique().to_list()))
        assert_frame_equal(ours, theirs, abs_tol=1e-6, rel_tol=1e-6)
    ours, theirs = (each.claims().drop_nulls("estimate") for each in (again, study))
    both = ours.join(theirs, on="claim", suffix="_of_study")
    assert len(both) >= 8
    wanted = both.select("claim", estimate="estimate_of_study")
    assert_frame_equal(both.select("claim", "estimate"), wanted, abs_tol=1e-6)
    assert again.metrics == EMBEDDING
    cosine = again.summary().filter(metric=EMBEDDING[0]).select("augmentation", mean_performance="mean")
    assert_frame_equal(again.ranking().select("augmentation", "mean_performance"), cosine, abs_tol=1e-12)
    assert not again.verify().damaged


FORMS = {"torch": torch.tensor, "polars": pl.DataFrame, "pandas": pd.DataFrame, "lists": np.ndarray.tolist}


@pytest.mark.parametrize("form", first_only(["parquet", "npy", *FORMS]))
def test_vectors_may_come_in_any_form(form, tmp_path):
    original, views = arrays()
    expected = embedshift.from_vectors(original, views, out=tmp_path / "expected").summary()
    given, names = table(tmp_path, original, views), None
    if form == "npy":
        for name, array in (views | {"original": original}).items():
            np.save(tmp_path / f"{name}.npy", array)
        given, names = tmp_path / "original.npy", {name: tmp_path / f"{name}.npy" for name in views}
    elif form != "parquet":
        given, names = FORMS[form](original), {name: FORMS[form](array) for name, array in views.items()}
    found = embedshift.from_vectors(given, names, out=tmp_path / "found").summary()
    # Images of other names are in another order, which decides the resamples of intervals.
    same = ["augmentation", "metric", "mean", "sd", "baseline", "relative_shift"]
    assert_frame_equal(found.select(same), expected.select(same), abs_tol=1e-12)


@pytest.mark.parametrize("kind", first_only(["float16", "float64", "int8"]))
def test_numbers_are_read_as_what_they_are(kind, tmp_path):
    original, views = arrays()
    scale = 20 if kind == "int8" else 1
    original, views = (
        (scale * original).astype(kind),
        {name: (scale * array).astype(kind) for name, array in views.items()},
    )
    path = tmp_path / "vectors.parquet"
    matrix = np.concatenate([original, *views.values()])
    lists = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    names = [name for name in ("original", *views) for _ in original]
    ids = [str(number) for number in range(len(original))] * 3
    pq.write_table(pa.table({"image_id": ids, "view": names, "vector": lists}), path)
    study = embedshift.from_vectors(path, out=tmp_path / "study")
    for name, array in views.items():
        o, v = original.astype(np.float64), array.astype(np.float64)
        cosine = (o * v).sum(axis=1) / np.linalg.norm(o, axis=1) / np.linalg.norm(v, axis=1)
        found = study.summary().filter(augmentation=name)
        assert found.filter(metric="cosine_similarity")["mean"].item() == pytest.approx(cosine.mean(), abs=1e-6)
        distance = np.linalg.norm(o - v, axis=1).mean()
        assert found.filter(metric="l2_distance")["mean"].item() == pytest.approx(distance, rel=1e-6)


def test_a_number_that_is_none_is_a_failure_of_its_image_by_row(tmp_path):
    original, views = arrays()
    original[3, 0], views["b"][7, 2] = np.nan, np.inf
    study = embedshift.from_vectors(table(tmp_path, original, views), out=tmp_path / "study")
    failures = dict(study.failures().select("image_id", "reason").iter_rows())
    assert {*failures} == {"3.jpg", "7.jpg"}
    assert "vectors.parquet: row 3 has a number that is NaN or infinite" in failures["3.jpg"]
    assert f"row {2 * 12 + 7} " in failures["7.jpg"]
    assert study.summary()["n"].unique().to_list() == [10]
    original[:] = np.nan
    with pytest.raises(EmbedshiftError, match="no image could be measured: all 12 failed, first"):
        embedshift.from_vectors(original, views, out=tmp_path / "none")


@pytest.mark.parametrize("model", ["vectors", "named"])
def test_a_table_whose_views_have_exchanged_their_names_is_another_study(model, tmp_path):
    original, views = arrays()
    embedshift.from_vectors(table(tmp_path, original, views), out=tmp_path / "study", model=model)
    exchanged = table(tmp_path, original, dict(zip(("b", "a"), views.values(), strict=True)))
    with pytest.raises(UsageError, match=r"contains another study: .*vectors: "):
        embedshift.from_vectors(exchanged, out=tmp_path / "study", model=model)


@pytest.mark.matrix
def test_names_of_views_that_polars_would_read_as_patterns_are_names(tmp_path, cli):
    original, views = arrays(images=30)
    plain = {"a": views["a"], "ab": views["b"], "c": 0.5 * (views["a"] + views["b"])}
    odd = {"a": "*", "ab": "^a.*$", "c": "^.*$"}
    study = embedshift.from_vectors(original, plain, out=tmp_path / "plain")
    found = embedshift.from_vectors(original, {odd[name]: array for name, array in plain.items()}, out=tmp_path / "odd")
    assert found.table_names == study.table_names
    for name in study.table_names:
        expected = study.table(name).rename(lambda column: odd.get(column, column))
        texts = [column for column, kind in expected.schema.items() if kind == pl.String]
        expected = expected.with_columns(pl.col(texts).replace(odd))
        assert_frame_equal(found.table(name), expected, check_row_order=name != "ranking")
    rules = tmp_path / "rules.yaml"
    assert cli("check", found.folder, "--init", "--rules", rules).code == 0
    assert not embedshift.check(studies.copied(found, tmp_path / "copy"), rules, against=found).of("broken")
    assert found.report(formats=["svg"]).is_file()


@pytest.mark.parametrize("form", first_only(["parquet", "polars", "pandas"]))
def test_arrays_of_views_are_in_the_order_of_the_originals_frame(form, tmp_path):
    original, views = arrays()
    ids = np.random.default_rng(1).permutation(len(original))
    frame = pl.DataFrame({"image_id": ids, "vector": original.tolist()})
    if form == "parquet":
        frame.write_parquet(tmp_path / "vectors.parquet")
    given = {"polars": frame, "pandas": frame.to_pandas(), "parquet": tmp_path / "vectors.parquet"}[form]
    study = embedshift.from_vectors(given, views, out=tmp_path / "study")
    found = study.rows().filter(view="b").select("image_id", "cosine_similarity").collect()
    cosine = (original * views["b"]).sum(axis=1) / np.linalg.norm(original, axis=1) / np.linalg.norm(views["b"], axis=1)
    assert dict(found.iter_rows()) == pytest.approx(dict(zip(map(str, ids), cosine, strict=True)), abs=1e-6)
    per_row = embedshift.from_vectors(original, views, out=tmp_path / "rows", groups=np.arange(12) // 2)
    assert per_row.reader().info.groups.count == 6
    with pytest.raises(UsageError, match="`groups` is a list, which is for arrays"):
        embedshift.from_vectors(given, views, out=tmp_path / "other", groups=[1, 2] * 6)


@pytest.mark.parametrize("form", first_only(["parquet", "polars", "pandas"]))
def test_columns_may_have_other_names(form, tmp_path):
    original, views = arrays()
    path = table(tmp_path, original, views, path=[f"{number}.png" for number in range(12)])
    expected = embedshift.from_vectors(path, out=tmp_path / "expected").summary()
    frame = pl.read_parquet(path).rename({"image_id": "sku", "vector": "emb"})
    frame.write_parquet(path)
    given = {"polars": frame, "pandas": frame.to_pandas(), "parquet": path}[form]
    columns = {"id": "sku", "vector": "emb"}
    study = embedshift.from_vectors(given, out=tmp_path / "study", columns=columns)
    assert_frame_equal(study.summary(), expected)
    if form == "parquet":  # a report reads the table again, to find the images
        Image.new("RGB", (20, 10), (90, 50, 10)).save(tmp_path / "3.png")
        assert redrawn(study, "3.jpg")[0].views["original"][0, 0].tolist() == [90, 50, 10]


def test_a_wrong_mapping_of_columns_is_one_line(tmp_path):
    path = table(tmp_path, *arrays())
    for columns, words in (
        ({"vectr": "emb"}, "unknown key of `columns` 'vectr'; did you mean 'vector'\\? Known: id, view, vector, group"),
        ({"id": 3}, "`columns.id`: give the name of a column, not 3"),
        (["sku"], "`columns`: give a mapping such as"),
        ({"id": "sku"}, "has no column 'sku'; its columns are 'image_id', 'view', 'vector': name one by `columns.id`"),
    ):
        with pytest.raises(UsageError, match=words):
            embedshift.from_vectors(path, out=tmp_path / "study", columns=columns)


@pytest.mark.parametrize("as_integers", [False, True])
def test_a_masked_number_is_none(as_integers, tmp_path):
    original, views = arrays()
    original = (100 * original).astype(int if as_integers else float)
    masked = np.ma.array(original, mask=False)
    masked[3], masked[5, 2] = np.ma.masked, np.ma.masked
    for number, given in enumerate((masked, [*masked])):
        study = embedshift.from_vectors(given, views, out=tmp_path / str(number))
        assert sorted(study.failures()["image_id"]) == ["3", "5"]


def test_what_reads_no_pixel_works(tmp_path, cli):
    original, views = arrays(images=30)
    first, second = (
        embedshift.from_vectors(original * by, views, out=tmp_path / name, model=name)
        for name, by in {"first": 1, "second": 2}.items()
    )
    assert "second" in embedshift.compare([first, second]).verdict
    assert embedshift.fit_index(first, "whiten").mapped(original).shape == original.shape
    rules = ("--rules", tmp_path / "rules.yaml")
    assert cli("check", first.folder, *rules, "--init").code == 0
    done = cli("check", second.folder, *rules, "--against", first.folder)
    assert done.code in (0, 3), done.err
    assert cli("search", first.folder).code == 0
    assert "relative shift" in first.card().lower()


@pytest.mark.matrix
def test_neither_torch_nor_transformers_is_imported(tmp_path):
    original, views = arrays()
    program = (
        "import sys, embedshift; from embedshift.cli import app; app(sys.argv[1:], standalone_mode=False); "
        "embedshift.load(sys.argv[3]).report(figures=['clustermap'], formats=['svg']); "
        "assert not {'torch', 'transformers'} & {*sys.modules}; print('none of them')"
    )
    given = table(tmp_path, original, views)
    process = command.start_python(program, "vectors", "--out", tmp_path / "study", given, "--no-report")
    done = command.finish(process)
    assert done.out.endswith("none of them\n"), done.err
    assert "36 vectors of 8 numbers, without metrics of pixels and attention; disk: up to 0 MB in" in done.err
    report = (tmp_path / "study" / "report.html").read_text()
    assert report.count("no metrics of pixels and attention") == 1
    assert "attention similarity" not in report.lower()
    assert "moves the embedding of these vectors furthest" in " ".join(re.sub(r"<[^>]*>", "", report).split())
    assert "too few for a threshold for duplicates: 1 false match in 100 pairs needs 46" in report


def test_a_study_of_vectors_resumes_where_other_packages_are_installed(rows, tmp_path, monkeypatch):
    shown = rows.filter(pl.col("draw") == 0).drop("draw")
    study = embedshift.from_vectors(shown, out=tmp_path / "study")
    began = json.loads((study.folder / "study.json").read_text())
    monkeypatch.setattr("embedshift.pipeline.identity.versions", lambda packages: {})
    again = embedshift.from_vectors(shown, out=tmp_path / "study").info()
    assert (again["config_hash"], again["identity"]) == (began["config_hash"], began["identity"])
    assert embedshift.from_vectors(shown, out=tmp_path / "base").info()["identity"]["versions"] == {}
    with pytest.raises(UsageError, match="contains another study"):
        embedshift.from_vectors(shown.with_columns(pl.col("image_id") + "x"), out=tmp_path / "study")


def test_without_the_extra_encode_one_line_says_what_to_install(study, tmp_path, monkeypatch):
    with_pictures = studies.copied(study, tmp_path / "study")
    monkeypatch.setattr("embedshift.registry.extras.importlib.util.find_spec", lambda name: None)
    install = re.escape("needs the extra 'encode': pip install 'embedshift[encode]'")
    for make in (
        lambda: embedshift.run(tmp_path, out=tmp_path / "new"),
        lambda: embedshift.write_views(tmp_path, out=tmp_path / "new"),
        lambda: embedshift.attack(tmp_path, out=tmp_path / "new"),
    ):
        with pytest.raises(EmbedshiftError, match=install):
            make()
    assert not (tmp_path / "new").exists()
    drawn, missing = redraw(with_pictures.reader(), ["image-00000.png"])
    assert not drawn
    assert "embedshift[encode]" in missing["image-00000.png"]


# Vectors whose images are known, and those of written views, which views.json describes.
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


@pytest.mark.matrix
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
    image, view = pl.col("image_id").replace("picture-00.webp", "a.webp"), pl.col("view").replace("jpeg@1", "jpg")
    for other, words in (
        (rows.with_columns(image), r"row 0 has the image_id 'a.webp', which views\.json does not have"),
        (rows.with_columns(view), r"has the view 'jpg', which views\.json does not have"),
        (rows.filter(draw=0), "has 2 draws, the vectors 1"),
    ):
        with pytest.raises(UsageError, match=words):
            embedshift.from_vectors(other, views=str(file), out=tmp_path)
    # Half a character.
    text, odd = file.read_text(), file.with_name("odd.json")
    name, image = next(iter(json.loads(text)["images"].items()))
    for change in (
        lambda content: content["images"].update({"\ud800.png": image}),
        lambda content: content["images"][name].update(caption="\ud800"),
        lambda content: content["augmentations"].update({"\ud800": content["augmentations"]["jpeg@1"]}),
        lambda content: content["failures"].append({"image_id": "\ud800", "stage": "read", "reason": "none"}),
    ):
        content = json.loads(text)
        change(content)
        odd.write_text(json.dumps(content))
        with pytest.raises(UsageError, match=r"odd\.json: not a file written by `embedshift views`"):
            embedshift.from_vectors(rows, views=str(odd), out=tmp_path)


def test_names_of_columns_are_not_ignored_silently_for_an_array(tmp_path, caplog):
    np.save(file := tmp_path / "vectors.npy", np.eye(3, dtype=np.float32))
    with caplog.at_level(logging.WARNING):
        assert len(VectorSet.open(file, columns={"id": "sku"})) == 3
    assert caplog.messages == [f"{file}: an array has no columns; `columns` is not used for it"]
