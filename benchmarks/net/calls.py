"""What Python asks a study: each function prints what it gets. `commands.txt` names them behind `python:`."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import embedshift


def names() -> None:
    """The public names with their signatures, the methods of what they return, and what they are documented with."""
    for name in sorted(embedshift.__all__):
        value = getattr(embedshift, name)
        print(name, _signature(value))
        if inspect.isclass(value):
            for member in sorted(set(dir(value)) - set(dir(Exception))):
                if not member.startswith("_"):
                    print(f"  {name}.{member}", _signature(inspect.getattr_static(value, member)))


def documentation() -> None:
    for name in sorted(embedshift.__all__):
        print(name, "\n", inspect.getdoc(getattr(embedshift, name)))


def _signature(value: Any) -> str:
    try:
        return str(inspect.signature(value))
    except (TypeError, ValueError):
        return type(value).__name__


def study(folder: str) -> None:
    """All that a study says of itself, and all its tables, which are made again."""
    given = embedshift.load(folder)
    given.write_tables()
    print(given)
    print(given._repr_html_())
    print(given.augmentations, given.metrics, given.table_names, given.is_complete(), given.is_reported())
    print(given.info()["config_hash"], json.dumps(given.info()["identity"], sort_keys=True))
    print(given.failures().write_json())
    print(given.rows().collect().write_json())
    for name in given.table_names:
        _print(name, given.table(name))
    print(given.card())


def table(folder: str, name: str, settings: str = "{}") -> None:
    _print(name, getattr(embedshift.load(folder), name)(**json.loads(settings)))


def _print(name: str, frame: pl.DataFrame) -> None:
    print(name, dict(frame.schema))
    print(frame.write_json())


def compared(*folders: str) -> None:
    found = embedshift.compare(folders, shift_margin=1.2, recall_margin=0.05)
    print(found, found._repr_html_(), found.verdict)
    print(json.dumps(found.to_dicts()))
    for name, frame in found.tables.items():
        _print(name, frame)


def checked(folder: str, against: str, rules: str) -> None:
    found = embedshift.check(folder, rules, against=against)
    print(found, found._repr_html_(), found.outcome, found.passes(), found.passes(strict=True))
    print(json.dumps(found.to_dicts()))


def upgraded(old: str, new: str) -> None:
    found = embedshift.upgrade(old, new, recall_margin=0.05)
    print(found, found._repr_html_())
    print(json.dumps(found.to_dicts()))


def drifted(folder: str, batch: str, unchanged: str) -> None:
    drift = embedshift.load(folder).drift(batch)
    print(drift, drift._repr_html_(), json.dumps(drift.to_dicts()))
    _print("table", drift.table)
    _print("power", drift.power)
    stream = embedshift.load(folder).drift()
    for start in range(0, 60, 20):
        stream.update(np.load(unchanged)[start : start + 20], batch="unchanged")
    _print("stream", stream.table)


def mapped(path: str) -> None:
    """A map of this or an earlier revision."""
    fitted = embedshift.Whitening.load(path)
    print(fitted)
    print(repr(fitted(np.eye(len(fitted.matrix), dtype=np.float32)[:3])))


def written_vectors(out: str, originals: str, views: str) -> None:
    """A study of arrays, and its frames."""
    made = embedshift.from_vectors(np.load(originals), {"a": np.load(views)}, out=Path(out), model="arrays")
    print(made.to_pandas().to_json())
    print(made.to_pandas(embeddings=True).to_json())


def drawn(folder: str, name: str) -> None:
    """A figure's texts and lines."""
    figure = embedshift.load(folder).figure(name)
    for axes in figure.axes:
        print(axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), [each.get_text() for each in axes.texts])
        print([np.asarray(line.get_ydata(), float).tolist() for line in axes.lines])


def views() -> None:
    """Views of an image: hashes of their pixels."""
    import hashlib

    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), np.uint8)
    for suite in ("paper", "everyday", "copies"):
        made = embedshift.make_views(image, augmentations=suite, image_id="x")
        print(suite, {name: hashlib.sha256(view.tobytes()).hexdigest() for name, view in made.items()})
