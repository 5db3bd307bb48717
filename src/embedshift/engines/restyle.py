"""Views restyled by diffusion, as files: prompts at strengths, and the VAE round trip as control."""

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from embedshift.arrays import Pixels, Values
from embedshift.augmentations.views import view_seed
from embedshift.config import Json, Level, ViewsConfig
from embedshift.config.safe_files import expanded, read_yaml
from embedshift.encoders.restyle import Restyler, View
from embedshift.engines.job import Progress, Start
from embedshift.engines.views_folder import (
    ViewsFolder,
    begun_views,
    continued,
    fill,
    list_images,
    made_one_by_one,
    read_original,
    save_manifest,
)
from embedshift.errors import EmbedshiftError, UsageError, foreign_code
from embedshift.registry.extras import cv2
from embedshift.sources import ImageRef
from embedshift.sources.base import Failure, storable
from embedshift.sources.images import reduced
from embedshift.sources.views_file import (
    ORIGINALS,
    TEXT,
    VIEWS,
    ImageFiles,
    ViewsAugmentation,
    ViewsFile,
    ViewsImage,
    file_hash,
    folder_of,
)

VERSIONS = ("diffusers", "torch", "transformers", "pillow")
# The prompts of the package, and the view of strength 0.
PROMPTS, CONTROL = Path(__file__).with_name("restyle.yaml"), "vae_round_trip"
# Maximum strength at which the nearest original should be a view's own, and the side in pixels of compared images.
MILD, SIDE = 0.2, 32


@dataclass(frozen=True, kw_only=True)
class RestyledFolder(ViewsFolder):
    config: ViewsConfig
    restyler: Restyler
    prompts: Mapping[str, str]

    def canvas(self, image: Pixels) -> Pixels:
        return self.restyler.fit(reduced(image, min(self.config.longest, self.restyler.native)))


def run_restyle(
    config: ViewsConfig,
    out: Path,
    *,
    progress: Progress = lambda _: None,
    on_start: Callable[[Start], None] = lambda _: None,
) -> ViewsFile:
    prompts, augmentations = checked(config)
    source, samples = list_images(config, out)
    restyler = Restyler(str(config.restyle), config.device, config.steps)
    made_by = {
        "restyle": restyler.identity(),
        "prompts": prompts,
        "strengths": sorted(dict.fromkeys(config.strengths)),
        "steps": config.steps,
        "batch_size": config.batch_size,
    }
    begun = begun_views(config, samples, augmentations, made_by, VERSIONS)
    folder = RestyledFolder(
        out=out, config=config, folders=(ORIGINALS, *begun.folders), format=config.format, quality=config.quality,
        restyler=restyler, prompts=prompts,
    )  # fmt: skip
    with continued(out, begun) as begun:

        def made(pending: Sequence[ImageRef]) -> Iterator[ImageFiles | Failure]:
            return made_one_by_one(pending, source, folder, "draw", functools.partial(_drawn, folder, begun))

        views = fill(begun, folder, source, samples, made, progress=progress, on_start=on_start)
        views = replace(views, doubtful=doubtful(folder, views))
        save_manifest(out, views)
    return views


def checked(config: ViewsConfig) -> tuple[dict[str, str], dict[str, ViewsAugmentation]]:
    """Returns the prompts and the augmentations: a family per prompt, a level per strength above 0."""
    if config.augmentations != ViewsConfig.augmentations or config.families or config.apply_to != "file":
        raise UsageError("`restyle` takes `prompts` and `strengths`; leave out augmentations, families and `apply_to`")
    prompts = read_prompts(config.prompts)
    strengths = sorted(dict.fromkeys(config.strengths))
    if wrong := [strength for strength in strengths if strength and int(config.steps * strength) < 1]:
        raise UsageError(f"`strengths` {wrong[0]:g} of `steps` {config.steps} is less than a step; give more steps")
    augmentations: dict[str, ViewsAugmentation] = {}
    if 0 in strengths:
        augmentations[CONTROL] = ViewsAugmentation(description="Through the model's VAE alone: strength 0")
    for name, prompt in prompts.items():
        for number, strength in enumerate(filter(None, strengths), start=1):
            level = Level(family=name, number=number, parameter=strength, unit="strength", zero=0.0)
            words = f"Restyled at strength {strength:g}: {prompt}"[:TEXT]
            augmentations[f"{name}@{number}"] = ViewsAugmentation(description=words, level=level, seeded_by=name)
    if not 0 < config.draws * len(augmentations) <= VIEWS:
        raise UsageError(f"`strengths` and `draws` give {config.draws * len(augmentations):,} views of an image")
    return prompts, augmentations


def read_prompts(file: str | None) -> dict[str, str]:
    """Reads prompts by name from YAML; None = the twelve of the package."""
    path = PROMPTS if file is None else expanded(file)
    content = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise UsageError(f"`prompts`: {path}: give a mapping of names to prompts, such as `watercolour: a watercolour`")
    for name, prompt in content.items():
        if not isinstance(name, str) or not name.replace("_", "").replace("-", "").isalnum() or name == CONTROL:
            raise UsageError(f"`prompts`: {path}: {name!r:.60}: a name has letters, digits, _ and -")
        if not isinstance(prompt, str) or not prompt.strip():
            raise UsageError(f"`prompts`: {path}: {name}: give a text")
    return content


@foreign_code()
def _drawn(folder: RestyledFolder, begun: ViewsFile, sample: ImageRef, pixels: str, original: Pixels) -> ViewsImage:
    image_id, config = storable(sample.image_id), folder.config
    before = file_hash(folder.path(ORIGINALS, image_id))
    files = {ORIGINALS: folder.write(ORIGINALS, image_id, original)}
    known = begun.images.get(image_id)
    seeds: dict[str, int] = {}
    parameters: dict[str, Json] = {}
    pending: dict[float, list[tuple[str, View]]] = {}
    for draw, (name, augmentation) in itertools.product(range(config.draws), begun.augmentations.items()):
        view = folder_of(name, draw, config.draws)
        strength = augmentation.level.parameter if augmentation.level else 0.0
        seeds[view] = view_seed(config.seed, image_id, augmentation.seeded_by or name, draw)
        prompt = folder.prompts[augmentation.seeded_by] if augmentation.level else ""
        parameters[view] = {"prompt": prompt, "strength": strength}
        # Views of a killed run are complete, since files appear at once.
        there = file_hash(folder.path(view, image_id)) if before == files[ORIGINALS] else ""
        if there and (known is None or known.files.get(view) == there):
            files[view] = there
        else:
            pending.setdefault(strength, []).append((view, View(prompt, strength, seeds[view])))
    for strength, views in pending.items():
        size = config.batch_size if strength else 1
        for batch in (views[start : start + size] for start in range(0, len(views), size)):
            drawn = _batch(folder.restyler, original, [view for _, view in batch])
            files |= {name: folder.write(name, image_id, image) for (name, _), image in zip(batch, drawn, strict=True)}
    return ViewsImage(pixels=pixels, files=files, seeds=seeds, parameters=parameters, caption=sample.caption)


def _batch(restyler: Restyler, original: Pixels, views: Sequence[View]) -> list[Pixels]:
    return restyler.restyled(original, views) if views[0].strength else [restyler.round_trip(original, views[0].seed)]


def doubtful(folder: RestyledFolder, views: ViewsFile) -> dict[str, tuple[str, ...]]:
    """Returns the mild views whose nearest original by pixels is another image's: the model may have failed."""
    ids = sorted(views.images)
    mild = [
        folder_of(name, draw, views.draws)
        for name, entry in views.augmentations.items()
        for draw in range(views.draws)
        if entry.level is None or entry.level.parameter <= MILD
    ]
    originals = np.stack([_small(folder.path(ORIGINALS, image_id)) for image_id in ids])
    found: dict[str, tuple[str, ...]] = {}
    for place, image_id in enumerate(ids):
        wrong = []
        for view in mild:
            away = np.square(originals - _small(folder.path(view, image_id))).sum(axis=1)
            wrong += [view] if away[place] > away.min() else []
        if wrong:
            found[image_id] = tuple(wrong)
    return found


def _small(path: Path) -> Values:
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.float64).ravel()


@dataclass(frozen=True)
class TimeEstimate:
    """Estimated cost of restyling, from one round trip and one step: seconds of each and of all, and memory."""

    images: int
    views: int
    round_trip: float
    step: float
    seconds: float
    memory: int


def estimate(config: ViewsConfig, out: Path) -> TimeEstimate:
    prompts, augmentations = checked(config)
    source, samples = list_images(config, out)
    restyler = Restyler(str(config.restyle), config.device, config.steps)
    folder = RestyledFolder(out=out, config=config, folders=(), restyler=restyler, prompts=prompts)
    read = next((each for sample in samples if isinstance(each := read_original(sample, source, folder), tuple)), None)
    if read is None:
        raise EmbedshiftError("no image can be read")
    image, one_step = read[1], View(next(iter(prompts.values())), 1 / config.steps, 0)
    restyler.round_trip(image, 0)
    restyler.restyled(image, [one_step])
    started = time.perf_counter()
    restyler.round_trip(image, 0)
    middle = time.perf_counter()
    restyler.restyled(image, [one_step])
    trip = middle - started
    step = max(time.perf_counter() - middle - trip, 0.0)
    strengths = [entry.level.parameter if entry.level else 0.0 for entry in augmentations.values()]
    seconds = sum(trip + int(config.steps * strength) * step for strength in strengths) * config.draws * len(samples)
    return TimeEstimate(len(samples), config.draws * len(strengths), trip, step, seconds, restyler.memory)
