"""Finished studies by their settings, with the images and encoders that they need: each is made once in a test run.

They are for reading; `copied` gives a study to write into.
"""

import shutil
from pathlib import Path
from typing import Any

import embedshift
from embedshift.encoders import Encoder
from embedshift.sources import remember_roots
from embedshift.sources.base import Failure
from embedshift.store.info import read_content, write_content
from embedshift.study import Study
from support import captioned, comparing, models, tokenizers_made
from support.graded import MADE, graded
from support.once import made
from support.pairs import run_pairs, tiles, write_pairs
from support.report_fixtures import CLOSING, NASTY
from support.synthetic import make_study


def synthetic(*given: Any, **settings: Any) -> Study:
    """A study made of numbers; the arguments are those of `make_study` behind its folder."""
    return Study(made(make_study, *given, **settings))


def measured(images: Path, model: Path | Encoder | str, **settings: Any) -> Study:
    """A study of a run; `model` is the folder of a checkpoint or an encoder."""
    return Study(made(_run, images, model, **settings))


def reported(study: Study, **settings: Any) -> Study:
    """The same study, which was made once, with a report by these settings."""
    return Study(made(_report, study.folder, **settings))


def copied(study: Study, folder: Path) -> Study:
    """A copy to write into; pictures within the study are copied with it."""
    shutil.copytree(study.folder, folder)
    content = _moved(read_content(folder), str(study.folder), str(folder))
    write_content(folder, content)
    remember_roots(content["source"])
    return Study(folder)


def paper() -> Study:
    """12 images with pictures under the paper's augmentations."""
    return synthetic(12, with_pictures=True)


def every() -> Study:
    """40 images in two shards, with all that a question can add; three augmentations, the strongest first."""
    asked = {"layers": 5, "heads": (5, 4), "text": True, "looks": True}
    return synthetic(40, ["noise", "elastic", "blur"], shard_size=20, with_pictures=True, **asked)


def few(images: int) -> Study:
    """A study of so few images that numbers lack intervals, or CKA; its report has no figure."""
    return reported(synthetic(images, ["noise", "blur"], layers=3, heads=(2, 2), looks=True), figures=[])


def nasty() -> Study:
    """Fourteen images with pictures, names of the worst kind, two failures, and a report with all figures."""
    names = [*NASTY, CLOSING, *(f"plain-{index}.png" for index in range(7))]
    failures = [
        Failure("<b>broken</b>.jpg", "decode", "the picture is damaged </script><script>alert(4)</script>"),
        Failure("gone.jpg", "read", "No such file or directory"),
    ]
    return reported(synthetic(names, with_pictures=True, failures=failures), formats=["svg"])


def plain() -> Study:
    """8 images and two augmentations of the paper, with nothing else, and a report with one figure."""
    return reported(synthetic(8, ["noise", "blur"]), figures=["radar"], formats=["svg"])


def families() -> Study:
    """30 images with pictures under the views of three families."""
    return synthetic(30, graded(*MADE), with_pictures=True)


def compared() -> list[Study]:
    """A study of 24 images, two draws and five augmentations, and two of other encoders that it is compared with."""
    folder = made(_compared)
    return [Study(folder / name) for name in "abc"]


def paired() -> tuple[Path, Study]:
    """Nine images with two variants, and their study by mean colours."""
    pairs = made(_pairs)
    return pairs, Study(made(_paired, pairs))


def pictures(count: int, **settings: Any) -> Path:
    """Smooth pictures that differ, as `models.pictures` draws them."""
    return made(models.pictures, count, **settings)


def captioned_pictures() -> Path:
    """Seven pictures, four with a caption."""
    return made(captioned.captioned)


def checkpoint(kind: str) -> Path:
    """A tiny checkpoint of one of `models.MAKERS`, or "reader": a CLIP with both towers and a tokenizer."""
    return made(_checkpoint, kind) / kind


def _compared(folder: Path) -> None:
    comparing.three_studies(comparing.first_study(folder / "a"), folder)


def _pairs(folder: Path) -> None:
    write_pairs(folder, tiles(9))


def _paired(folder: Path, pairs: Path) -> None:
    run_pairs(pairs, folder)


def _checkpoint(folder: Path, kind: str) -> None:
    if kind == "reader":
        tokenizers_made.make_clip(folder / kind)
    else:
        models.make(kind, folder / kind)


def _run(folder: Path, images: Path, model: Path | Encoder | str, **settings: Any) -> None:
    encoder = str(model) if isinstance(model, Path) else model
    embedshift.run(images, out=folder, model=encoder, **{"workers": 0, **settings})


def _report(folder: Path, study: Path, **settings: Any) -> None:
    copied(Study(study), folder).report(**settings)


def _moved(value: Any, old: str, new: str) -> Any:
    """A content with the paths below another folder."""
    if isinstance(value, dict):
        return {key: _moved(each, old, new) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, old, new) for each in value]
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old + "/") else value
