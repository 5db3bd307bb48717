"""`embedshift.upgrade` and its command: studies and tables, files, sentences, rules, and what is refused in a line."""

import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest
import scipy

import embedshift
from embedshift.errors import UsageError
from embedshift.questions.upgrade.maps import MapKind
from embedshift.questions.upgrade.result import verdict_of
from embedshift.questions.upgrade.sides import drawn
from embedshift.statistics.judged import Outcomes, judge
from embedshift.store.info import read_content, write_content
from support import studies
from support.matrix import first_only

pytestmark = pytest.mark.slow

AS_THEY_ARE, THROUGH, RE_ENCODE, UNDECIDED = "as they are", "through the map", "re-encode", "not decided"
COLUMNS = ["deployment", "map", "augmentation", "metric", "n", "value", "ci_low", "ci_high"]
COLUMNS += ["difference", "difference_low", "difference_high"]


def vectors(images=120, dim=12, seed=0):
    """Originals and three changes, `[images, 4, dim]`."""
    rng = np.random.default_rng(seed)
    base = rng.normal(size=(images, 1, dim))
    return np.concatenate([base, base + 0.3 * rng.normal(size=(images, 3, dim))], axis=1) + 0.2


def turned(new, size=None, seed=1):
    rng = np.random.default_rng(seed)
    return 3 * new @ np.linalg.qr(rng.normal(size=(new.shape[2], new.shape[2])))[0][:, :size] + 0.5


def table(path, numbers, ids=None, views=("original", "blur", "crop", "grey"), order=None):
    ids = [f"image {place}" for place in range(len(numbers))] if ids is None else ids
    rows = [(image, view, numbers[i, v].tolist()) for i, image in enumerate(ids) for v, view in enumerate(views)]
    rows = rows if order is None else [rows[place] for place in order]
    pl.DataFrame(rows, schema=["image_id", "view", "vector"], orient="row").write_parquet(path)
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder, new = tmp_path_factory.mktemp("upgrade"), vectors()
    return table(folder / "old.parquet", turned(new)), table(folder / "new.parquet", new)


@pytest.fixture(scope="module")
def found(places):
    return embedshift.upgrade(*places, recall_margin=0.2, false_match_rate=0.02)


def test_the_table_has_its_columns_deployments_and_a_map_but_for_old_and_new(found):
    assert found.table.columns == COLUMNS
    deployments = found.table["deployment"].unique(maintain_order=True).to_list()
    assert deployments == ["old", "new", "bridge", "mixed@0.1", "mixed@0.5", "mixed@0.9"]
    has_map = found.table.filter(pl.col("map").is_not_null())
    assert set(has_map["deployment"]) == {*deployments[2:]}
    assert set(has_map["map"]) == {"orthogonal"}
    metrics = {"recall@1", "recall@10", "matched@0.001", "neighbours@10", "false_matches", "false_matches@carried"}
    assert set(found.table["metric"]) == metrics
    assert set(found.table["augmentation"]) == {"original", "blur", "crop", "grey", "all"}
    assert found.verdict.decision == THROUGH
    assert found.lines[0].startswith("Through the map orthogonal: new queries in the old index lose nothing")


def test_rows_and_changes_may_be_in_any_order(found, places, tmp_path):
    rng, new = np.random.default_rng(3), vectors()
    other = table(tmp_path / "new.parquet", new, order=rng.permutation(480))
    again = embedshift.upgrade(places[0], other, recall_margin=0.2, false_match_rate=0.02)
    assert again.table.equals(found.table)


@pytest.mark.parametrize(("size", "unit"), first_only([(8, True), (None, True), (8, False), (None, False)]))
def test_numpy_class_and_onnx_agree_and_the_map_is_exact(size, unit, tmp_path):
    new = vectors()
    new, old = (
        (new / np.linalg.norm(new, axis=2, keepdims=True), turned(new, size)) if unit else (new, turned(new, size))
    )
    old = (old - 0.5) / np.linalg.norm(old - 0.5, axis=2, keepdims=True) if unit else old
    places = table(tmp_path / "old.parquet", old), table(tmp_path / "new.parquet", new)
    graph, file = tmp_path / "map.onnx", tmp_path / "map.npz"
    made = embedshift.upgrade(*places, out=file, onnx=graph, recall_margin=0.2)
    onnx.checker.check_model(str(graph), full_check=True)
    asked = new.reshape(-1, 12).astype(np.float32)
    by_class = embedshift.Whitening.load(file)(asked)
    assert np.array_equal(by_class, made.map(asked))
    run = onnxruntime.InferenceSession(str(graph)).run(None, {"embeddings": asked})[0]
    assert np.abs(run - by_class).max() < 1e-6
    content = np.load(file, allow_pickle=False)
    x = asked.astype(np.float64)
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if content["is_unit"][0] else x
    x = (x - content["mean"]) @ content["matrix"] + content["offset"]
    x = x / np.linalg.norm(x, axis=1, keepdims=True) if content["is_unit"][1] else x
    assert np.abs(x - by_class).max() < 1e-6
    if size is None:
        assert np.abs(by_class.reshape(old.shape) - old).max() < 1e-5
    assert tuple(content["is_unit"]) == (unit, unit)


def test_a_map_of_queries_whitens_no_study(places, tmp_path, cli):
    embedshift.upgrade(*places, out=tmp_path / "map.npz")
    study = studies.synthetic(40, ["noise", "blur", "horizontal_flip"], dim=6)
    done = cli("search", study.folder, "--index", tmp_path / "map.npz")
    assert (done.code, "map.npz: a map of `embedshift upgrade`, which is for queries" in done.line) == (2, True)


def recall(lost, gained=(0,), images=400):
    """A judged recall whose changes lose and gain some images of all."""
    old = np.ones((images, 1, len(lost)))
    new = old.copy()
    for place, (less, more) in enumerate(zip(lost, gained * len(lost), strict=False)):
        new[:less, 0, place] = 0
        old[images - more : images if more else 0, 0, place] = 0
    return judge(Outcomes(old), Outcomes(new), seed=0)


@pytest.mark.parametrize(
    ("lost", "kind", "margin", "decision"),
    [
        ([0, 0], "identity", 0.01, AS_THEY_ARE),
        ([4, 0], "ridge", 0.05, THROUGH),
        ([60, 0], "ridge", 0.05, RE_ENCODE),
        ([2, 0], "identity", 0.01, UNDECIDED),
        ([25, 0], "ridge", 0.05, UNDECIDED),
    ],
)
def test_the_decision_follows_the_intervals(lost, kind, margin, decision):
    verdict = verdict_of(recall(lost), ["blur", "crop"], kind, margin, 400, 80)
    assert verdict.decision == decision
    assert verdict.lost == pytest.approx(lost[0] / 400)
    assert (verdict.needed is not None) == (decision == UNDECIDED)
    words = {AS_THEY_ARE: "As they are: ", THROUGH: "Through the map ridge: ", RE_ENCODE: "Re-encode: "}
    assert verdict.sentence().startswith(words.get(decision, "Not decided: about "))


def test_one_change_of_many_that_loses_by_chance_does_not_mean_re_encode():
    names = [f"change {place}" for place in range(16)]
    few, many = recall([14]), recall([14] + [0] * 15)
    assert verdict_of(few, names[:1], "ridge", 0.02, 400, 80).decision == RE_ENCODE
    assert verdict_of(many, names, "ridge", 0.02, 400, 80).decision == UNDECIDED


def test_the_loss_by_noise_is_that_of_a_loop(tmp_path, monkeypatch):
    monkeypatch.setattr("embedshift.questions.upgrade.maps.kinds", lambda both: iter([MapKind("orthogonal")]))
    new = vectors()
    old = turned(new)
    old[:, 0] += 2.5 * np.random.default_rng(7).normal(size=old[:, 0].shape)
    places = table(tmp_path / "old.parquet", old), table(tmp_path / "new.parquet", new)
    made = embedshift.upgrade(*places, recall_margin=0.2)
    assert made.map.name == "orthogonal"
    order = [int(name.removeprefix("image ")) for name in drawn([f"image {place}" for place in range(120)], 0)]
    old, new, lost, folds = old[order], new[order], np.zeros(2), np.arange(120) % 5
    for fold in range(5):
        inside, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        x, y = new[others, 0], old[others, 0]
        middle, end = x.mean(axis=0), y.mean(axis=0)
        turn, size = scipy.linalg.orthogonal_procrustes(x - middle, y - end)
        through = (new[:, 1] - middle) @ turn * size / ((x - middle) ** 2).sum() + end
        for place, queries in enumerate((old[:, 1], through)):
            for i in inside:
                cosines = [
                    queries[i] @ old[j, 0] / np.linalg.norm(queries[i]) / np.linalg.norm(old[j, 0]) for j in inside
                ]
                lost[place] += inside[int(np.argmax(cosines))] != i
    assert lost[0] != lost[1]
    for name, each in zip(("old", "bridge"), lost, strict=True):
        row = made.table.filter(deployment=name, augmentation="blur", metric="recall@1").row(0, named=True)
        assert row["value"] == pytest.approx(1 - each / 120)
    assert row["difference"] == pytest.approx((lost[0] - lost[1]) / 120)


BAD = {
    "other images": (lambda new: {"ids": [f"other {place}" for place in range(len(new))]}, "has other images than"),
    "other changes": (lambda new: {"views": ("original", "blur", "crop", "dark")}, "has other changes than"),
    "twice": (lambda new: {"ids": ["one"] * len(new)}, "image 'one' has 120 vectors of 'original'; give one"),
    "no originals": (
        lambda new: {"views": ("a", "b", "c", "d")},
        "has no vector of an 'original'; its views are 'a', 'b', 'c', 'd': rename one",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_other_images_or_changes_are_refused_in_a_line(name, places, tmp_path):
    change, words = BAD[name]
    wrong = table(tmp_path / "new.parquet", vectors(), **change(vectors()))
    with pytest.raises(UsageError, match=words) as error:
        embedshift.upgrade(places[0], wrong)
    assert "\n" not in str(error.value)


def test_one_image_and_constant_vectors_are_refused(places, tmp_path):
    one = [table(tmp_path / f"{name}.parquet", vectors(1)) for name in ("old", "new")]
    with pytest.raises(UsageError, match="an upgrade needs 8 images with vectors of both encoders, and has 1"):
        embedshift.upgrade(*one)
    with pytest.raises(UsageError, match="all images have the same vector"):
        embedshift.upgrade(places[0], table(tmp_path / "same.parquet", np.ones((120, 4, 12))))
    no_views = vectors() * np.array([1, 0, 0, 0])[:, None]
    with pytest.raises(UsageError, match="the change 'blur' has vectors of both encoders for 0 images"):
        embedshift.upgrade(places[0], table(tmp_path / "zero.parquet", no_views))
    alone = [table(tmp_path / f"{name}.parquet", vectors()[:, :1], views=("original",)) for name in ("a", "b")]
    with pytest.raises(UsageError, match="has no views of changes"):
        embedshift.upgrade(*alone)


def test_ids_of_other_images_are_named_in_a_line(places, tmp_path):
    ids = [f"image {place}" for place in np.random.default_rng(0).permutation(120)]
    made = embedshift.upgrade(places[0], table(tmp_path / "new.parquet", vectors(), ids=ids))
    assert made.verdict.decision == RE_ENCODE
    assert made.lines[-1].endswith("do the same ids name the same images?")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 0.9, "false_match_rate": 0.1}, "not both"),
        ({"threshold": 1.5}, "give a cosine"),
        ({"false_match_rate": 0.0}, "give a fraction"),
        ({"recall_margin": 1.0}, "give a fraction"),
        ({"out": "map", "onnx": "map"}, "name two files"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, words, places):
    with pytest.raises(UsageError, match=words):
        embedshift.upgrade(*places, **settings)


def test_two_studies_are_paired_and_rules_are_about_the_table():
    pair = [studies.synthetic(40, ["noise", "blur", "horizontal_flip"], dim=dim, encoder=f"e{dim}") for dim in (6, 8)]
    made = embedshift.upgrade(*pair)
    assert made.map.matrix.shape == (8, 6)
    assert made.map.encoder == pair[1].reader().info.encoder.weights_hash
    rule = {"table": "upgrade", "deployment": "bridge", "augmentation": "all", "metric": "recall@1", "at_least": -0.9}
    checked = embedshift.check(pair[1], [rule], pair[0])
    row = made.table.filter(deployment="bridge", augmentation="all", metric="recall@1").row(0, named=True)
    assert [(result.value, result.low) for result in checked.results] == [(row["difference"], row["difference_low"])]


def test_compare_names_the_command_where_the_encoder_is_another(cli, tmp_path):
    study = studies.synthetic(40, ["noise", "blur", "horizontal_flip"], dim=6)
    same, other = (studies.copied(study, tmp_path / name) for name in ("same", "other"))
    content = read_content(other.folder)
    write_content(other.folder, content | {"encoder": content["encoder"] | {"weights_hash": "0"}})
    for second, is_named in ((other, True), (same, False)):
        done = cli("compare", study.folder, second.folder)
        assert done.code == 0, done.err
        assert (f"embedshift upgrade {study.folder} {second.folder}" in done.out.replace("\n", "")) == is_named


def test_the_command_says_writes_and_prints_json(places, tmp_path, cli):
    given = ["upgrade", *places, "--recall-margin", "0.2"]
    done = cli(*given, "--out", tmp_path / "m.npz", "--page", tmp_path / "page")
    assert done.code == 0, done.err
    assert "Through the map orthogonal" in done.out
    assert "mixed@0.5" in done.out
    assert {path.name for path in (tmp_path / "page").iterdir()} >= {"upgrade.md", "upgrade.csv", "curve.parquet"}
    page = (tmp_path / "page" / "upgrade.md").read_text()
    assert "Through the map orthogonal" in page
    assert "figures/upgrade_curve.svg" in page
    content = json.loads(cli(*given, "--json").out)
    assert (content["decision"], content["map"]) == ("through the map", "orthogonal")
    assert list(content["upgrade"][0]) == COLUMNS
    refused = cli("upgrade", places[0], tmp_path / "nothing.parquet")
    assert refused.code
    assert len(refused.err.splitlines()) == 1


@pytest.mark.matrix
def test_no_torch_is_needed(places):
    code = (
        "import sys, embedshift; "
        f"embedshift.upgrade({str(places[0])!r}, {str(places[1])!r}); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


@pytest.mark.matrix
def test_the_same_encoder_is_used_as_it_is_and_an_unrelated_one_is_not(tmp_path):
    """400 images end to end, at the margin of one point that the command has."""
    old = table(tmp_path / "old.parquet", vectors(400, 16))
    again = embedshift.upgrade(old, table(tmp_path / "new.parquet", vectors(400, 16)))
    assert (again.verdict.decision, again.map.name) == (AS_THEY_ARE, "identity")
    assert again.lines[0].startswith("As they are: new queries in the old index lose nothing of recall@1 in 400 images")
    other = embedshift.upgrade(old, table(tmp_path / "other.parquet", vectors(400, 24, seed=5)))
    assert other.verdict.decision == RE_ENCODE
    assert other.verdict.lost > 0.9


def test_tables_that_would_mislead_are_refused(places, tmp_path):
    frame = pl.read_parquet(places[1])
    twice = pl.concat([frame.with_columns(draw=pl.lit(0)), frame.with_columns(draw=pl.lit(1))])
    few = frame.filter((pl.col("view") != "crop") | pl.col("image_id").is_in([f"image {n}" for n in range(7)]))
    grouped = frame.with_columns(group=pl.col("image_id").str.slice(-1))
    other = frame.with_columns(group=pl.col("image_id").str.slice(-2, 1))
    long = frame.with_columns(vector=pl.col("vector").list.eval(pl.element() * 1e20))
    given = {
        "has 2 vectors of 'original'; give one": (places[0], twice),
        "'crop' has vectors of both encoders for 7 images": (places[0], few),
        "has a draw 5": (places[0], frame.with_columns(draw=pl.lit(5))),
        "has a draw -1": (places[0], frame.with_columns(draw=pl.when(view="crop").then(-1).otherwise(0))),
        "has other groups": (grouped, other),
        "scale them": (places[0], long),
    }
    for words, sides in given.items():
        paths = []
        for side, content in zip(("old", "new"), sides, strict=True):
            paths.append(tmp_path / f"{side}.parquet")
            (content if isinstance(content, pl.DataFrame) else pl.read_parquet(content)).write_parquet(paths[-1])
        with pytest.raises(UsageError, match=words):
            embedshift.upgrade(*paths)
    for name in ("out", "onnx"):
        with pytest.raises(UsageError, match="is what is read"):
            embedshift.upgrade(*paths, **{name: paths[0]})


def test_columns_of_tables_have_names(places, tmp_path, cli):
    renamed = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for place, path in zip(places, renamed, strict=True):
        pl.read_parquet(place).rename({"image_id": "sku", "view": "kind"}).write_parquet(path)
    found = embedshift.upgrade(*renamed, recall_margin=0.2, columns={"id": "sku", "view": "kind"})
    assert found.table.equals(embedshift.upgrade(*places, recall_margin=0.2).table)
    done = cli("upgrade", *renamed, "--id-column", "sku", "--view-column", "kinds")
    assert "has no column 'kinds'; its columns are 'sku', 'kind', 'vector': name one by --view-column" in done.line


def test_groups_of_either_table_count(places, tmp_path):
    grouped = pl.read_parquet(places[1]).with_columns(group=pl.col("image_id").str.slice(-1))
    grouped.write_parquet(tmp_path / "new.parquet")
    found = embedshift.upgrade(places[0], tmp_path / "new.parquet", recall_margin=0.2)
    assert (found.verdict.unit, found.verdict.images) == ("group", 10)


def test_a_turned_copy_has_the_old_threshold_within_its_interval(places):
    for threshold in (0.2, 0.4, -0.3):
        found = embedshift.upgrade(*places, recall_margin=0.2, threshold=threshold).thresholds.drop_nulls("carried")
        assert len(found)
        for row in found.iter_rows(named=True):
            assert row["ci_low"] < row["carried"] < row["ci_high"], row


def test_what_is_as_it_is_has_the_numbers_of_no_map(tmp_path):
    """Whatever single folds would choose: where no map is chosen, none is in the numbers."""
    new = vectors(100, 12)
    old = new + 0.35 * np.random.default_rng(4).normal(size=new.shape)  # one fold alone would choose another map
    paths = table(tmp_path / "o.parquet", old), table(tmp_path / "n.parquet", new)
    found = embedshift.upgrade(*paths, recall_margin=0.05)
    assert found.map.name == "identity"
    order = np.array(
        [int(name.removeprefix("image ")) for name in drawn([f"image {place}" for place in range(100)], 0)]
    )
    hits = []
    for images in (order[fold::5] for fold in range(5)):
        gallery = old[images, 0] / np.linalg.norm(old[images, 0], axis=1, keepdims=True)
        asked = new[images, 1:] / np.linalg.norm(new[images, 1:], axis=2, keepdims=True)
        cosines = asked @ gallery.T
        own = cosines[np.arange(len(images)), :, np.arange(len(images))]
        hits.append(((cosines >= own[..., None] - 1e-6).sum(axis=2) == 1).ravel())
    row = found.table.filter(deployment="bridge", augmentation="all", metric="recall@1").row(0, named=True)
    assert row["value"] == pytest.approx(np.concatenate(hits).mean())


def test_a_rate_that_needs_more_images_is_named(found, places):
    lines = embedshift.upgrade(*places, recall_margin=0.2).lines
    assert any("a false-match rate of 0.001 needs about 320 images" in line for line in lines)


def of_vectors(place, originals, views):
    sides = (("original", originals), ("crop", views))
    rows = [(str(n), view, vector.tolist()) for view, side in sides for n, vector in enumerate(side)]
    pl.DataFrame(rows, ["image_id", "view", "vector"], orient="row").write_parquet(place)
    return place


@pytest.mark.slow
@pytest.mark.parametrize("of_studies", [False, True])
def test_losses_in_a_large_index_are_those_of_a_gallery(tmp_path, cli, of_studies):
    rng = np.random.default_rng(0)
    old = rng.normal(size=(60, 6))
    views = old + 0.35 * rng.normal(size=old.shape)
    sides = [
        of_vectors(tmp_path / f"{name}.parquet", old, side)
        for name, side in (("old", views), ("new", views + 0.5 * rng.normal(size=old.shape)))
    ]
    if of_studies:
        sides = [embedshift.from_vectors(file, out=file.with_suffix(""), model=file.stem).folder for file in sides]
    index = tmp_path / "index.npy"
    np.save(index, np.concatenate([3 * old, rng.normal(size=(3_000, 6))]).astype(np.float32))
    alone, among = (embedshift.upgrade(*sides, gallery=more) for more in ("", index))
    assert (alone.verdict.searched, among.verdict.searched) == (12, 3_012)
    assert "in 60 images, searched among 12," in alone.lines[0]
    assert "Losses rise with the size of the index" in " ".join(alone.lines)
    assert "The gallery has no vectors of the new encoder" in " ".join(among.lines)
    recall = {
        (name, deployment): value
        for name, found in (("alone", alone), ("among", among))
        for deployment, value in found.table.filter(metric="recall@1", augmentation="crop")
        .select("deployment", "value")
        .iter_rows()
    }
    assert recall["among", "bridge"] < recall["alone", "bridge"]
    assert recall["among", "old"] < recall["alone", "old"]
    assert recall["among", "new"] is recall["among", "mixed@0.5"] is None
    done = cli("upgrade", *sides, "--gallery", index)
    assert "searched among 3,012," in done.out
    np.save(index, np.ones((5, 7)))
    assert "its vectors have 7 numbers, those of" in cli("upgrade", *sides, "--gallery", index).line
