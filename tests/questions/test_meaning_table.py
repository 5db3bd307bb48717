"""The table `meaning`: planted words and properties are found, and nothing where there is nothing."""

import itertools
import json
import re
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch
import transformers as hf
from PIL import Image
from scipy import ndimage, stats
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import roc_auc_score

import embedshift
from embedshift import EmbedshiftError
from embedshift.questions.meaning import PROPERTIES, Choices
from embedshift.questions.meaning.evidence import words_of
from embedshift.questions.meaning.explained import IN_WORDS
from embedshift.questions.meaning.measure import properties
from embedshift.sources import images
from embedshift.statistics.layout import image_rows
from embedshift.statistics.meaning import falcon_groups
from embedshift.study import Study
from support import studies
from support.command import call
from support.models import Colours
from support.once import made

pytestmark = pytest.mark.slow

COUNT, DIM = 240, 24
IDS = [f"{place:04d}" for place in range(COUNT)]


def world(animals=0.0, seed=5):
    """One view is moved along u, where animals lie `animals` further, one by noise. Most animals are outdoors."""
    rng = np.random.default_rng(seed)
    u, v = np.linalg.qr(rng.normal(size=(DIM, 2)))[0].T
    is_animal = rng.random(COUNT) < 0.4
    is_outdoor = np.where(is_animal, rng.random(COUNT) < 0.85, rng.random(COUNT) < 0.25)
    originals = rng.normal(size=(COUNT, DIM)) + np.outer(animals * is_animal, u) + np.outer(1.5 * is_outdoor, v)
    views = {
        "moved": originals + 0.8 * u + 0.1 * rng.normal(size=originals.shape),
        "noise": originals + 0.3 * rng.normal(size=originals.shape),
    }
    words = {"animal": is_animal, "outdoor": is_outdoor}
    words |= {f"word {place}": rng.random(COUNT) < 0.3 for place in range(40)}
    return (
        originals,
        views,
        {word: [i for i, has in zip(IDS, having, strict=True) if has] for word, having in words.items()},
        u,
    )


def study_of(folder, originals, views, **settings):
    return embedshift.from_vectors(originals, views, ids=IDS[: len(originals)], out=folder, **settings)


def shown(table, direction, kind):
    return table.filter(pl.col("significant"), direction=direction, kind=kind)["name"].to_list()


def _planted(folder):
    originals, views, *_ = world(animals=2.0)
    study_of(folder, originals, views)


def copy_of_planted(folder):
    """A study of that world, to write into, and its words."""
    return studies.copied(Study(made(_planted)), folder), world(animals=2.0)[2]


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    originals, views, *_ = world(animals=2.0)
    return *copy_of_planted(tmp_path_factory.mktemp("planted") / "study"), originals, views


def test_a_planted_word_ranks_first_and_fades(planted, tmp_path):
    study, words, originals, views = planted
    table = study.meaning(words=words)
    assert table.columns[:8] == ["direction", "kind", "name", "value", "low", "high", "null_high", "significant"]
    found = table.filter(direction="moved", kind="word")
    assert found["name"][0] == "animal"
    assert shown(table, "moved", "word") == ["animal"]
    assert shown(table, "noise", "word") == []
    row = found.row(0, named=True)
    has_word = np.isin(IDS, words["animal"])
    unit, moved = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (originals, views["moved"]))
    along = unit @ np.linalg.inv(ledoit_wolf(unit)[0]) @ (moved - unit).mean(axis=0)
    assert row["value"] == pytest.approx(roc_auc_score(has_word, along), abs=0.04)
    assert row["low"] < row["value"] < row["high"]
    for strength, finds in ((0.0, False), (0.3, False)):
        weak, views, same, _ = world(animals=strength)
        again = study_of(tmp_path / f"study-{strength}", weak, views).meaning(words=same)
        assert ("animal" in shown(again, "moved", "word")) == finds


def test_shuffled_words_and_random_directions_show_nothing(planted):
    """With the limit at 95 % each: counted over 12 shuffles, of which about one shows something."""
    study, words, *_ = planted
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(12):
        renamed = dict(zip(IDS, rng.permutation(IDS).tolist(), strict=True))
        table = study.meaning(words={word: [renamed[i] for i in having] for word, having in words.items()})
        seen += bool(shown(table, "moved", "word") or shown(table, "noise", "word"))
    assert stats.binomtest(12 - seen, 12).proportion_ci(0.95).high >= 0.95


def test_properties_are_spearmans_of_each_half_beside_random_directions(planted):
    study, _, originals, views = planted
    u = (views["moved"] - originals).mean(axis=0)
    rng = np.random.default_rng(9)
    numbers = pl.DataFrame(
        {"image_id": IDS, "along": originals @ u + rng.normal(size=COUNT), "free": rng.normal(size=COUNT)}
    )
    table = study.meaning(properties=numbers)
    assert shown(table, "moved", "property") == ["along"]
    assert shown(table, "noise", "property") == []
    row = table.filter(direction="moved", name="along").row(0, named=True)
    assert row["value"] == pytest.approx(stats.spearmanr(originals @ u, numbers["along"])[0], abs=0.12)
    assert row["low"] < row["value"] < row["high"]
    assert 0 < row["null_high"] < row["value"]
    assert table.filter(kind="property")["null_high"].n_unique() == 1
    assert table.filter(direction="moved")["agreement"][0] > 0.9
    assert study.meaning(properties=numbers.with_columns(free=-pl.col("along"))).filter(name="free")["value"][0] < 0


def test_a_difference_of_two_and_the_leading_directions_of_a_map(planted):
    study, words, *_ = planted
    table = study.meaning(words=words, between="moved,noise")
    assert table["direction"].unique(maintain_order=True).to_list() == ["moved", "noise", "moved - noise"]
    assert shown(table, "moved - noise", "word") == ["animal"]
    leading = study.meaning(words=words, features="map")
    assert leading["direction"].unique(maintain_order=True).to_list() == ["map 1", "map 2", "map 3"]
    assert shown(leading, "map 1", "word") == ["animal"]
    agreement = leading.group_by("direction", maintain_order=True).first()["agreement"]
    assert agreement[0] > max(0.7, *agreement[1:])


def test_images_come_with_the_lowest_of_their_nearest(planted):
    study, words, *_ = planted
    rows = study.meaning(words=words).filter(direction="moved", kind="image")
    assert len(rows) == 8
    assert rows["value"].is_sorted(descending=True)
    having = set(words["animal"])
    assert sum(name in having for name in rows["name"]) >= 7
    assert sum(name in having for name in rows["counterfactual"]) <= 2
    assert rows["low"].null_count() == 8


@pytest.mark.matrix
def test_falcons_groups_are_found_and_named(tmp_path):
    rng = np.random.default_rng(7)
    count, dim = 5_000, 160
    originals = rng.normal(size=(count, dim))
    cats, boats = np.arange(0, 30), np.arange(100, 140)
    originals[np.ix_(cats, [3, 8])] += 25
    originals[np.ix_(boats, [11])] += 25
    ids = [f"{place:04d}" for place in range(count)]
    study = embedshift.from_vectors(originals, {"noise": originals + 0.1}, ids=ids, out=tmp_path / "study")
    words = {"cat": [ids[i] for i in cats], "boat": [ids[i] for i in boats]}
    words |= {f"word {k}": rng.choice(ids, 60, replace=False).tolist() for k in range(20)}
    table = study.meaning(features="groups", words=words)
    assert table["direction"].unique(maintain_order=True).to_list() == ["dimensions 11", "dimensions 3, 8"]
    assert shown(table, "dimensions 3, 8", "word") == ["cat"]
    assert shown(table, "dimensions 11", "word") == ["boat"]
    assert table["agreement"].min() > 0.99


def test_groups_are_all_that_are_closed_and_often_active():
    rng = np.random.default_rng(2)
    active = rng.random((60, 7)) < 0.5
    expected = {}
    for size in range(1, 8):
        for chosen in itertools.combinations(range(7), size):
            inside = active[:, list(chosen)].all(axis=1)
            closed = tuple(d for d in range(7) if active[inside, d].all())
            if inside.sum() > 10 and closed == chosen:
                expected[chosen] = np.flatnonzero(inside).tolist()
    found = {group: inside.tolist() for group, inside in falcon_groups(active)}
    assert found == expected
    assert [*map(len, found.values())] == sorted(map(len, found.values()), reverse=True)


def test_the_properties_are_those_of_slow_code():
    rng = np.random.default_rng(1)
    smooth = ndimage.gaussian_filter(rng.random((90, 120, 3)) * 255, (3, 3, 0))
    image = np.clip(smooth + rng.normal(0, 4, smooth.shape) + [30, 0, -20], 0, 255).astype(np.uint8)
    found, levels = properties(image, 5_400), image.astype(np.float64)
    grey = levels @ [0.299, 0.587, 0.114]
    low, high = levels.min(axis=2), levels.max(axis=2)
    border = np.concatenate([grey[:6].ravel(), grey[-6:].ravel(), grey[:, :6].ravel(), grey[:, -6:].ravel()])
    across, down = (np.abs(ndimage.sobel(np.rint(grey), axis=axis, mode="mirror")) for axis in (1, 0))
    laplacian = ndimage.laplace(np.rint(grey), mode="mirror")
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
    noise = ndimage.convolve(np.rint(grey), kernel)[1:-1, 1:-1]
    assert tuple(found) == PROPERTIES == tuple(IN_WORDS)
    assert found["brightness"] == pytest.approx(grey.mean() / 255, abs=1e-3)
    assert found["contrast"] == pytest.approx(grey.std() / 255, abs=1e-3)
    assert found["saturation"] == pytest.approx(np.mean((high - low) / np.maximum(high, 1)), abs=2e-3)
    assert found["warmth"] == pytest.approx((levels[..., 0] - levels[..., 2]).mean() / 255, abs=1e-6)
    assert found["sharpness"] == pytest.approx(np.log1p(laplacian.var()), abs=0.05)
    assert found["edge_density"] == pytest.approx((across + down >= 128).mean(), abs=0.02)
    assert found["border_flatness"] == pytest.approx(-border.std() / 255, abs=1e-3)
    assert found["noise"] == pytest.approx(np.sqrt(np.pi / 2) / 6 * np.abs(noise).mean(), rel=0.02)
    assert (found["width"], found["height"], found["bytes_per_pixel"]) == (120, 90, 0.5)
    assert properties(np.zeros((1, 1, 3), np.uint8))["noise"] == 0


def test_properties_of_a_large_image_are_those_of_it_reduced():
    blocks = np.random.default_rng(3).integers(0, 255, (32, 32, 3), np.uint8)
    once, twice = (np.kron(blocks, np.ones((size, size, 1), np.uint8)) for size in (8, 16))
    small, large = properties(once), properties(twice)
    assert (large["width"], large["height"]) == (512, 512)
    for name in ("brightness", "contrast", "saturation", "warmth", "sharpness", "edge_density", "border_flatness"):
        assert large[name] == pytest.approx(small[name], abs=1e-9)


def test_rows_of_originals_have_the_properties_of_their_files(tmp_path):
    folder = studies.pictures(5)
    study = embedshift.run(folder, out=tmp_path / "study", model=Colours(), augmentations="paper", workers=0)
    for row in study.rows().select("image_id", "view", *PROPERTIES).collect().iter_rows(named=True):
        measured = [row[name] for name in PROPERTIES]
        if row["view"] != "original":
            assert measured == [None] * len(PROPERTIES)
            continue
        data = (folder / row["image_id"]).read_bytes()
        assert measured == pytest.approx([*properties(images.decode(data), len(data)).values()], nan_ok=True)
    assert study.meaning().is_empty()


def test_words_come_from_captions_folders_lists_and_tables(tmp_path, planted):
    study, words, *_ = planted
    reader = study.reader()
    table = tmp_path / "words.csv"
    rows = [(image, word) for word, having in words.items() for image in having]
    pl.DataFrame(rows, schema=["image_id", "word"], orient="row").write_csv(table)
    assert shown(study.meaning(words=str(table)), "moved", "word") == ["animal"]
    ids = reader.ordered_ids()
    captions = {image: f"An animal, {place}" for place, image in enumerate(words["animal"])}
    frame = pl.DataFrame({"image_id": IDS, "caption": [captions.get(image) for image in IDS]})
    with_captions = SimpleNamespace(
        image_rows=image_rows(reader.rows().drop("caption").join(frame.lazy(), on="image_id", maintain_order="left"))
    )
    found = words_of(with_captions, None, ids)
    assert found.names == ("animal",)
    assert found.members.toarray()[:, 0].tolist() == [float(image in captions) for image in ids]
    (tmp_path / "list.txt").write_text("an animal\nmal\n")
    listed = words_of(with_captions, str(tmp_path / "list.txt"), ids)
    assert dict(zip(listed.names, listed.members.sum(axis=0).tolist(), strict=True)) == {
        "an animal": len(captions),
        "mal": 0,
    }
    in_folders = [f"red_cars/{image}" for image in ids[:9]]
    paths = SimpleNamespace(
        image_rows=image_rows(with_captions.image_rows.frame.with_columns(caption=pl.lit(None, pl.String)))
    )
    assert words_of(paths, None, in_folders + ids[9:]).names == ("red cars",)


def test_gaps_kinds_and_keys_of_a_users_files(planted, tmp_path, caplog):
    study, words, originals, views = planted
    u = (views["moved"] - originals).mean(axis=0)
    along = [*(f"{value:.0f}" for value in 10 * (originals @ u)[:-1]), "1.5"]
    rows = [
        f"{i},{a},{'' if k % 2 else k},{'yes'},{str(k % 3 == 0).lower()}"
        for k, (i, a) in enumerate(zip(IDS, along, strict=True))
    ]
    (tmp_path / "p.csv").write_text("image_id,along,half,text,flag\n" + "\n".join(rows[1:]) + "\n")
    table = study.meaning(properties=str(tmp_path / "p.csv"))
    assert set(table.filter(kind="property")["name"]) == {"along", "half", "flag"}
    assert shown(table, "moved", "property") == ["along"]
    assert "`properties` has numbers of 239 of 240 images" in caplog.text
    assert "`properties`: text left out, which are no numbers" in caplog.text
    sparse = pl.DataFrame({"image_id": IDS, "few": [1.0, 2.0, 3.0] + [None] * 237, "along": originals @ u})
    assert shown(study.meaning(properties=sparse.to_pandas()), "moved", "property") == ["along"]
    (tmp_path / "w.csv").write_text("image_id,word\n0001,\n" + "".join(f"{i},animal\n" for i in words["animal"]))
    assert shown(study.meaning(words=tmp_path / "w.csv"), "moved", "word") == ["animal"]
    numbered = study.meaning(words={7: words["animal"], "other": IDS[3]})
    assert shown(numbered, "moved", "word") == ["7"]


@pytest.mark.matrix
def test_groups_of_alike_images_count_once():
    """Groups of five differ along a direction, and words and properties of groups have nothing to do with it."""
    seen = 0
    for seed in range(8):
        rng, groups = np.random.default_rng(seed), np.repeat(np.arange(48), 5)
        originals = rng.normal(size=(COUNT, DIM))
        originals[:, 0] = rng.normal(size=48)[groups] + 0.1 * rng.normal(size=COUNT)
        views = {"moved": originals + 0.8 * np.eye(DIM)[0] + 0.05 * rng.normal(size=originals.shape)}
        words = {f"w{k}": np.array(IDS)[(rng.random(48) < 0.3)[groups]].tolist() for k in range(30)}
        numbers = pl.DataFrame({"image_id": IDS} | {f"p{k}": rng.normal(size=48)[groups] for k in range(8)})
        with tempfile.TemporaryDirectory() as folder:
            study = study_of(Path(folder) / "study", originals, views, groups=[f"g{group}" for group in groups])
            table = study.meaning(words=words, properties=numbers)
        seen += table.filter(pl.col("significant"), pl.col("kind") != "image").height > 0
    assert seen <= 2


def test_wrong_tables_and_names_are_one_line(planted, tmp_path):
    study, *_ = planted
    (tmp_path / "bad.csv").write_text("image,word\n1,2\n")
    (tmp_path / "other.csv").write_text("image_id,brightness\nno,1\n")
    for settings, words in (
        ({"features": "heads"}, "`features` 'heads': choose one of augmentations, groups, map"),
        ({"between": [("moved", "blur")]}, "`between`: no direction 'blur'; there are moved, noise"),
        ({"properties": str(tmp_path / "bad.csv")}, "no CSV or Parquet file with the column image_id"),
        ({"properties": str(tmp_path / "other.csv")}, "no numbers of images of this study, such as "),
        ({"words": str(tmp_path / "bad.csv")}, "no CSV or Parquet file with the columns image_id and word"),
        ({"words": str(tmp_path / "none.txt")}, "none.txt"),
        ({"words": ["unicorn", "dragon"]}, "no image of this study has one of 2 words, such as dragon"),
        ({"between": "moved"}, "give two names with a comma between them"),
        ({"between": "moved,moved"}, "`between` moved,moved: give two other augmentations"),
        ({"between": "moved,noise", "features": "map"}, "`between` is of augmentations, not of `features` map"),
    ):
        with pytest.raises(EmbedshiftError, match=re.escape(words)) as caught:
            study.meaning(**settings)
        assert "\n" not in str(caught.value)


def test_the_command_prints_directions_and_says_why_there_are_none(planted, tmp_path, monkeypatch, capsys):
    study, words, *_ = planted
    table = tmp_path / "words.parquet"
    rows = [(image, word) for word, having in words.items() for image in having]
    pl.DataFrame(rows, schema=["image_id", "word"], orient="row").write_parquet(table)
    done = call(monkeypatch, capsys, "explain", study.folder, "--words", table, "--between", "moved,noise")
    assert done.code == 0
    assert "animal" in done.out
    assert "moved - noise" in done.out
    as_json = json.loads(call(monkeypatch, capsys, "explain", study.folder, "--words", table, "--json").out)
    assert as_json["sentences"]["moved"].startswith("moved moves images towards “animal” (AUC 0.")
    none = "noise: no property and no word goes with it more than with random directions."
    assert as_json["sentences"]["noise"] == none
    again = call(monkeypatch, capsys, "explain", study.folder)
    assert "No property and no word goes with: noise." in again.out
    assert f"Explained: augmentations, words of {table}." in " ".join(again.out.split())
    groups = call(monkeypatch, capsys, "explain", study.folder, "--features", "groups")
    assert "only if n is 286 or more, and there are 240." in " ".join(groups.out.split())
    refused = call(monkeypatch, capsys, "explain", study.folder, "--between", "moved")
    assert (refused.code, "give two names with a comma between them" in refused.err) == (2, True)


def test_the_report_has_a_section_with_the_choices_that_were_kept(tmp_path):
    study, words = copy_of_planted(tmp_path / "study")
    assert "meaning-title" not in study.report(figures=[]).read_text()
    kept = study.meaning(words=words, features="map")
    assert study.table("meaning").equals(kept)
    assert study.meaning().equals(kept)
    page = " ".join(study.report(figures=["meaning"]).read_text().split())
    assert "map 1 goes towards “animal” (AUC 0." in page
    assert "meaning-title" in page
    hidden = " ".join(study.report(figures=[], pictures=False).read_text().split())
    assert "map 1 goes towards “animal”" in hidden
    assert IDS[3] not in pl.read_parquet(study.folder / "tables" / "meaning.parquet")["name"].to_list()
    assert study.table("meaning").equals(kept)


def test_what_a_kept_table_was_made_with_is_kept_or_said(tmp_path, caplog):
    study, words = copy_of_planted(tmp_path / "study")
    file = tmp_path / "words.csv"
    rows = [(image, word) for word, having in words.items() for image in having]
    pl.DataFrame(rows, schema=["image_id", "word"], orient="row").write_csv(file)
    kept = study.meaning(words=str(file), between=[("moved", "noise")])
    groups = {image: f"g{place // 2}" for place, image in enumerate(IDS)}
    study.regroup(groups)
    again = study.table("meaning")
    assert again["direction"].unique(maintain_order=True).to_list() == ["moved", "noise", "moved - noise"]
    assert shown(again, "moved", "word") == ["animal"]
    assert not again.equals(kept)
    file.write_text("changed")
    study.regroup("none")
    assert "`words` of its table `meaning` has changed or is gone; made without" in caplog.text
    assert study.table("meaning").filter(kind="word").is_empty()
    assert shown(study.meaning(words=words), "moved", "word") == ["animal"]


def test_words_of_folders_are_left_out_where_images_are(tmp_path):
    originals, views, words, _ = world(animals=2.0)
    animals = set(words["animal"])
    ids = [f"{'ward b' if image in animals else 'john_smith'}/{image}.png" for image in IDS]
    study = embedshift.from_vectors(originals, views, ids=ids, out=tmp_path / "study")
    assert "“ward b”" in study.report(choices=[Choices(measured=True)], figures=[]).read_text()
    page = study.report(pictures=False, figures=[]).read_text()
    assert "meaning-title" in page
    assert "ward b" not in page
    assert "ward b" not in (study.folder / "tables" / "meaning.csv").read_text()
    assert "“ward b”" in study.report(figures=[]).read_text()


def test_a_namer_finds_the_images_that_fit_each_word(tmp_path, monkeypatch, capsys):
    checkpoint = studies.checkpoint("reader")
    clip, tokenizer = hf.CLIPModel.from_pretrained(checkpoint).eval(), hf.AutoTokenizer.from_pretrained(checkpoint)
    encoder = embedshift.load_encoder(str(checkpoint))
    rng, folder = np.random.default_rng(4), tmp_path / "images"
    folder.mkdir()
    pixels = rng.integers(0, 255, (24, encoder.size, encoder.size, 3), np.uint8)
    for place, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{place:02d}.png")
    words = ["a red cat", "the small boat", "dog"]
    with torch.no_grad():
        given = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(encoder.mean).view(3, 1, 1)
        seen = clip.get_image_features(given / torch.tensor(encoder.std).view(3, 1, 1))
        read = clip.get_text_features(**tokenizer(words, return_tensors="pt", padding=True))
    seen, read = (np.asarray(getattr(each, "pooler_output", each), np.float64) for each in (seen, read))
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    seen -= seen.mean(axis=0)
    fits = seen / np.linalg.norm(seen, axis=1, keepdims=True) @ read.T
    expected = {word: [f"{i:02d}.png" for i in np.argsort(-fits[:, k])[:10]] for k, word in enumerate(words)}
    study = embedshift.run(folder, out=tmp_path / "study", model=Colours(), augmentations="paper", workers=0)
    assert embedshift.name_images(study, str(checkpoint), words) == expected
    own = embedshift.run(folder, out=tmp_path / "own", model=str(checkpoint), augmentations="paper", workers=0)
    shutil.rmtree(folder)  # its own embeddings are enough
    assert embedshift.name_images(own, str(checkpoint), words) == expected
    with pytest.raises(EmbedshiftError, match="cannot be read again to be named"):
        embedshift.name_images(study, str(checkpoint), words)
    with pytest.raises(EmbedshiftError, match="has no text tower"):
        embedshift.name_images(own, "dinov2-small-offline", words)
    (tmp_path / "words.txt").write_text("\n".join(words))
    done = call(monkeypatch, capsys, "explain", own.folder, "--namer", checkpoint, "--words", tmp_path / "words.txt")
    assert (done.code, done.line) == (2, f"error: {own.folder}: has 24 of the 40 images that this needs; measure more")
    (tmp_path / "wrong.csv").write_text("image_id,name\n00.png,cat\n")
    with pytest.raises(EmbedshiftError, match=r"wrong\.csv: no column word"):
        own.meaning(words=str(tmp_path / "wrong.csv"))
