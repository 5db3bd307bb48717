"""Fits the map that whitens the embeddings of studies, and writes it for use elsewhere, also as an ONNX graph."""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from embedshift.config.safe_files import write_file
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.statistics.linear_map import LinearMap
from embedshift.statistics.whitening import MOST_DIM, ShiftMoments, Whitening, load_whitening, shift_moments
from embedshift.store.groups import Choice
from embedshift.store.info import is_same_encoder
from embedshift.store.reader import Reader
from embedshift.store.table import installed_tables, tables_of
from embedshift.store.tables import make_tables
from embedshift.study.study import Study, as_study, load

MAPS = {"centred": ShiftMoments.centred, "originals": ShiftMoments.by_originals, "shifts": ShiftMoments.by_shifts}


def whiten(
    studies: Study | str | Path | Sequence[Study | str | Path],
    *,
    out: str | Path | None = None,
    map: str | None = None,
    onnx: str | Path | None = None,
    groups: Choice | None = None,
) -> Whitening:
    """Fits a linear map after which embeddings are less sensitive to the changes that studies measured.

    Args:
        studies: One study or several of one encoder, or their folders; each must store its embeddings.
        out: An npz file to write the map to; `Whitening.load` reads it. None = it is not written.
        map: "centred" subtracts the mean of the originals, "originals" also whitens the originals, "shifts" whitens the
            shifts. None = the one that the table `whitening` of the studies recommends; that table is made where it is
            missing.
        onnx: An ONNX file to write the map to; needs `onnx`.
        groups: Which images are not independent, as for `run`; None = the groups of each study.

    Returns:
        The map; call it with embeddings `[n, D]`.

    Raises:
        UsageError: A study stores no embeddings, is not finished, or has another encoder than the first; or the map is
            unknown, needs views that there are not, or is not named and none is recommended.
        EmbedshiftError: `onnx` is not installed.

    Example:
        >>> import tempfile, numpy as np
        >>> from embedshift import run, wrap
        >>> from PIL import Image
        >>> from torch import nn
        >>> folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(0)
        >>> for name in "abcdefghij":
        ...     Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{name}.png")
        >>> encoder = wrap(nn.Flatten(), size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> dark = {"dark": lambda image, rng: image // 2}
        >>> study = run(folder, out=folder / "study", model=encoder, augmentations=dark, workers=0)
        >>> whiten(study, out=folder / "map.npz", map="originals")(np.ones((2, 192), np.float32)).shape
        (2, 192)
    """
    listed = [studies] if isinstance(studies, Study | str | Path) else studies
    opened = [as_study(study) for study in listed]
    check_studies(opened)
    for study in opened:
        study.regroup(groups)
    readers = [study.reader() for study in opened]
    if map is not None and map not in MAPS:
        raise UsageError(f"`map` {map!r}: choose one of {', '.join(MAPS)}")
    if out is not None and onnx is not None and Path(out).resolve() == Path(onnx).resolve():
        raise UsageError(f"{out}: named for the map and for `onnx`; name two files")
    parts = [part for reader in readers if (part := shift_moments(reader.image_rows)) is not None]
    if not parts:
        raise UsageError(f"{readers[0].folder}: maps are fitted to vectors of at most {MOST_DIM:,} numbers")
    moments = functools.reduce(operator.add, parts)
    chosen = map or recommendation(whitening_tables(opened))
    if chosen is None:
        raise UsageError(f"no map is recommended; name one by `map`: {', '.join(MAPS)}")
    if chosen == "shifts" and not moments.shifts:
        raise UsageError("`map` shifts needs views of augmentations, and these studies have none; choose originals")
    encoder = readers[0].info.encoder
    known = chosen, encoder.weights_hash, encoder.embedding or "", version("embedshift")
    unnamed = MAPS[chosen](moments)
    fitted = Whitening(unnamed.mean, unnamed.matrix, *known)
    if onnx is not None:
        write_onnx(fitted, Path(onnx))
    if out is not None:
        fitted.save(out)
    return fitted


class WhitenedStudy(Study):
    """A study as it would be if its embeddings came through a map; its tables are made in memory."""

    def __init__(self, folder: str | Path, path: str | Path) -> None:
        super().__init__(Path(folder))
        self.whitening_map, self._made = load_whitening(path), dict[str, pl.DataFrame]()
        check_studies([load(folder)])
        own, fitted = super().reader().info.encoder, self.whitening_map
        if (own.dim, own.weights_hash, own.embedding or "") != (len(fitted.mean), fitted.encoder, fitted.embedding):
            raise UsageError(f"{path}: fitted to embeddings of another encoder than {folder} has")

    def reader(self, *choices: Any) -> Reader:
        return replace(super().reader(*choices), whitening=self.whitening_map, made=self._made)

    def regroup(self, groups: Choice | None) -> None:
        Study(self.folder).regroup(groups)

    def table(self, name: str, choices: object = None, /, **settings: Any) -> pl.DataFrame:
        self.regroup(settings.pop("groups", None))
        if choices is not None or settings or name not in self._made:
            entry = installed_tables().get(name)
            if entry is None:
                raise UsageError(f"{self.folder}: no table '{name}' with a map")
            question = entry.question
            chosen = choices if question.choices is None or choices is not None else question.choices(**settings)
            self._made |= make_tables(self.reader(chosen), {table.name for table in tables_of([question])})
        return self._made[name]


def whitened(folders: Sequence[Path], path: Path) -> list[Study]:
    first, *others = folders
    return [load(first), *(WhitenedStudy(folder, path) for folder in others or [first])]


def whitening_tables(studies: Sequence[Study]) -> list[pl.DataFrame]:
    return [study.whitening() for study in studies if study.augmentations]


def recommendation(tables: Sequence[pl.DataFrame]) -> str | None:
    """Returns the map that the tables recommend, of several the least simple; None if no map helps."""
    names = [name for table in tables for name in table.filter("recommended")["map"].unique()]
    return max(names, key=list(MAPS).index, default=None)


def check_studies(studies: Sequence[Study]) -> None:
    if not studies:
        raise UsageError("no study given: name one or more folders")
    readers = [study.reader() for study in studies]
    for reader in readers:
        reader.refuse_without_vectors()
        if not reader.info.complete:
            raise reader.unfinished()
        if not is_same_encoder(reader.info, readers[0].info):
            raise UsageError(f"{reader.folder}: of another encoder than {readers[0].folder}; whiten them separately")


# As `LinearMap.__call__`. Opset and format are those that runtimes since 2022 read.
HEAD = '<ir_version: 8, opset_import: ["": 13], producer_name: "embedshift">'
UNIT = """{ends}_sizes = Abs ({given})
  {ends}_largest = ReduceMax <axes = [1], keepdims = 1> ({ends}_sizes)
  {ends}_scale = Max ({ends}_largest, least)
  {ends}_scaled = Div ({given}, {ends}_scale)
  {ends}_length = ReduceL2 <axes = [1], keepdims = 1> ({ends}_scaled)
  {ends}_divisor = Max ({ends}_length, least)
  {ends} = Div ({ends}_scaled, {ends}_divisor)
"""


def graph(fitted: LinearMap) -> str:
    """Returns the map in ONNX's text; zero vectors stay so, by the sign of their largest number."""
    before, after = fitted.is_unit
    dim, end = fitted.matrix.shape
    lines = UNIT.format(given="embeddings", ends="unit") if before else ""
    given = "unit" if before else "embeddings"
    if not after:  # as precise as NumPy's
        lines += f"  exact = Cast <to = 11> ({given})\n"
        given = "exact"
    lines += f"  centred = Sub ({given}, mean)\n  turned = MatMul (centred, matrix)\n  moved = Add (turned, offset)\n"
    lines += "  " + UNIT.format(given="moved", ends="mapped") if after else "  mapped = Cast <to = 1> (moved)\n"
    lines += "  sizes = Abs (embeddings)\n  largest = ReduceMax <axes = [1], keepdims = 1> (sizes)\n"
    lines += "  is_there = Sign (largest)\n"
    name, result = ("whitening", "whitened") if fitted.is_whitening else ("upgrade", "queries")
    lines += f"  {result} = Mul (mapped, is_there)\n"
    return f"{HEAD}\n{name} (float[n, {dim}] embeddings) => (float[n, {end}] {result}) {{\n  {lines}}}"


def write_onnx(fitted: LinearMap | Sequence[LinearMap], path: Path) -> None:
    """Writes a map, or several one after the other, as an ONNX graph."""
    try:
        from onnx import compose, helper
    except ImportError as error:
        raise EmbedshiftError("ONNX files need the package onnx: pip install 'embedshift[offline]'") from error
    maps = [fitted] if isinstance(fitted, LinearMap) else [*fitted]
    model = _model(maps[0])
    for place, each in enumerate(maps[1:]):
        first, after = (
            compose.add_prefix(part, f"{place}{side}_") for part, side in ((model, "a"), (_model(each), "b"))
        )
        ends = [(first.graph.output[0].name, after.graph.input[0].name)]
        model = compose.merge_models(first, after, io_map=ends)
    if len(maps) > 1:
        _renamed(model, {model.graph.input[0].name: "embeddings", model.graph.output[0].name: "whitened"})
    helper.set_model_props(model, maps[0].described)
    write_file(path, model.SerializeToString())


def _renamed(model: Any, names: Mapping[str, str]) -> None:
    for end in (*model.graph.input, *model.graph.output):
        end.name = names.get(end.name, end.name)
    for node in model.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [names.get(name, name) for name in ends]


def _model(fitted: LinearMap) -> Any:
    from onnx import numpy_helper, parser

    kind = np.float32 if fitted.is_unit[1] else np.float64
    offset = np.zeros(fitted.matrix.shape[1]) if fitted.offset is None else fitted.offset
    arrays = {"mean": fitted.mean.astype(kind), "matrix": fitted.matrix.astype(kind), "offset": offset.astype(kind)}
    model = parser.parse_model(graph(fitted))
    if any(fitted.is_unit):
        arrays["least"] = np.array(np.finfo(np.float32).tiny)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    return model
