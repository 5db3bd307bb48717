"""What happened to batches of images, by their vectors: the result of `drift`, its page, and streams."""

import functools
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Floats, GroupNumbers
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.config.safe_files import expanded
from embedshift.errors import UsageError
from embedshift.questions.drift.numbers import (
    LEAST_BATCH,
    LEAST_NAMING,
    LEAST_REFERENCE,
    NOTHING,
    SURE,
    UNDECIDED,
    Moments,
    Named,
    Reference,
    judge,
    reference_of,
)
from embedshift.questions.drift.power import FRACTIONS, needed_vectors
from embedshift.report.numbers import MISSING, about, at_places, with_ends
from embedshift.sources.batches import BatchRows, rows_of
from embedshift.statistics.vectors import normalised_float32
from embedshift.store.embeddings import vectors_of
from embedshift.store.reader import Reader
from embedshift.study.result import Grid, Picture, Result
from embedshift.study.shown import escaped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from embedshift.study.study import Study

log = logging.getLogger(__name__)

SCHEMA = pl.Schema(
    {"batch": str, "n": int, "moved": float, "moved_low": float, "moved_high": float, "augmentation": str}
    | {"rank": int, "fraction": float, "fraction_low": float, "fraction_high": float, "named": bool, "remains": str}
)
NEEDED = ("needed", "needed_images")
# Images of a batch that are listed for each change.
FURTHEST = 20
HEADINGS = ("batch", "vectors", "moved", "what", "fraction of images", "what remains")


class Batch:
    """The moments of a batch, and the images furthest along each change; memory does not grow with its vectors."""

    def __init__(self, reference: Reference, seed: int) -> None:
        self.moments = Moments(len(reference.space.mean), seed)
        self.scores = np.full((len(reference.names), 0), -np.inf)
        self.ids: NDArray[Any] = np.empty((len(reference.names), 0), object)

    def add(self, vectors: Floats, ids: NDArray[Any], directions: Floats, groups: GroupNumbers | None) -> Floats:
        unit = self.moments.add(vectors, groups)
        scores = np.hstack([self.scores, (unit @ directions).T])
        names = np.hstack([self.ids, np.broadcast_to(ids, (len(scores), len(ids)))])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :FURTHEST]
        self.scores, self.ids = (np.take_along_axis(array, order, axis=1) for array in (scores, names))
        return unit


class Drift(Result):
    """What happened to batches of images, judged by the fingerprints of a study's changes.

    Args:
        reference: The fingerprints, of `reference_of`.
        levels: The family and the strength, in words, of each change that is a level of one.
        seed: Seed of the resamples.
        known: Ids and `directions` of the images of the reference.
    """

    name = "drift"

    def __init__(
        self,
        reference: Reference,
        levels: Mapping[str, str] | None = None,
        seed: int = 0,
        known: Collection[object] = frozenset(),
    ) -> None:
        self.reference, self.levels, self._seed = reference, dict(levels or {}), seed
        self._known, self._lacks_groups = known, reference.units < reference.images
        self._batches, self._judged = dict[str, Batch](), dict[str, Named]()
        shifts = reference.shifts[0] / np.sqrt(reference.squares)[:, None].astype(np.float32)
        self._directions: Floats = (reference.space.matrix @ shifts.T).astype(np.float32)

    def update(
        self,
        vectors: Any,
        *,
        batch: str | None = None,
        ids: Sequence[str] | NDArray[Any] | None = None,
        groups: Sequence[object] | NDArray[Any] | None = None,
    ) -> "Drift":
        """Adds vectors of images to a batch, in constant memory.

        Args:
            vectors: Numbers `[n, D]`, of any length of the vectors; those that are 0 or not finite are left out.
            batch: The name of the batch; a new name begins one. None = the last one, or "batch 1".
            ids: The ids of the images, `[n]`; None = their numbers in the batch.
            groups: The group of each image, `[n]`, whose images come in one call; None = images are independent.

        Returns:
            Itself.

        Raises:
            UsageError: The vectors have another length than those of the study, or ids or groups another number.
        """
        name = next(reversed(self._batches), "batch 1") if batch is None else batch
        try:
            array = np.asarray(vectors, np.float32)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: give numbers [n, D] ({error})") from error
        size = len(self.reference.space.mean)
        if array.ndim != 2 or array.shape[1] != size:
            words = f"give vectors [n, {size}], as this study's encoder makes them; not {[*array.shape]}"
            raise UsageError(f"{name}: {words}")
        for kind, given in (("ids", ids), ("groups", groups)):
            if given is not None and len(given) != len(array):
                raise UsageError(f"`{kind}`: {len(given):,} are given for {len(array):,} vectors; give one for each")
        own = self._batches.setdefault(name, Batch(self.reference, self._seed + len(self._batches)))
        rows = range(own.moments.count, own.moments.count + len(array))
        names = np.array([*map(str, rows)] if ids is None else [*ids], object)
        missing = 0 if groups is None else sum(group is None for group in groups)
        if 0 < missing < len(array):
            raise UsageError(f"{name}: {missing:,} images have no group; give one to each, or to none")
        numbers = None if groups is None or missing else np.unique([*map(str, groups)], return_inverse=True)[1]
        kept = np.isfinite(array).all(axis=1) & array.any(axis=1)
        if not kept.all():
            words = "%s: %d of %d vectors are 0 or not finite and are left out, first of %s"
            log.warning(words, name, (~kept).sum(), len(array), names[~kept][0])
        unit = own.add(array[kept], names[kept], self._directions, None if numbers is None else numbers[kept])
        self._warn(name, names[kept], unit, numbers is not None)
        self._judged.clear()
        return self

    def _warn(self, batch: str, ids: NDArray[Any], unit: Floats, has_groups: bool) -> None:
        """Says once of each what makes a movement seem smaller, or surer, than it is."""
        if self._lacks_groups and not has_groups and len(ids):
            self._lacks_groups = False
            words = "%s: has no groups, but the study has; as independent images, they seem surer than they are"
            log.warning(words, batch)
        places = zip(ids, directions(unit) if self._known else (), strict=False)
        if own := [each for each, place in places if each in self._known or place in self._known]:
            self._known = frozenset()
            words = "%s: %d of %d images are also in the study, first %s; they hide what moved: give other images"
            log.warning(words, batch, len(own), len(ids), own[0])

    @property
    def judged(self) -> Mapping[str, Named]:
        """What is found in each batch of ten vectors or more, in the order that they came."""
        if not self._judged:
            enough = {name: own.moments for name, own in self._batches.items() if own.moments.count >= LEAST_BATCH}
            self._judged = {name: judge(own, self.reference, len(enough)) for name, own in enough.items()}
        return self._judged

    @property
    def not_judged(self) -> list[str]:
        """The batches of fewer than ten vectors."""
        return [name for name, each in self._batches.items() if each.moments.count < LEAST_BATCH]

    @property
    def table(self) -> pl.DataFrame:
        """One row a batch and change: `batch, n, moved, …, augmentation, rank, fraction, …, named, remains`."""
        rows: list[tuple[Any, ...]] = []
        for batch, found in self.judged.items():
            named = {each for own in found.sets for each in own}
            places = {change: rank for rank, change in enumerate(np.argsort(-found.gains, kind="stable").tolist(), 1)}
            for change, name in enumerate(self.reference.names):
                row = (batch, found.count, *found.moved, name, places[change], *found.fractions[change])
                rows.append((*row, change in named, found.remains))
        return pl.DataFrame(rows, SCHEMA, orient="row").sort("batch", "rank", maintain_order=True)

    @property
    def furthest(self) -> pl.DataFrame:
        """The twenty images of a batch furthest along each change: `batch, augmentation, rank, image_id`."""
        rows = [
            (batch, name, rank, str(image_id))
            for batch in self.judged
            for name, ids in zip(self.reference.names, self._batches[batch].ids, strict=True)
            for rank, image_id in enumerate(ids, start=1)
        ]
        return pl.DataFrame(rows, {"batch": str, "augmentation": str, "rank": int, "image_id": str}, orient="row")

    @property
    def _named_furthest(self) -> pl.DataFrame:
        return self.furthest.join(self.table.filter("named"), on=["batch", "augmentation"], how="semi")

    def beyond(self, tolerance: float) -> tuple[str, ...]:
        """Returns the batches that moved further than a relative shift, beyond doubt: `moved_low` is larger.

        Raises:
            UsageError: The tolerance is below 0, or no number; or no batch has ten vectors.
        """
        check_tolerance(tolerance)
        if not self.judged:
            raise UsageError(f"no batch has {LEAST_BATCH} vectors or more; give more")
        return tuple(batch for batch, found in self.judged.items() if found.moved.low > tolerance)

    def names(self, found: Named) -> list[str]:
        """Returns each named set in words, such as "recompress_40 or messenger"."""
        return [self.in_words(own) for own in found.sets]

    def in_words(self, changes: Sequence[int]) -> str:
        """Returns changes in words; those of one family are one name, with the ends of their levels."""
        families, words = self.reference.families, list[str]()
        for family in dict.fromkeys(families[each] for each in changes):
            own = [self.reference.names[each] for each in sorted(changes) if families[each] == family]
            levels = [self.levels[name] for name in own if name in self.levels]
            words.append(f"{family}, {' to '.join(dict.fromkeys((levels[0], levels[-1])))}" if levels else own[0])
        return " or ".join(words)

    def sentence(self, batch: str) -> str:
        """Returns what is found in one batch, in one line."""
        found = self.judged[batch]
        moved, ends = at_places(*found.moved, 4)
        parts = [self._share(found, own) for own in found.sets]
        best = f"{self._share(found, [found.best])} fits best"
        rest = {NOTHING: "nothing remains" if parts else "", UNDECIDED: best}.get(found.remains, found.remains)
        parts = [*(parts or [self._not_named(found)]), rest, f"relative shift of the mean {moved} [{ends}]"]
        return f"{batch} ({found.count:,} vectors): {'; '.join(filter(None, parts))}."

    def _share(self, found: Named, own: Sequence[int]) -> str:
        share, ends = at_places(*found.fractions[own[0]], 2)
        return f"{self.in_words(own)} in {share} [{ends}] of the images"

    def _not_named(self, found: Named) -> str:
        words = "changed, not decidable" if found.is_undecided else "not decidable"
        if not found.needed:
            return words if found.is_undecided else "no change of the study is seen"
        images = ", and as many images in the study," if found.needed_images else ""
        return f"{words} from {found.count:,}, about {about(found.needed)} vectors{images} would name a change"

    def _lines(self) -> Iterator[str]:
        yield from map(self.sentence, self.judged)
        if self.not_judged:
            yield f"Not judged, with fewer than {LEAST_BATCH} vectors: {', '.join(self.not_judged)}."
        if not self.reference.names_changes:
            units = self.reference.units
            yield f"The reference has {units} independent images; with fewer than {LEAST_NAMING}, nothing is named."
        yield (
            f"Where nothing has changed, a change is named in at most {100 * (1 - SURE):.0f} % of calls: "
            f"of one call a day, {365 * (1 - SURE):.1f} a year in the mean over references."
        )

    def _table(self) -> pl.DataFrame:
        return self.table.filter("named").drop("named")

    def to_dicts(self) -> Json:
        """Returns sentences and tables as lists of rows, ready for JSON."""
        unnamed = {batch: found for batch, found in self.judged.items() if not found.sets}
        needed = {name: {batch: getattr(found, name) for batch, found in unnamed.items()} for name in NEEDED}
        tables = {"drift": self.table.to_dicts(), "furthest": self._named_furthest.to_dicts()}
        return {"sentences": [*self._lines()], **needed, "not_judged": self.not_judged} | tables

    @functools.cached_property
    def power(self) -> pl.DataFrame:
        """How many vectors name each change, simulated: `augmentation, fraction, vectors`; null = no number would."""
        numbers = needed_vectors(self.reference)
        rows = [
            (name, fraction, int(number) if np.isfinite(number) else None)
            for name, own in zip(self.reference.names, numbers, strict=True)
            for fraction, number in zip(FRACTIONS, own, strict=True)
        ]
        return pl.DataFrame(rows, {"augmentation": str, "fraction": float, "vectors": int}, orient="row")

    def figure(self) -> "Figure":
        """Draws how far each batch moved, and the fractions of the named changes."""
        from embedshift.questions.drift.figures import draw_drift

        return draw_drift(self.judged, [self.names(found) for found in self.judged.values()])

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        return {"drift": self.table, "furthest": self.furthest, "drift_power": self.power}

    def _figures(self) -> Mapping[str, Callable[[], "Figure"]]:
        from embedshift.questions.drift.figures import draw_power

        return {"drift": self.figure, "drift_power": lambda: draw_power(self.power, self.reference.images)}

    @property
    def _grid(self) -> Grid:
        title = "relative shift of the mean, fractions of images; 95 % intervals"
        return Grid(HEADINGS, ("text",), [*batch_cells(self)], title)

    def parts(self) -> Iterator[str | Grid]:
        """Yields the table of batches, and what is found in each."""
        yield self._grid
        yield from self._lines()

    def _page(self, picture: Picture) -> Iterator[str]:
        yield "# Drift"
        yield from map(escaped, self._lines())
        yield self._grid.markdown()
        yield from picture("Size and fractions of each batch", "drift")
        for (batch, name), rows in self._named_furthest.group_by("batch", "augmentation", maintain_order=True):
            yield f"{escaped(f'{batch}, most like {name}')}: {', '.join(map(escaped, rows['image_id']))}"
        yield "Intervals: 95 %, of batch and reference. All numbers are in the tables beside this page."
        yield "## How many vectors name a change?"
        yield f"Simulated from how the {self.reference.images:,} images of the reference vary, not measured."
        yield from picture("Vectors that name each change", "drift_power")


def directions(unit: Floats) -> list[int]:
    """Returns a number for each unit vector, equal for vectors of one direction but for rounding."""
    return [hash(each.tobytes()) for each in np.round(unit, 4) + 0.0]


def check_tolerance(tolerance: float) -> None:
    if not tolerance >= 0:
        raise UsageError(f"`tolerance` is a relative shift, 0 or more, not {tolerance}")


def batch_cells(drift: Drift) -> Iterator[list[str]]:
    """Yields a row of text for each batch, below `HEADINGS`."""
    for batch, found in drift.judged.items():
        shares = [with_ends(*found.fractions[own[0]], 2) for own in found.sets]
        what = "; ".join(drift.names(found)) or ("not decidable" if found.needed else "none is seen")
        what = f"not decidable; {drift.in_words([found.best])} fits best" if found.is_undecided else what
        yield [batch, f"{found.count:,}", with_ends(*found.moved, 4), what, "; ".join(shares) or MISSING, found.remains]


def drift_of(reader: Reader) -> Drift:
    """Fits the fingerprints of a study's changes.

    Raises:
        UsageError: The study is not finished, stores no embeddings, has no changes or fewer than 20 images, or groups.
    """
    reader.refuse_unfinished()
    reader.refuse_without_vectors()
    reader.refuse_without_changes()
    reader.refuse_fewer(LEAST_REFERENCE)
    originals, views = vectors_of(reader)
    groups = reader.first_groups(len(views))
    levels = {
        view: f"{family.unit} {parameter:g}"
        for family in reader.families
        for view, parameter in zip(family.views, family.parameters, strict=True)
    }
    seed = reader.info.seed
    changed = normalised_float32(views).mean(axis=2)
    images = normalised_float32(originals[: len(views)])
    reference = reference_of(reader.augmentations, images, changed, families=reader.family_of, groups=groups, seed=seed)
    if reference.baseline < 1e-9:
        raise UsageError(f"{reader.folder}: all originals have the same vector; give other images as a reference")
    # Numbers may be those of rows.
    known = {each for each in reader.ordered_ids() if not each.isdecimal()}
    return Drift(reference, levels, seed, known.union(directions(images)))


def drift(
    study: "Study", *vectors: Any, every: str | int | None = None, columns: Mapping[str, str] | None = None
) -> Drift:
    """Names what happened to batches of other images, from their vectors alone: `embedshift docs drift`.

    Args:
        study: A finished study that stores embeddings: the reference.
        *vectors: Each a Parquet or npy file, a frame, numbers `[n, D]`, or a finished study of the same encoder.
            The columns `batch` and `time` of a file name its batches. None at all = for `Drift.update`.
        every: Cuts by the column `time`: "day" or "week"; or after so many vectors. None = "day".
        columns: As in `embedshift.from_vectors`.

    Raises:
        UsageError: The study is not finished, stores no embeddings, or has no changes or too few images; vectors
            cannot be read, or have another length.

    Example:
        >>> import tempfile, embedshift, numpy as np
        >>> rng, towards = np.random.default_rng(0), np.eye(8)
        >>> images, others = rng.normal(size=(2, 300, 8)) + 2
        >>> changed = {"blur": images + 3 * towards[0], "noise": images + 3 * towards[1]}
        >>> study = embedshift.from_vectors(images, changed, out=tempfile.mkdtemp() + "/study")
        >>> found = study.drift(np.vstack([others[:150], others[150:] + 3 * towards[0]]))
        >>> found.table.filter("named")["augmentation"].item()
        'blur'
    """
    reader = study.reader()
    found = drift_of(reader)
    for name, given in zip(batch_names(vectors), vectors, strict=True):
        add(found, reader, given, name, every, columns)
    return found


def batch_names(given: Sequence[Any]) -> list[str]:
    """Returns names of files, studies and arrays: that of the file, with its folder where files have one name.

    Raises:
        UsageError: A file is given twice.
    """
    paths = [Path(each) if isinstance(each, str | Path) else Path(f"batch {n}") for n, each in enumerate(given, 1)]
    own = [path.name for path in paths]
    names = [str(path) if own.count(path.name) > 1 else path.name for path in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is given twice; give each batch once")
    return names


def add(
    drift: Drift, reader: Reader, given: Any, name: str, every: str | int | None, columns: Mapping[str, str] | None
) -> None:
    """Adds the batches of a file, a frame, an array, or a study; `name` is of rows that name none themselves."""
    is_folder = isinstance(given, str | Path) and expanded(given).is_dir()
    for rows in _originals(reader, given, name) if is_folder else rows_of(given, name, every, columns):
        drift.update(rows.vectors, batch=rows.batch, ids=rows.ids, groups=rows.groups)


def _originals(reader: Reader, folder: str | Path, name: str) -> Iterator[BatchRows]:
    other = Reader(expanded(folder))
    if not other.exists():
        raise UsageError(f"{folder}: no study in this folder; with `images`, images in it are measured")
    other.refuse_without_vectors()
    reader.refuse_another_encoder(other, "give vectors of the study's, or their file")
    rows = other.rows().filter(pl.col("view") == ORIGINAL).select("image_id", "embedding").collect()
    yield BatchRows(name, rows["embedding"].to_numpy(), rows["image_id"].to_numpy(), other.groups)
