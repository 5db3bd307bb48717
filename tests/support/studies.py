"""Finished studies by their settings, with the images and encoders that they need: each is made once in a test run.

They are for reading; `copied` gives a study to write into.
"""

import shutil
from pathlib import Path
from typing import Any

import embedshift
from embedshift.encoders import Encoder
from embedshift.sources import remember_roots
from embedshift.store.info import read_content, write_content
from embedshift.study import Study
from support import captioned, models, tokenizers_made
from support.once import made
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


def pictures(count: int, **settings: Any) -> Path:
    """Smooth pictures that differ, as `models.pictures` draws them."""
    return made(models.pictures, count, **settings)


def captioned_pictures() -> Path:
    """Seven pictures, four with a caption."""
    return made(captioned.captioned)


def checkpoint(kind: str) -> Path:
    """A tiny checkpoint of one of `models.MAKERS`, or "reader": a CLIP with both towers and a tokenizer."""
    return made(tokenizers_made.make_clip) if kind == "reader" else made(_checkpoint, kind)


def _checkpoint(folder: Path, kind: str) -> None:
    models.make(kind, folder)


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
