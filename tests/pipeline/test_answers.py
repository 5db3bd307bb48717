"""A study knows its encoder again by what it answers: what changes its numbers is refused, and nothing else is."""

import importlib
import json
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import CLIPVisionModelWithProjection

import embedshift
from embedshift.augmentations.suite import load_suite
from embedshift.config import make_config
from embedshift.encoders import EncoderOutput
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.pipeline.identity import encoder_answer, instability
from embedshift.pipeline.prepare import prepared
from embedshift.pipeline.ready import ready
from embedshift.store.info import ENCODER, allowed, as_answer, differences, distance, is_same_encoder, other_answers
from support import models
from support.matrix import first_only
from support.mean_colour import MeanColour
from support.processes import run_python
from support.synthetic import write_pictures

SIZE = 32
STATS = {"size": SIZE, "mean": (0.5,) * 3, "std": (0.5,) * 3, "name": "net"}
SUITE = {"mirror": lambda image, rng: image[:, ::-1]}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_pictures(folder, ["a.png", "b.png"], 0)
    return folder


def began(photos, encoder=None, **settings):
    """What a study stores of its encoder when it begins."""
    suite = settings.pop("augmentations", SUITE)
    config = make_config({"images": (str(photos),), **settings})
    with prepared(config, None, encoder=encoder, suite=load_suite(suite)) as study:
        record = SimpleNamespace(precision=study.plan.spec.precision, instability=study.plan.spec.instability)
        return SimpleNamespace(identity=study.identity, answers=study.plan.spec.answers, encoder=record)


def changed(before, after):
    """What a run in the folder of `before` would say of another study; nothing if it goes on."""
    return differences(before.identity, after.identity) or other_answers(before, after.answers)


def conv(**settings):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, **settings), nn.AdaptiveAvgPool2d(4), nn.Flatten())


def hooked(by):
    net = conv()
    net[0].register_forward_hook(lambda _part, _inputs, output: output * by + by**2)
    return net


class Scaled(nn.Module):
    """Reads a plain attribute, which no state of the module holds."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return (x.flatten(1) - self.scale).relu()


def buffered(value):
    net = Scaled(None)
    del net.scale
    net.register_buffer("scale", torch.tensor(value), persistent=False)
    return net


# A change is seen by what the encoder answers, by the same code whatever was changed: one of each kind of place.
MODULES = {
    "a layer": lambda other: nn.Sequential((nn.MaxPool2d if other else nn.AvgPool2d)(2), nn.Flatten()),
    "an argument": lambda other: conv(dilation=1 + other),
    "an attribute": lambda other: Scaled(0.1 + 0.01 * other),
    "a buffer that is not saved": lambda other: buffered(0.1 + 0.01 * other),
    "a hook": lambda other: hooked(1 + 0.1 * other),
}


@pytest.mark.parametrize("case", MODULES)
def test_a_module_that_computes_otherwise_is_another_encoder(photos, case):
    first, same, other = (began(photos, embedshift.wrap(MODULES[case](way), **STATS)) for way in (False, False, True))
    assert not changed(first, same)
    assert changed(first, other)


def test_a_run_in_the_folder_of_another_encoder_ends_in_a_line(photos, tmp_path):
    def run(other, **settings):
        encoder = embedshift.wrap(MODULES["an attribute"](other), **STATS)
        return embedshift.run(photos, out=tmp_path / "study", model=encoder, augmentations=SUITE, workers=0, **settings)

    rows = run(False).rows().collect()
    for again in ({}, {"retry_failed": True}):
        assert run(False, **again).rows().collect().equals(rows)
        with pytest.raises(
            UsageError, match=r"another study: the encoder gives other numbers .*Choose another `out`, or delete it$"
        ):
            run(True, **again)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    return models.save(models.clip_vision(), tmp_path_factory.mktemp("clip"))


def edited(folder, tmp_path, **settings):
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied)
    file = copied / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return copied


@pytest.mark.parametrize("settings", [{"layer_norm_eps": 1e-6}, {"num_attention_heads": 2}], ids=str)
def test_another_setting_of_a_folder_is_named(photos, folder, tmp_path, settings):
    before = began(photos, model=str(folder))
    after = began(photos, model=str(edited(folder, tmp_path, **settings)))
    assert any(next(iter(settings)) in words for words in differences(before.identity, after.identity))


GLOBALS = """
import numpy as np
import torch
LEVELS = [2, 3]
class Of:
    by = 2
torch.manual_seed(0)
NET = torch.nn.Linear(3, 4)
def colours(images): return np.array([np.asarray(image, float).mean((0, 1)) + 1 for image in images])
def of_list(images): return colours(images) ** LEVELS[0]
def of_class(images): return colours(images) ** Of.by
def of_net(images): return NET(torch.tensor(colours(images)).float()).detach().numpy()
def closed(by): return lambda images: colours(images) ** by
of_closure = closed(2)
def darker(image, rng): return image // LEVELS[0]
"""
CHANGES = {
    "of_list": ("LEVELS = [2", "LEVELS = [3"),
    "of_class": ("class Of:\n    by = 2", "class Of:\n    by = 3"),
    "of_net": ("manual_seed(0)", "manual_seed(1)"),
    "of_closure": ("closed(2)", "closed(3)"),
}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Text → a module of a user that holds it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def written(text):
        (tmp_path / "own_code.py").write_text(text)
        importlib.invalidate_caches()
        sys.modules.pop("own_code", None)
        return importlib.import_module("own_code")

    yield written
    sys.modules.pop("own_code", None)


@pytest.mark.parametrize("name", CHANGES)
def test_a_function_that_reads_other_values_is_another_encoder(photos, own, name):
    own(GLOBALS)
    first, same = (began(photos, model=f"python:own_code:{name}") for _ in range(2))
    assert not changed(first, same)
    own(GLOBALS.replace(*CHANGES[name]))
    assert changed(first, began(photos, model=f"python:own_code:{name}"))


def test_an_augmentation_that_reads_other_values_is_another_one(photos, own):
    def of(text):
        return began(photos, MeanColour(), augmentations={"darker": own(text).darker})

    assert not changed(of(GLOBALS), of(GLOBALS.replace("image // LEVELS[0]", "image // LEVELS[0]  # half")))
    words = changed(of(GLOBALS), of(GLOBALS.replace("[2, 3]", "[3, 3]")))
    assert words.startswith("augmentation 'darker' gives other numbers")


class Odd(MeanColour):
    """Refuses images, or gives what `odd` makes of its output."""

    def __init__(self, odd):
        self.odd, self.passes = odd, 0

    def __call__(self, views):
        self.passes += 1
        return self.odd(self, super().__call__(views))


def fails(times):
    def odd(encoder, output):
        if encoder.passes <= times:
            raise OSError("busy")
        return output

    return odd


def nan(encoder, output):
    return EncoderOutput(output.embedding * np.nan, output.attention, "mean")


SAME = {
    "an error that does not come again": (fails(0), fails(1)),
    "an encoder that refuses such images": (fails(99), fails(99)),
    "one that refused them then": (fails(99), fails(0)),
    "NaN for such images": (nan, nan),
    "a difference by rounding": (fails(0), lambda _, o: EncoderOutput(o.embedding * (1 + 1e-5), o.attention, "mean")),
}


@pytest.mark.parametrize("case", SAME)
def test_what_is_no_other_answer_is_not_refused(photos, case):
    before, after = (began(photos, Odd(odd)) for odd in SAME[case])
    assert not changed(before, after)


def test_an_encoder_is_asked_twelve_times_at_most():
    for times in (0, 1, 99):
        encoder = Odd(fails(times))
        instability(encoder, encoder_answer(encoder))
        assert encoder.passes <= 12


def test_the_same_weights_saved_again_are_the_same_encoder(photos, folder, tmp_path):
    before = began(photos, model=str(folder))
    again = CLIPVisionModelWithProjection.from_pretrained(folder)
    again.save_pretrained(tmp_path / "again")
    shutil.copy(folder / "preprocessor_config.json", tmp_path / "again")
    torch.testing.assert_close(
        load_file(folder / "model.safetensors"), load_file(tmp_path / "again" / "model.safetensors"), rtol=0, atol=0
    )
    assert not changed(before, began(photos, model=str(tmp_path / "again")))
    settings = {"transformers_version": "5.0.0", "_name_or_path": "elsewhere", "dtype": "bfloat16", "architectures": []}
    assert not changed(before, began(photos, model=str(edited(folder, tmp_path, **settings))))
    file = tmp_path / "again" / "config.json"
    file.write_text(json.dumps(dict(sorted(json.loads(file.read_text()).items(), reverse=True))))
    assert not changed(before, began(photos, model=str(tmp_path / "again")))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_batches_workers_and_devices_are_no_other_encoder(photos, folder, precision):
    before = began(photos, model=str(folder), precision=precision)
    other = began(photos, model=str(folder), precision=precision, batch_size=1, workers=2, device="cpu")
    assert not other_answers(before, other.answers)


@pytest.mark.slow
@pytest.mark.parametrize("precision", first_only(["float32", "bfloat16"]))
def test_other_threads_and_instructions_are_no_other_encoder(folder, precision):
    program = f"""
        import os
        os.environ |= {{"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"}}
        import torch
        torch.set_num_threads(1)
        import embedshift
        from embedshift.pipeline.identity import encoder_answer
        print(encoder_answer(embedshift.load_encoder({str(folder)!r}, precision={precision!r})))
    """
    other, threads = eval(run_python(program)), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one = encoder_answer(embedshift.load_encoder(str(folder), precision=precision))
    finally:
        torch.set_num_threads(threads)
    assert distance(one, other) <= allowed(ENCODER, precision) / 4


def test_a_version_that_stays_says_that_the_function_is_the_same(photos, own):
    text = f"{GLOBALS}\nof_list.version = '1'\n"
    own(text)
    before = began(photos, model="python:own_code:of_list")
    own(text.replace("** LEVELS[0]", "** LEVELS[0]  # the first"))
    assert not changed(before, began(photos, model="python:own_code:of_list"))
    own(text.replace("** LEVELS[0]", "** LEVELS[1]"))
    assert "the encoder gives other numbers" in changed(before, began(photos, model="python:own_code:of_list"))


# No function of the image.


class Dropout(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x.flatten(1), 0.1, True)


class Counting(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x.flatten(1) + self.calls


UNSTABLE = {
    "noise": Dropout,
    "state": Counting,
    "statistics of the batch": lambda: nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()),
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", UNSTABLE)
def test_an_encoder_that_is_no_function_of_the_image_is_refused_or_measured_on_request(photos, case, precision):
    with pytest.raises(UsageError, match=r"^net: the embedding of one image depends on .* with `allow_unstable`$"):
        began(photos, embedshift.wrap(UNSTABLE[case](), **STATS, precision=precision))
    study = began(photos, embedshift.wrap(UNSTABLE[case](), **STATS, precision=precision), allow_unstable=True)
    assert study.encoder.instability > 0.02
    again = began(photos, embedshift.wrap(UNSTABLE[case](), **STATS, precision=precision), allow_unstable=True)
    assert case == "state" or not changed(study, again)


def test_an_augmentation_that_draws_from_elsewhere_is_refused(photos):
    def noisy(image, rng):
        return image // np.random.default_rng().integers(1, 99, dtype=np.uint8)

    with pytest.raises(UsageError, match="'noisy' draws another view from the same seed"):
        began(photos, MeanColour(), augmentations={"noisy": noisy})
    assert began(photos, MeanColour(), augmentations={"noisy": noisy}, allow_unstable=True).answers


def test_an_array_that_an_encoder_fills_again_and_again_is_copied(photos, tmp_path):
    kept = np.empty((64, 3), np.float32)

    def fills(images):
        kept[: len(images)] = [np.asarray(image, float).mean((0, 1)) for image in images]
        return kept[: len(images)]

    def fresh(images):
        return fills(images).copy()

    studies = [
        embedshift.run(
            photos, out=tmp_path / each.__name__, augmentations=SUITE, workers=0, batch_size=2,
            model=embedshift.image_encoder(each, name="colours", version="1", size=SIZE),
        ).rows().select("image_id", "view", "embedding").sort("image_id", "view").collect()
        for each in (fills, fresh)
    ]  # fmt: skip
    assert studies[0].equals(studies[1])


# Distances, against NumPy.


def test_the_distance_of_two_answers():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 3, 20)).astype(np.float32)
    expected = max(np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in zip(one, other, strict=True))
    assert distance(as_answer(one), as_answer(other)) == pytest.approx(expected, rel=1e-5)
    assert distance(as_answer(one), as_answer(other[:, :19])) == np.inf
    gone = one.copy()
    gone[1:] = np.nan
    assert as_answer(gone)[1:] == (None, None)
    assert distance(as_answer(gone), as_answer(one)) == 0 == distance((), as_answer(one))


def test_two_studies_are_of_one_encoder_by_their_answers():
    def info(answer, **fields):
        known = {"weights_hash": "w", "embedding": None, "dim": 2, "configuration": {}, "size": 8, "mean": 0, "std": 1}
        record = SimpleNamespace(**(known | {"precision": "float32", "instability": 0.0} | fields))
        return SimpleNamespace(encoder=record, answers={ENCODER: answer})

    near, far = ((1.0, 2.0001),), ((1.0, 2.1),)
    first = info(((1.0, 2.0),))
    assert is_same_encoder(first, info(near))
    assert not is_same_encoder(first, info(far))
    assert is_same_encoder(first, info(far, precision="bfloat16", size=16))
    assert not is_same_encoder(first, info(near, weights_hash="v"))


def test_an_encoder_of_another_process_that_answers_otherwise_is_refused(photos, folder, tmp_path):
    config = make_config({"images": (str(photos),), "model": str(folder)})
    with prepared(config, None) as study, ready(study.plan.spec, compiled=False):
        elsewhere = replace(config, model=str(edited(folder, tmp_path, hidden_act="gelu")))
        with (
            pytest.raises(EmbedshiftError, match=r" on .* gives other numbers than where the run began"),
            ready(replace(study.plan.spec, config=elsewhere), compiled=False),
        ):
            pass
