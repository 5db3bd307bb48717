"""Finished studies of the same images and views, side by side: encoders, precisions or checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from embedshift.arrays import Values
from embedshift.augmentations import ORIGINAL
from embedshift.config import Json
from embedshift.errors import UsageError
from embedshift.statistics import summary as tables
from embedshift.statistics.families import MeasuredFamily
from embedshift.statistics.layout import blocks, layout
from embedshift.statistics.tolerance import by_family
from embedshift.statistics.vectors import MOST_AUGMENTATIONS
from embedshift.store.naming import tails
from embedshift.store.reader import Reader
from embedshift.store.shards import write_whole
from embedshift.study import checks, numbers
from embedshift.study.study import Study, load
from embedshift.study.tolerances import tolerances

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """Tables of several studies, over the images that all of them measured. The first study is the reference.

    Args:
        studies: One row per study: `study` (its name here), `folder, encoder, precision, weights_hash, dim, size`,
            `measured` (its images), `compared` (those of them that every study measured), and Spearman's correlation
            of its order of the augmentations with the reference's: `rank_correlation` by mean performance,
            `rank_correlation_cosine` by mean cosine similarity. `folder` is the end of the folder's path: as few parts
            as tell the studies apart.
        comparison: One row per augmentation, metric and study but the first: `augmentation, metric, study, reference,
            n, mean, reference_mean, difference, ci_low, ci_high, settled`. `difference` is mean minus reference_mean,
            with its own 95 % interval (bootstrap-t of the differences of the images). `settled` is whether it is not
            0, by intervals that hold with 95 % for all augmentations of the metric and study at once. Fewer than eight
            images give no interval, and nothing is settled. A metric in an encoder's own units (L2 distance) has a
            difference between studies of the same weights alone.
        side_by_side: `augmentation, metric`, and a column of means per study.
        ranking: `study, augmentation, mean_performance, rank`, over the radar metrics that all studies have.
        largest: Per study and metric the value of `summary` that differs most from the reference's: `study, reference,
            metric, augmentation, column, value, reference_value, difference`, each study's largest first.
        tolerances: `family, unit, criterion`, and for each study its tolerance by its name and the ends of its interval
            as `<name> low` and `<name> high`; empty where augmentations do not stand in families.
        families: Of the augmentations.
    """

    studies: pl.DataFrame
    comparison: pl.DataFrame
    side_by_side: pl.DataFrame
    ranking: pl.DataFrame
    largest: pl.DataFrame
    tolerances: pl.DataFrame
    families: tuple[MeasuredFamily, ...] = ()

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """Every table by its name; tolerances where there are any."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "families"}
        return {name: table for name, table in found.items() if name != "tolerances" or not table.is_empty()}

    @property
    def shown(self) -> list[str]:
        """Augmentations that figures show: all; of families with many views in all, one view each.

        It is that of the level nearest to the tolerance of the first study, else the strongest.
        """
        names: list[str] = self.side_by_side["augmentation"].unique(maintain_order=True).to_list()
        if not self.families or len(names) <= MOST_AUGMENTATIONS:
            return names
        found, first = by_family(self.tolerances), self.studies["study"][0]
        return [family.nearest(found.get(family.name, {}).get(first)) for family in self.families]

    def to_dicts(self) -> dict[str, list[Json]]:
        """Every table by its name, as a list of its rows, for JSON."""
        return {name: table.to_dicts() for name, table in self.tables.items()}

    def figure(self, name: str) -> "Figure":
        """A matplotlib Figure: "means", bars side by side, "differences", with their intervals, or "tolerances".

        Raises:
            EmbedshiftError: for another name, and for tolerances where there are none.
        """
        from embedshift.study.figures import COMPARISON_FIGURES

        return COMPARISON_FIGURES[name](self)

    def save(self, out: str | Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
        """Writes every table as CSV and Parquet, and the figures.

        Args:
            out: A folder, made if missing; not that of a study.
            formats: Of the figures: png, svg, pdf.

        Returns:
            The files written.

        Raises:
            EmbedshiftError: for an unknown format, or a folder that holds a study or cannot be written.
        """
        from embedshift.figures import check_formats, save
        from embedshift.study.figures import possible_figures

        check_formats(formats)
        folder = _folder(out)
        written: list[Path] = []
        for name, table in self.tables.items():
            for ending, write in (("csv", table.write_csv), ("parquet", table.write_parquet)):
                written.append(folder / f"{name}.{ending}")
                write_whole(written[-1], write)
        for name in possible_figures(self):
            drawn = self.figure(name)
            written += [save(drawn, folder / "figures" / f"compare_{name}.{ending}") for ending in formats]
        return written


def compare(studies: Sequence[Study | str | Path], *, out: str | Path | None = None) -> Comparison:
    """Compares finished studies of the same images and views, paired by image.

    Images that one of the studies could not measure are left out of all, and a warning counts them. View sizes may
    differ, since encoders have their own: a warning says so.

    Args:
        studies: Two or more, or their folders; all others are compared with the first.
        out: A folder for tables and figures; None = nothing is written.

    Raises:
        EmbedshiftError: one line, when a study is not finished, when images (their ids or pixels), seed, draws, resize
            or augmentations differ (it names what, and how), or when no image was measured by all.
    """
    found = [study if isinstance(study, Study) else load(study) for study in studies]
    checks.check_studies(found)
    same_views = checks.check_same_views(found)
    ids = checks.common_images(found)
    checks.check_hashes(found, ids)
    metrics = checks.common_metrics(found)
    names = checks.study_names(found)
    weights = [study.reader().info.encoder.weights_hash for study in found]
    sides = _Sides(found, ids, same_views, metrics, names, numbers.comparable(metrics, weights))
    compared, means = _pair(sides)
    ranking = numbers.rankings(means, names)
    made = Comparison(
        studies=_studies(sides).hstack(numbers.rank_correlations(means, ranking, names)),
        comparison=compared,
        side_by_side=means.pivot(on="study", index=["augmentation", "metric"], values="mean"),
        ranking=ranking,
        largest=_largest(sides),
        tolerances=tolerances([study.reader() for study in found], names, ids),
        families=found[0].reader().families,
    )
    if out is not None:
        made.save(out)
    return made


@dataclass(frozen=True)
class _Sides:
    """Studies that may be compared: S of them, of K metrics; see `checks` and `numbers.comparable`."""

    studies: Sequence[Study]
    ids: Sequence[str]
    same_views: Sequence[bool]
    metrics: list[str]
    names: list[str]
    may_differ: NDArray[np.bool_]

    @property
    def augmentations(self) -> list[str]:
        return self.studies[0].augmentations

    @property
    def seed(self) -> int:
        return self.studies[0].reader().info.seed

    @property
    def rows(self) -> list[pl.LazyFrame]:
        """The rows of the common images, in one order for all studies."""
        kept = pl.col("image_id").is_in(self.ids)
        return [study.rows().filter(kept).sort("image_id", "draw", maintain_order=True) for study in self.studies]

    def values(self, metric: str) -> Values:
        """One metric's values `[S, n, A, draws]` of the common images, in one order for all studies."""
        return np.stack([self._values(study, metric) for study in self.studies])

    def _values(self, study: Study, metric: str) -> Values:
        rows = study.rows()
        order = layout(rows)
        own = rows.filter(pl.col("view") == ORIGINAL).select("image_id").collect().with_row_index("place")
        places = pl.DataFrame({"image_id": self.ids}).join(own, on="image_id", how="left", maintain_order="left")[
            "place"
        ]
        views = [order.positions(name) for name in self.augmentations]
        numbers_of = rows.select(pl.col(metric).cast(pl.Float64).fill_null(np.nan))
        parts = [
            block.to_numpy().reshape(-1, len(order.views))[:, views] for block in blocks(numbers_of, len(order.views))
        ]
        return np.asarray(np.concatenate(parts)[places])


def _pair(sides: _Sides) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The table `comparison`, and `augmentation, metric, study, mean`; one metric at a time is in memory."""
    compared: list[list[list[Json]]] = []
    means: list[Values] = []
    for metric, may_differ in zip(sides.metrics, sides.may_differ.T, strict=True):
        values = sides.values(metric)
        if metric == "patch_similarity":
            for study, same, own in zip(sides.studies, sides.same_views, values, strict=True):
                if same:
                    checks.check_pixels(study, sides.studies[0], own, values[0], sides.ids)
        mean, rows = numbers.paired(values, metric, sides.names, may_differ, seed=sides.seed)
        means.append(mean)
        compared.append(rows)
    names = sides.augmentations
    differences = [
        {"augmentation": name, **row} for a, name in enumerate(names) for rows in compared for row in rows[a]
    ]
    told = [
        {"augmentation": augmentation, "metric": metric, "study": name, "mean": numbers.known(mean[s, a])}
        for a, augmentation in enumerate(names)
        for metric, mean in zip(sides.metrics, means, strict=True)
        for s, name in enumerate(sides.names)
    ]
    return pl.DataFrame(differences, numbers.COMPARISON_SCHEMA), pl.DataFrame(told, numbers.MEANS_SCHEMA)


def _studies(sides: _Sides) -> pl.DataFrame:
    encoders = [study.reader().info.encoder for study in sides.studies]
    columns = ("precision", "weights_hash", "dim", "size")
    return pl.DataFrame(
        {"study": sides.names, "folder": tails([study.folder.resolve() for study in sides.studies])}
        | {"encoder": [study.reader().naming.setting(study.reader().info.encoder.name) for study in sides.studies]}
        | {name: [vars(encoder)[name] for encoder in encoders] for name in columns}
        | {"measured": [len(study.reader().image_ids()) for study in sides.studies], "compared": len(sides.ids)}
    )


def _largest(sides: _Sides) -> pl.DataFrame:
    of = [tables.measured(rows, sides.augmentations, sides.metrics) for rows in sides.rows]
    summaries = [tables.summary(rows, own, seed=sides.seed) for rows, own in zip(sides.rows, of, strict=True)]
    parts = []
    for name, summary, may in list(zip(sides.names, summaries, sides.may_differ, strict=True))[1:]:
        kept = pl.col("metric").is_in([metric for metric, yes in zip(sides.metrics, may, strict=True) if yes])
        found = numbers.largest_differences(summary.filter(kept), summaries[0])
        parts.append(found.select(pl.lit(name).alias("study"), pl.lit(sides.names[0]).alias("reference"), pl.all()))
    return pl.concat(parts)


def _folder(out: str | Path) -> Path:
    """The folder for the results, made if missing."""
    folder = Path(out)
    if Reader(folder).exists():
        raise UsageError(f"{folder}: contains a study; choose another `out`")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder
