"""`Study`: the Python interface to a study's folder, on top of the reader and the tables of the questions."""

import dataclasses
import difflib
import inspect
import webbrowser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any

import polars as pl

from embedshift.config import Json
from embedshift.errors import EmbedshiftError, UsageError
from embedshift.registry import COMMANDS, REPLACED, Command, made, unknown_name
from embedshift.report.changes import changes_of, finding
from embedshift.report.numbers import count
from embedshift.statistics.summary import COSINE
from embedshift.statistics.vectors import MOST_AUGMENTATIONS
from embedshift.store.grouping import INDEPENDENT, are_stored, choose, regrouped
from embedshift.store.groups import Choice
from embedshift.store.info import read_content, read_info
from embedshift.store.reader import Reader
from embedshift.store.table import InstalledTable, installed_tables
from embedshift.store.tables import make_tables, tables_after, update_tables
from embedshift.study.exports import Exports, check_images_root
from embedshift.study.shown import Shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from embedshift.store.listing import Verification


def _table_method(read: Callable[..., pl.DataFrame], entry: InstalledTable) -> Callable[..., pl.DataFrame]:
    table, kind = entry.table, entry.question.choices

    def method(choices: object = None, /, **settings: Any) -> pl.DataFrame:
        given = choices is not None or any(settings[name] is not None for name in settings if name != "groups")
        return read(table.name, choices if given else table.choices, **settings)

    method.__name__ = method.__qualname__ = table.name
    method.__doc__ = table.doc if kind is None else f"{table.doc}\n\n{inspect.getdoc(kind)}"
    method.__signature__ = _signature(kind)  # type: ignore[attr-defined]
    return method


def _signature(kind: type[Any] | None) -> inspect.Signature:
    """Returns the signature of a table's method: choices, each of their settings, and the groups."""
    fields = () if kind is None else dataclasses.fields(kind)
    parameters = [inspect.Parameter("choices", inspect.Parameter.POSITIONAL_ONLY, default=None)] if fields else []
    named = [(field.name, field.type) for field in fields] + [("groups", Choice | None)]
    parameters += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=type_) for name, type_ in named
    ]
    return inspect.Signature(parameters, return_annotation=pl.DataFrame)


def table_made_again(reader: Reader, name: str, choices: object, settings: Mapping[str, Any]) -> pl.DataFrame:
    """Makes a table with other choices; one that is kept is written, with those that depend on it, if they differ."""
    entry = installed_tables().get(name)
    chosen = reader
    if entry is not None and entry.question.choices is not None:
        kind, own = entry.question.choices, dict(settings)
        if choices is not None and not isinstance(choices, kind):  # the first setting, by its position
            own[dataclasses.fields(kind)[0].name] = choices
        given = choices if isinstance(choices, kind) else made(kind, own, name)
        chosen = Reader(reader.folder, (given,), listing=reader.listing)
    is_asked = name in chosen.table_names
    if not is_asked and not (entry and _needs_no_run(chosen, entry)):
        raise UsageError(f"{reader.folder}: {reason_for_absence(reader, name)}")
    if entry is None or entry.question.choices is None:
        raise UsageError(f"the table {name!r} has no settings")
    if entry.table.settings is None or not is_asked:
        return entry.table.make(chosen)
    reader.refuse_unfinished()
    names = tables_after(chosen, entry.question)
    if not all(_is_kept(chosen, table) for table in names):
        chosen = update_tables(chosen, names)
    table = chosen.table(name)
    assert table is not None
    return table


def _needs_no_run(reader: Reader, entry: InstalledTable) -> bool:
    is_new = entry.question not in reader.questions and not entry.question.switches
    return is_new and bool(entry.table.is_available(reader))


def _is_kept(reader: Reader, name: str) -> bool:
    """Returns whether the file of a table is as it would be written now, so that it need not be."""
    file, table = f"tables/{name}.parquet", installed_tables()[name].table
    if not (reader.folder / file).is_file() or reader.altered(file):
        return False
    return table.settings is None or reader.kept_settings(name) == table.settings(reader)


def reason_for_absence(reader: Reader, name: str) -> str:
    """Returns why a study has no table of this name."""
    if name in reader.table_names:
        return f"not finished, no table '{name}' yet; run the same command again"
    if name in (tables := installed_tables()):
        question, table = tables[name]
        if not reader.augmentations:
            return f"no {name} here: it needs augmentations"
        if table.requires and question in reader.questions:
            return f"no {name} here: it needs {table.requires}"
        if not question.for_pairs:
            return f"no {name} here: it is not available for pairs"
        if question not in reader.questions and question.switches is None:
            return f"no {name} here: made without the question {question.name!r}; run it again into a new folder"
        settings = [] if question.switches is None else [field.name for field in dataclasses.fields(question.switches)]
        asked = [question.name] if question.name in settings or not settings else settings
        return f"no {name} here; run the study with {' or '.join(f'`{setting}`' for setting in asked)}"
    if name == "differences":
        return f"no {name} here: it needs at most {MOST_AUGMENTATIONS} augmentations"
    return f"no table '{name}' here; it has {', '.join(reader.table_names)}"


def command_methods() -> dict[str, Command]:
    """Returns the commands that are methods of a study, by the names of these methods."""
    return {method: COMMANDS[name] for name in COMMANDS for method in COMMANDS[name].methods}


class Study(Shown, Exports):
    """The results of a run, read from its folder; `embedshift.run` and `embedshift.load` return it.

    Each table of the questions has a method of its name too, such as `study.layers()`.

    Args:
        folder: The study's folder.
    """

    _reader: Reader | None = None

    @classmethod
    def of(cls, reader: Reader) -> "Study":
        """Returns the study of a reader, which has opened its shards."""
        study = cls(reader.folder)
        study._reader = reader
        return study

    def _lines(self) -> Iterator[str]:
        name, report = f"Study({str(self.folder)!r})", self.folder / "report.html"
        try:
            info, shifts = self.reader().info, self._table()
            yield f"{name}: {info.encoder.name} ({info.encoder.precision}), {count(info.counts.measured, 'image')}"
            if shifts is None:
                yield "not finished: run it again"
            elif len(shifts):
                ends = [f"{row[0]} {'-' if row[1] is None else f'{row[1]:.3f}'}" for row in shifts[[0, -1]].rows()]
                if not self.reader().altered("tables/search.parquet"):
                    yield finding(self.reader(), changes_of(self.reader()))
                yield f"relative shift of {len(shifts)} augmentations: {' to '.join(ends)}"
            yield f"report: {report}" if self.is_reported() else "no report of it yet: study.report() makes one"
        except EmbedshiftError as error:
            yield f"{name}: {error}"

    def _table(self) -> pl.DataFrame | None:
        """Returns the relative shift of each augmentation, and recall; None if the study is not finished."""
        if not self.is_complete() or "summary" not in self.table_names:  # of originals alone
            return pl.DataFrame() if self.is_complete() else None
        rows = self.summary().filter(metric=COSINE).select("augmentation", "^relative_shift.*$")
        if "search" in self.table_names and not self.reader().altered("tables/search.parquet"):
            recall = self.table("search").filter(metric="recall@1").select("augmentation", **{"recall@1": "value"})
            rows = rows.join(recall, on="augmentation", how="left", maintain_order="left")
        return rows.sort("relative_shift", descending=True, nulls_last=True)

    def reader(self, *choices: Any) -> Reader:
        """Returns a reader of the folder as it is now; `choices` are those of the questions, for tables and figures."""
        self._reader = Reader(self.folder) if self._reader is None else self._reader.now()
        return replace(self._reader, choices=tuple(choice for choice in choices if choice is not None))

    def exists(self) -> bool:
        """Returns whether a run was ever started in this folder."""
        return self.reader().exists()

    def is_complete(self) -> bool:
        """Returns whether the run has finished and all its tables exist."""
        return self.reader().is_complete()

    def is_reported(self) -> bool:
        """Returns whether `report.html` exists and is not older than the measurements."""
        return self.reader().is_reported()

    def info(self) -> Json:
        """Returns the content of study.json: settings, encoder, versions and counts."""
        return read_content(self.folder)

    @property
    def augmentations(self) -> list[str]:
        """Names of the augmentations, in the order of the suite."""
        return self.reader().augmentations

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics, in the order of their columns."""
        return self.reader().metrics

    @property
    def table_names(self) -> tuple[str, ...]:
        """Names of the tables that this study has."""
        return self.reader().table_names

    def verify(self) -> "Verification":
        """Reads every file of the study and reports which are whole and which are damaged."""
        from embedshift.store.listing import verify

        return verify(self.folder)

    def rows(self) -> pl.LazyFrame:
        """All rows as a lazy frame: one row per image, view and draw, in the order of the shards."""
        return self.reader().rows()

    def failures(self) -> pl.DataFrame:
        """One row per image that was not measured: `image_id, stage, reason, transient`."""
        return self.reader().failures()

    def table(self, name: str, choices: object = None, /, **settings: Any) -> pl.DataFrame:
        """Reads a table as the run, or the latest report, wrote it; with choices, makes it again.

        Args:
            name: One of `table_names`.
            choices: Choices of its question, such as `embedshift.questions.clusters.Tree`; None = as it was written.
            **settings: The same choices by their names, such as `queries="all"`, or `groups` for `regroup`; None = not
                given.

        Raises:
            UsageError: The study does not have it. All methods that return a table raise this error too.
        """
        self.regroup(settings.pop("groups", None))
        reader = self.reader()
        settings = {key: value for key, value in settings.items() if value is not None}
        if choices is not None or settings:
            return table_made_again(reader, name, choices, settings)
        table = reader.table(name)
        if table is None:
            raise UsageError(f"{self.folder}: {reason_for_absence(reader, name)}")
        return table

    def summary(self) -> pl.DataFrame:
        """One row per augmentation and metric: mean and relative shift with 95 % intervals, spread, baseline."""
        return self.table("summary")

    def ranking(self) -> pl.DataFrame:
        """Augmentations by `mean_performance`, with interval and baseline; rank 1 changes the embedding least."""
        return self.table("ranking")

    def differences(self) -> pl.DataFrame:
        """One row per metric and pair of augmentations: difference and ratio, paired by image, and if significant."""
        return self.table("differences")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Returns the method of a question's table, such as `study.layers()`, or of a command, as `study.drift()`."""
        if name in REPLACED:
            raise AttributeError(unknown_name("attribute", name, ()))
        if not name.startswith("_"):
            if (tables := installed_tables()) and name in tables:
                return _table_method(self.table, tables[name])
            if name in (methods := command_methods()):
                return MethodType(getattr(methods[name].part("result"), name), self)
            known = [each for each in (*dir(type(self)), *tables, *methods) if not each.startswith("_")]
            nearest = difflib.get_close_matches(name, known, n=1)
        else:
            nearest = []
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __dir__(self) -> Iterable[str]:
        return [*super().__dir__(), *installed_tables(), *command_methods()]

    def regroup(self, groups: Choice | None) -> None:
        """Chooses which images are not independent, and makes all tables again with these groups.

        Args:
            groups: As in `embedshift.run`; None = as they are.

        Raises:
            UsageError: An image has no group, all have one, or the study was run with `store="metrics"`.
        """
        if (reader := regrouped(self.reader(), groups)) is not None:
            update_tables(reader)

    def with_groups(self, groups: Choice | None) -> "Study":
        """Returns the study with other groups of images in memory alone; its folder stays as it is.

        Args:
            groups: As in `embedshift.run`; None = as they are.
        """
        study, chosen = Study(self.folder), choose(self.reader(), groups)
        if groups is None or are_stored(self.reader(), chosen):
            return self
        reader = replace(self.reader(), grouped=chosen or INDEPENDENT)
        study._reader = replace(reader, made=make_tables(reader))
        return study

    def write_tables(self, tree: object = None) -> None:
        """Computes every table again from the shards and writes it as CSV and Parquet.

        Args:
            tree: Settings of the clustering: `embedshift.questions.clusters.Tree`. `pairwise` includes the original if
                the tree does.
        """
        update_tables(self.reader(tree))

    def figure(self, name: str, *, tree: object = None, images: int | Sequence[str] | None = None) -> "Figure":
        """Draws one figure with matplotlib; `embedshift.figures.save_figures` saves all of them.

        Args:
            name: A name from `embedshift list figures`, such as "dendrogram".
            tree: Settings of the clustering: `embedshift.questions.clusters.Tree`.
            images: For figures that show images: ids, or how many to draw by the study's seed; at most 8.

        Raises:
            EmbedshiftError: The name is unknown, or an image is not in the study or cannot be read any more.
        """
        from embedshift.figures import draw

        return draw(self.reader(tree), name, images=images)

    def report(
        self,
        *,
        figures: Sequence[str] | None = None,
        formats: Sequence[str] = ("svg",),
        tree: object = None,
        images: Sequence[str] | int | None = None,
        paper: bool = False,
        pictures: bool = True,
        images_root: str | Path | None = None,
        groups: Choice | None = None,
        choices: Sequence[Any] = (),
    ) -> Path:
        """Computes tables, figures and `report.html` again from the shards.

        Args:
            figures: Names from `embedshift list figures`; None = all.
            formats: File formats of the figures: "svg", "png", "pdf".
            tree: Settings of the clustering: `embedshift.questions.clusters.Tree`.
            images: For figures that show images: ids, or how many to draw by the study's seed.
            paper: Whether the paper's figures and claims are shown first; a study of CLIP with them always does.
            pictures: Whether images may be shown. If False, neither the page nor `figures/` contains any, and a hash
                replaces every image id.
            images_root: The folder that holds the images on this machine; None = where the run read them, if this user
                ran it.
            groups: Which images are not independent, as in `embedshift.run`; None = as they are.
            choices: More choices for tables and report: instances of the questions' `choices`.

        Returns:
            The path of `report.html`.
        """
        from embedshift.report.build import build_report

        root = check_images_root(images_root)
        reader = regrouped(self.reader(tree, *choices), groups) or self.reader(tree, *choices)
        reader = replace(reader, pictures=pictures, images_root=root)
        return build_report(reader, figures=figures, formats=formats, images=images, paper=paper)

    def show(self) -> Path:
        """Opens `report.html` in the browser and returns its path; makes it first where it is missing or older."""
        path = self.folder / "report.html" if self.is_reported() else self.report()
        webbrowser.open(path.resolve().as_uri())
        return path


def as_study(study: Study | str | Path) -> Study:
    """Opens a study that is given by its folder."""
    return study if isinstance(study, Study) else load(study)


def load(folder: str | Path) -> Study:
    """Opens the study in `folder`.

    Raises:
        UsageError: The folder holds no study, or one written by another version of embedshift.
    """
    read_info(Path(folder))
    return Study(Path(folder))


def opened(study: Study | str | Path, groups: Choice | None, least: int) -> Study:
    """Opens a study, chooses its groups where they are given, and refuses one of fewer images, or groups."""
    found = as_study(study)
    found.regroup(groups)
    found.reader().refuse_fewer(least)
    return found
