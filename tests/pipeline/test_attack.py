"""An attack on images by a tiny model: what is stored, that nothing else decides it, and what is refused."""

import functools
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import embedshift
from embedshift.augmentations.variant import purifier
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.sources import images
from support import studies
from support.archives import write_parquet
from support.mean_colour import MeanColour
from support.models import MEAN, SIZE, STD, pictures

pytestmark = pytest.mark.slow

STEPS = 12


@pytest.fixture(scope="module")
def model():
    return str(studies.checkpoint("vit"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = pictures(tmp_path_factory.mktemp("photos"), 3)
    (folder / "deep").mkdir()
    (folder / "picture-02.png").rename(folder / "deep" / "picture-02.png")
    return folder


def attack(photos, out, model, **settings):
    return embedshift.attack(photos, out=out, model=model, **{"steps": STEPS, "device": "cpu", **settings})


@pytest.fixture(scope="module")
def adv(photos, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("adv") / "adv"
    attack(photos, out, model, eps=[2, 8], through=["jpeg:50"])
    attack(photos, out, model, eps=[0.5], norm="l2")
    return out


def decoded(path):
    return np.asarray(Image.open(path))


def files(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.png"))}


def content(out):
    return json.loads((out / "attack.json").read_text())


@functools.cache
def encoder(model):
    return embedshift.load_encoder(model, device="cpu")


def cosine(model, one, other):
    a, b = encoder(model)(np.stack([one, other])).embedding.astype(float)
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_originals_are_what_the_encoder_is_given(adv, photos):
    for name in ("picture-00.png", "picture-01.png", "deep/picture-02.png"):
        expected = images.ToInput(SIZE)(images.decode((photos / name).read_bytes()))
        np.testing.assert_array_equal(decoded(adv / "original" / name), expected)


def test_every_variant_is_inside_its_budget_and_its_cosine_is_noted(adv, model):
    told = content(adv)
    names = {"linf-2", "linf-8", "linf-2-through-jpeg-50", "linf-8-through-jpeg-50", "l2-0.5"}
    assert {name for name, each in told["variants"].items() if each["kind"] == "attack"} == names
    assert len(told["images"]) == 3
    for image_id, record in told["images"].items():
        original = decoded(adv / "original" / image_id)
        for name, variant in told["variants"].items():
            picture = decoded(adv / name / image_id)
            assert picture.shape == (SIZE, SIZE, 3)
            moved = picture.astype(int) - original
            if variant["norm"] == "linf":
                assert 0 < abs(moved).max() <= variant["eps"]
            else:
                assert 0 < int((moved**2).sum()) <= (255 * variant["eps"]) ** 2
            seen = purifier(variant["through"])(picture) if variant["through"] else picture
            assert record["cosine"][name] == pytest.approx(cosine(model, original, seen), abs=1e-4)


def test_the_gradient_does_it_and_not_the_size_of_the_change(adv):
    told = content(adv)
    for record in told["images"].values():
        for budget in ("linf-2", "linf-8", "l2-0.5"):
            assert record["cosine"][budget] < record["cosine"][f"control-{budget}"] - 0.02
        assert record["cosine"]["linf-8"] < record["cosine"]["linf-2"]
        assert record["cosine"]["control-linf-8"] > 0.9


def test_who_knows_the_purifier_attacks_through_it(adv, model):
    for image_id, record in content(adv)["images"].items():
        original = decoded(adv / "original" / image_id)
        for budget in ("linf-2", "linf-8"):
            purified = purifier("jpeg:50")(decoded(adv / budget / image_id))
            assert record["cosine"][f"{budget}-through-jpeg-50"] < cosine(model, original, purified) - 0.005


@pytest.mark.matrix
def test_order_company_and_another_folder_do_not_matter(adv, photos, model, tmp_path):
    wanted = {name: data for name, data in files(adv).items() if "l2" not in name}
    alone = shutil.copytree(photos, tmp_path / "one", ignore=shutil.ignore_patterns("deep", "*00.png"))
    attack(alone, tmp_path / "alone", model, eps=[8, 2], through=["jpeg:50"])
    assert files(tmp_path / "alone") == {name: data for name, data in wanted.items() if name.endswith("picture-01.png")}


def test_another_seed_begins_elsewhere(adv, photos, model, tmp_path):
    attack(photos, tmp_path / "adv", model, eps=[8], seed=1, limit=1)
    (name,) = content(tmp_path / "adv")["images"]
    for place in ("linf-8", "control-linf-8"):
        assert (tmp_path / "adv" / place / name).read_bytes() != (adv / place / name).read_bytes()
    assert (tmp_path / "adv" / "original" / name).read_bytes() == (adv / "original" / name).read_bytes()


def test_threads_are_as_they_were(photos, model, tmp_path):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        attack(photos, tmp_path / "adv", model, eps=[1], steps=1, limit=1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_target_is_come_near_to(photos, model, tmp_path):
    target = photos / "picture-01.png"
    found = attack(photos, tmp_path / "adv", model, eps=[8], target=str(target), limit=1)
    ((name, record),) = found.images.items()
    aim = images.ToInput(SIZE)(images.decode(target.read_bytes()))
    before = cosine(model, decoded(tmp_path / "adv" / "original" / name), aim)
    assert record.cosine["linf-8"] > before + 0.1
    assert abs(record.cosine["control-linf-8"] - before) < 0.1
    assert record.cosine["linf-8"] == pytest.approx(
        cosine(model, decoded(tmp_path / "adv/linf-8" / name), aim), abs=1e-4
    )


def test_what_is_whole_is_kept_and_what_is_not_is_made_again(adv, photos, model, tmp_path):
    copy = shutil.copytree(adv, tmp_path / "adv")
    expected, told = files(copy), content(copy)
    times = {path: path.stat().st_mtime_ns for path in copy.rglob("*.png")}
    (copy / "linf-8" / "picture-00.png").write_bytes(b"damaged")
    (copy / "linf-2" / "picture-01.png").unlink()
    (copy / "linf-2" / ".picture-01.png.4711").write_bytes(b"half")
    counted = []
    attack(photos, copy, model, eps=[2, 8], through=["jpeg:50"], progress=counted.append)
    assert files(copy) == expected
    assert all(content(copy)[key] == told[key] for key in ("images", "variants", "identity"))
    assert counted == [1, 1]
    again = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
    assert {path.parent.name for path in again} == {"original", "linf-8", "linf-2"}
    assert not list(copy.rglob(".*png*"))


def test_an_image_that_changed_since_is_attacked_again_and_named(model, tmp_path, caplog):
    folder, other = pictures(tmp_path / "photos", 2), pictures(tmp_path / "other", 1, seed=9)
    attack(folder, tmp_path / "adv", model, eps=[2], steps=2)
    before = files(tmp_path / "adv")
    shutil.copy(other / "picture-00.png", folder / "picture-00.png")
    attack(folder, tmp_path / "adv", model, eps=[2], steps=2)
    assert "picture-00.png has changed since it was attacked; attacking it again" in caplog.text
    after = files(tmp_path / "adv")
    assert {name for name in after if after[name] != before[name]} == {name for name in after if "picture-00" in name}
    expected = images.ToInput(SIZE)(images.decode((other / "picture-00.png").read_bytes()))
    np.testing.assert_array_equal(decoded(tmp_path / "adv" / "original" / "picture-00.png"), expected)


def test_an_image_that_cannot_be_read_is_listed(photos, model, tmp_path):
    folder = shutil.copytree(photos, tmp_path / "photos")
    (folder / "broken.png").write_bytes(b"no picture")
    found = attack(folder, tmp_path / "adv", model, eps=[1], steps=1)
    assert len(found.images) == 3
    ((failed),) = content(tmp_path / "adv")["failures"]
    assert (failed["image_id"], failed["stage"]) == ("broken.png", "decode")
    assert "not an image" in failed["reason"]
    for name in ("picture-00.png", "picture-01.png", "deep/picture-02.png"):
        (folder / name).unlink()
    with pytest.raises(EmbedshiftError, match=r"no image could be attacked: all 1 failed, first broken.png:"):
        attack(folder, tmp_path / "other", model)


def test_an_id_that_is_no_name_of_a_file_is_listed(model, tmp_path):
    photo = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(photo)
    data = photo.read_bytes()
    names = ["good.png", "a/../../../out.png", "/out.png", ".hidden/b.png"]
    write_parquet(tmp_path / "all.parquet", [(name, data) for name in names])
    found = attack(tmp_path / "all.parquet", tmp_path / "in" / "adv", model, eps=[1], steps=1)
    assert list(found.images) == ["good.png"]
    assert len(list(tmp_path.rglob("*.png"))) == 1 + 3
    assert {each.image_id for each in found.failures} == {*names[1:]}
    assert all("cannot be used as a file name" in each.reason for each in found.failures)


def test_what_cannot_be_is_refused_in_one_line(adv, photos, model, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    refused = {
        "contains files that `embedshift attack` did not write": {"out": tmp_path / "other"},
        "steps: 12 there, 13 now. Choose another `out`": {"out": adv, "steps": 13},
        "seed: 0 there, 1 now": {"out": adv, "seed": 1},
        "images.count: 3 there, 2 now": {"out": adv, "limit": 2},
        "linf counts whole pixel levels": {"eps": [1.5]},
        "`eps`, value 1, must be greater than 0": {"eps": [0]},
        "`norm` must be 'linf' or 'l2'": {"norm": "l1"},
        "unknown kind; use one of jpeg, median": {"through": ["gif:1"]},
        "no such file or folder": {"images": tmp_path / "nowhere"},
        "`target` nowhere.png: No such file": {"target": "nowhere.png"},
        "is the folder of the images": {"out": photos},
        "unknown setting 'epsilon'; did you mean 'eps'": {"epsilon": 4},
    }
    double = shutil.copytree(photos, tmp_path / "double")
    Image.open(double / "picture-00.png").save(double / "picture-00.jpg")
    refused["two images have the same name 'picture-00' without the file extension"] = {"images": double}
    for words, given in refused.items():
        settings = {"images": photos, "out": tmp_path / "adv", **given}
        with pytest.raises(UsageError) as error:
            attack(settings.pop("images"), settings.pop("out"), model, **settings)
        assert words in str(error.value)
    assert not (tmp_path / "adv").exists()


def test_an_encoder_without_right_gradients_is_refused(photos, tmp_path):
    with pytest.raises(UsageError, match="cannot be attacked: it gives no gradients"):
        embedshift.attack(photos, out=tmp_path / "adv", model=MeanColour())
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 4))
    low = embedshift.wrap(net, size=SIZE, mean=MEAN, std=STD, device="cpu", precision="bfloat16")
    with pytest.raises(UsageError, match="gradients need `precision` float32, not bfloat16"):
        embedshift.attack(photos, out=tmp_path / "adv", model=low)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"variants": 3}', "[" * 9999, '{"embedshift": "1"}', "\udce9"])
def test_a_foreign_attack_json_is_refused(text, photos, model, tmp_path):
    (tmp_path / "adv").mkdir()
    (tmp_path / "adv" / "attack.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=r"attack\.json: (not a file written|not text)"):
        attack(photos, tmp_path / "adv", model)
