"""Views restyled by diffusion: against diffusers' own calls, with a tiny pipeline of random weights."""

import errno
import json
import multiprocessing
import os
import shutil
import sys
import time

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

import embedshift
from embedshift.augmentations.views import view_seed
from embedshift.engines import restyle, views_folder
from embedshift.errors import EmbedshiftError, MissingExtra, UsageError
from support.command import call
from support.mean_colour import MeanColour
from support.models import pictures_of
from support.once import made
from support.restyle_made import make_pipeline

pytestmark = pytest.mark.slow

PROMPTS = {"oil": "a red picture of a cat", "toy": "a small boat"}
STRENGTHS = (0, 0.2, 0.5)
VIEWS = ["vae_round_trip", "oil@1", "oil@2", "toy@1", "toy@2"]


@pytest.fixture(scope="module")
def model():
    return made(_model) / "model"


def _model(folder):
    make_pipeline(folder / "model")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    sizes = {"a.png": (40, 50), "b.bmp": (90, 120), "c.jpg": (33, 33)}
    folder = pictures_of(tmp_path_factory.mktemp("photos"), sizes)
    (folder / "damaged.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    file = tmp_path_factory.mktemp("prompts") / "prompts.yaml"
    file.write_text("\n".join(f"{name}: {prompt}" for name, prompt in PROMPTS.items()))
    return file


def write(photos, out, model, prompts, **more):
    settings = {"strengths": STRENGTHS, "steps": 10, "device": "cpu", "seed": 3} | more
    return embedshift.write_views(photos, out=out, restyle=str(model), prompts=str(prompts), **settings)


@pytest.fixture(scope="module")
def written(photos, model, prompts, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "views"
    return out, write(photos, out, model, prompts)


def files(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.png"))}


def pixels(path):
    return np.asarray(Image.open(path))


def test_the_views_are_those_of_diffusers_own_calls(written, photos, model):
    out, views = written
    assert views.folders == VIEWS
    assert sorted(views.images) == ["a.png", "b.bmp", "c.jpg"]
    assert [failure.image_id for failure in views.failures] == ["damaged.png"]
    pipe = diffusers.AutoPipelineForImage2Image.from_pretrained(model, local_files_only=True, use_safetensors=True)
    pipe.set_progress_bar_config(disable=True)
    # At most the model's 32 pixels, cut to whole patches of four.
    image = Image.open(photos / "b.bmp").resize((32, 24), Image.Resampling.BICUBIC, reducing_gap=3.0)
    np.testing.assert_array_equal(pixels(out / "original" / "b.png"), np.asarray(image))
    for name, prompt in PROMPTS.items():
        seed = view_seed(3, "b.bmp", name, 0)
        for number, strength in enumerate(STRENGTHS[1:], start=1):
            view = f"{name}@{number}"
            generator = torch.Generator("cpu").manual_seed(seed)
            drawn = pipe(prompt, image, strength, num_inference_steps=10, generator=generator).images[0]
            np.testing.assert_array_equal(pixels(out / view / "b.png"), np.asarray(drawn))
            assert views.images["b.bmp"].seeds[view] == seed
            assert views.images["b.bmp"].parameters[view] == {"prompt": prompt, "strength": strength}


def test_strength_0_is_the_round_trip_through_the_vae_alone(written, photos, model):
    out, _ = written
    vae = diffusers.AutoencoderKL.from_pretrained(model, subfolder="vae", use_safetensors=True)
    processor = diffusers.image_processor.VaeImageProcessor(vae_scale_factor=2)
    for name in ("a", "b", "c"):
        given = processor.preprocess(Image.open(out / "original" / f"{name}.png"))
        image_id = {"a": "a.png", "b": "b.bmp", "c": "c.jpg"}[name]
        generator = torch.Generator("cpu").manual_seed(view_seed(3, image_id, "vae_round_trip", 0))
        with torch.no_grad():
            decoded = vae.decode(vae.encode(given).latent_dist.sample(generator)).sample
        [expected] = processor.postprocess(decoded, output_type="pil")
        np.testing.assert_array_equal(pixels(out / "vae_round_trip" / f"{name}.png"), np.asarray(expected))


@pytest.mark.matrix
def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(written, photos, model, prompts, tmp_path):
    out, _ = written
    write(photos, tmp_path / "again", model, prompts)
    assert files(tmp_path / "again") == files(out)
    write(photos, tmp_path / "other", model, prompts, seed=4, strengths=(0.5,))
    assert files(tmp_path / "other")["oil@1/b.png"] != files(out)["oil@2/b.png"]
    two = write(photos, tmp_path / "two", model, prompts, batch_size=2, draws=2, strengths=(0.5,))
    assert two.folders == ["oil@1/0", "toy@1/0", "oil@1/1", "toy@1/1"]
    batched = pixels(tmp_path / "two" / "oil@1/0" / "b.png").astype(int)
    assert np.abs(batched - pixels(out / "oil@2" / "b.png")).max() <= 1


def stops_at_the_sixth(reached, given):
    """A run that waits for its end after five calls of the model."""
    drawn, real = [], restyle.Restyler.restyled

    def counted(self, image, views):
        if len(drawn) == 5:
            reached.set()
            time.sleep(60)
        drawn.append(views)
        return real(self, image, views)

    restyle.Restyler.restyled = counted
    torch.set_num_threads(1)  # a fork has none of the threads that its parent had
    write(*given)


def test_a_killed_run_goes_on_with_the_next_view(written, photos, model, prompts, tmp_path, monkeypatch):
    out = tmp_path / "views"
    forks = multiprocessing.get_context("fork")  # a new process would import diffusers again
    reached = forks.Event()
    process = forks.Process(target=stops_at_the_sixth, args=(reached, (photos, out, model, prompts)))
    process.start()
    assert reached.wait(60)
    process.kill()
    process.join()
    there = files(out)
    assert 0 < len(there) < len(files(written[0]))
    drawn = []
    real = restyle.Restyler.restyled
    monkeypatch.setattr(restyle.Restyler, "restyled", lambda *given: drawn.append(given[2]) or real(*given))
    write(photos, out, model, prompts)
    assert files(out) == files(written[0])
    assert len(drawn) == 3 * 4 - 5
    (out / "oil@1" / "a.png").write_bytes(b"damaged")
    (out / "toy@2" / "b.png").unlink()
    drawn.clear()
    write(photos, out, model, prompts)
    assert (len(drawn), files(out) == files(written[0])) == (2, True)


def test_the_views_are_measured_to_the_tolerance_and_the_report(written, tmp_path):
    file = written[0] / "views.json"
    study = embedshift.run(file, out=tmp_path / "study", model=MeanColour(), pairs=str(file), workers=0)
    assert study.augmentations == VIEWS
    summary = study.summary().filter(metric="cosine_similarity")
    assert summary["n"].to_list() == [3] * 5
    strength = study.table("strength").filter(metric="cosine_similarity")
    levels = [(name, number, value, "strength") for name in PROMPTS for number, value in ((1, 0.2), (2, 0.5))]
    assert strength.select("family", "level", "parameter", "unit").rows() == levels
    assert set(study.table("tolerance")["family"]) == {"oil", "toy"}
    assert study.table("search").filter(metric="recall@1", augmentation="vae_round_trip").height == 1
    page = study.report(figures=["strength"]).read_text()
    assert "vae_round_trip" in page
    assert "strength" in page


def test_mild_views_that_are_nearer_to_another_image_are_listed(written, photos, model, prompts, tmp_path, monkeypatch):
    out, views = written
    originals = {name: pixels(out / "original" / f"{name[0]}.png") for name in views.images}

    def small(image):
        import cv2

        return cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(float)

    for image_id in views.images:
        expected = []
        for view in ("vae_round_trip", "oil@1", "toy@1"):
            drawn = small(pixels(out / view / f"{image_id[0]}.png"))
            away = {name: float(((drawn - small(image)) ** 2).sum()) for name, image in originals.items()}
            expected += [view] if away[image_id] > min(away.values()) else []
        assert list(views.doubtful.get(image_id, ())) == expected
    real = restyle.Restyler.restyled
    other = originals["a.png"]

    def failing(self, image, given):
        return (
            [np.resize(other, image.shape).astype(np.uint8)] if given[0].strength == 0.2 else real(self, image, given)
        )

    monkeypatch.setattr(restyle.Restyler, "restyled", failing)
    failed = write(photos, tmp_path / "failed", model, prompts)
    assert {"oil@1", "toy@1"} <= set(failed.doubtful["b.bmp"])
    assert len(failed.images) == 3


def hostile(model, folder, change):
    shutil.copytree(model, folder)
    change(folder)
    return folder


def edited(file, **more):
    def change(folder):
        content = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps(content | more))

    return change


def pickled(folder):
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")


def linked(folder):
    (folder / "vae").rename(folder.with_name("elsewhere"))
    (folder / "vae").symlink_to(folder.with_name("elsewhere"))


def truncated(folder):
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


HOSTILE = {
    "pickle": (pickled, "its weights are a pickle; give safetensors"),
    "auto_map": (edited("text_encoder/config.json", auto_map={"AutoModel": "code.Model"}), "names auto_map; refused"),
    "own pipeline": (edited("model_index.json", _class_name=["pipeline", "Mine"]), "names a pipeline of its own"),
    "own part": (edited("model_index.json", unet=["my_unet", "Net"]), "names unet of ['my_unet', 'Net']; refused"),
    "outside": (edited("model_index.json", **{"../unet": ["diffusers", "UNet2DConditionModel"]}), "names ../unet of"),
    "code": (lambda folder: (folder / "unet" / "net.py").write_text("print(1)"), "net.py: code; the model must be"),
    "link": (linked, "a link to a folder; put the folder itself there"),
    "fifo": (lambda folder: os.mkfifo(folder / "vae" / "x.json"), "a FIFO"),
    "truncated": (truncated, "cannot be loaded ("),
    "no index": (lambda folder: (folder / "model_index.json").unlink(), "no model of diffusers"),
    "no class": (edited("model_index.json", _class_name="NoSuchPipeline"), "cannot be loaded ("),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_folders_are_refused_in_a_line(kind, photos, model, prompts, tmp_path):
    change, words = HOSTILE[kind]
    folder = hostile(model, tmp_path / "model", change)
    with pytest.raises(EmbedshiftError) as caught:
        write(photos, tmp_path / "views", folder, prompts)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "views" / "original").exists()


def test_wrong_settings_are_one_line(photos, model, prompts, tmp_path, monkeypatch):
    bad = tmp_path / "bad.yaml"
    for settings, words in (
        ({"prompts": "missing.yaml"}, "missing.yaml"),
        ({"strengths": (0.05,)}, "`strengths` 0.05 of `steps` 10 is less than a step; give more steps"),
        ({"strengths": (1.5,)}, "strengths"),
        ({"strengths": ()}, "`strengths` and `draws` give 0 views of an image"),
        ({"augmentations": "everyday"}, "leave out augmentations"),
        ({"apply_to": "input"}, "leave out augmentations, families and `apply_to`"),
        ({"restyle": str(tmp_path / "none")}, "none: no such folder"),
    ):
        given = {"restyle": str(model), "prompts": str(prompts), "steps": 10} | settings
        with pytest.raises(UsageError) as caught:
            embedshift.write_views(photos, out=tmp_path / "views", **given)
        assert words in str(caught.value), words
        assert "\n" not in str(caught.value)
    mistakes = {"[1, 2]": "give a mapping of names to prompts", "a/b: x": "a name has", "oil: 3": "oil: give a text"}
    for text, words in mistakes.items():
        bad.write_text(text)
        with pytest.raises(UsageError, match=words):
            write(photos, tmp_path / "views", model, bad)
    with pytest.raises(UsageError, match="`prompts` needs `restyle`"):
        embedshift.write_views(photos, out=tmp_path / "views", prompts=str(prompts))
    for name, value in (("strengths", (0, 0.2)), ("steps", 9), ("batch_size", 2)):
        with pytest.raises(UsageError, match=f"`{name}` needs `restyle`"):
            embedshift.write_views(photos, out=tmp_path / "views", **{name: value})
    out = tmp_path / "views"
    write(photos, out, model, prompts, strengths=(0,))
    with pytest.raises(UsageError, match="contains other views: strengths"):
        write(photos, out, model, prompts)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"pip install 'embedshift\[restyle\]'"):
        write(photos, tmp_path / "more", model, prompts)


@pytest.mark.matrix
def test_a_full_disk_ends_it_in_a_line_and_it_goes_on_later(photos, model, prompts, tmp_path, monkeypatch):
    real, count = views_folder.write_atomically, []

    def full(path, fill):
        count.append(path)
        if len(count) > 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, fill)

    monkeypatch.setattr(views_folder, "write_atomically", full)
    with pytest.raises(EmbedshiftError, match="No space left on device"):
        write(photos, tmp_path / "views", model, prompts)
    monkeypatch.undo()
    assert len(write(photos, tmp_path / "views", model, prompts).images) == 3


def test_the_safety_checker_makes_a_failure_of_its_image(photos, model, prompts, tmp_path, monkeypatch):
    kind = diffusers.StableDiffusionImg2ImgPipeline
    real = kind.run_safety_checker

    def checker(self, image, *given):
        return real(self, image, *given)[0], [image.shape[-2] == 24] * len(image)

    monkeypatch.setattr(kind, "run_safety_checker", checker)
    views = write(photos, tmp_path / "views", model, prompts, batch_size=2)
    assert list(views.images) == ["c.jpg"]  # the only square
    words = "the model's safety checker blanked 'a red picture of a cat' at strength 0.2"
    assert [failure.reason for failure in views.failures if failure.image_id != "damaged.png"] == [words] * 2


def test_the_command_estimates_writes_and_says_what_to_do(photos, model, prompts, tmp_path, monkeypatch, capsys):
    given = ["views", photos, "--out", tmp_path / "views", "--restyle", model, "--prompts", prompts, "--device", "cpu"]
    given += ["--strengths", "0,.2", "--steps", "5"]
    dry = call(monkeypatch, capsys, *given, "--dry-run", "--json")
    found = json.loads(dry.out)
    assert (found["images"], found["views"]) == (4, 3)
    assert found["seconds"] == pytest.approx(4 * (3 * found["round_trip"] + 2 * found["step"]))
    assert found["memory"] > 1e7
    assert not (tmp_path / "views").exists()
    words = call(monkeypatch, capsys, *given, "--dry-run").out
    assert "images: 4, views: 3 per image" in words
    assert "s a step)" in words
    done = call(monkeypatch, capsys, *given)
    assert (done.code, "3 of 4 images written, each with 3 views" in done.out) == (0, True)
    assert call(monkeypatch, capsys, "views", photos, "--out", tmp_path / "x", "--dry-run").code == 2


def test_the_twelve_prompts_of_the_package():
    prompts = restyle.read_prompts(None)
    assert list(prompts) == [
        "watercolour", "pencil", "oil", "anime", "mosaic", "night", "snow", "rain", "fog", "photograph_of_the_1920s",
        "sculpture", "toy",
    ]  # fmt: skip


def test_a_hub_that_cannot_be_reached_is_one_line(photos, prompts, tmp_path):
    with pytest.raises(EmbedshiftError, match="no model of the Hugging Face Hub can be loaded") as caught:
        write(photos, tmp_path / "views", "nobody/nothing", prompts)
    assert "\n" not in str(caught.value)
