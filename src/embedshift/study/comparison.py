"""Compares finished studies of the same images and views: encoders, precisions or checkpoints."""

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
    """The tables of a comparison, over the images that all studies measured. The first study is the reference.

    Args:
        studies: One row per study: `study` (its name here), `folder` (the last parts of its path, as few as tell the
            studies apart), `encoder, precision, weights_hash, dim, size`, `measured` (its images), `compared` (the
            images that every study measured), and the Spearman correlation between its order of the augmentations and
            the reference's: `rank_correlation` by mean performance, `rank_correlation_cosine` by mean cosine
            similarity.
        comparison: One row per augmentation, metric and study except the first: `augmentation, metric, study,
            reference, n, mean, reference_mean, difference, ci_low, ci_high, significant`. `difference` is mean minus
            reference_mean, with its own 95 % interval (bootstrap-t of the differences of the images). `significant` says
            whether the difference is not 0, by intervals that hold at 95 % for all augmentations of the metric and
            study at once. Fewer than eight images give no interval, and nothing is significant. A metric in an encoder's
            own units (L2 distance) has a difference only between studies with the same weights.
        side_by_side: `augmentation, metric`, and one column of means per study.
        ranking: `study, augmentation, mean_performance, rank`, over the radar metrics that all studies have.
        largest: For each study and metric the value of `summary` that differs most from the reference's: `study,
            reference, metric, augmentation, column, value, reference_value, difference`, the largest difference of a
            study first.
        tolerances: `family, unit, criterion`, and for each study three columns: its tolerance under the study's name,
            and its interval as `<name> low` and `<name> high`. Empty if the augmentations have no families.
        families: The families of the augmentations.
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
        """All tables by name; `tolerances` only if it has rows."""
        found = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "families"}
        return {name: table for name, table in found.items() if name != "tolerances" or not table.is_empty()}

    @property
    def shown(self) -> list[str]:
        """The augmentations that figures show: all, or one view per family if the families have many views.

        That view is of the level nearest to the first study's tolerance; without a tolerance, of the strongest level.
        """
        names: list[str] = self.side_by_side["augmentation"].unique(maintain_order=True).to_list()
        if not self.families or len(names) <= MOST_AUGMENTATIONS:
            return names
        found, first = by_family(self.tolerances), self.studies["study"][0]
        return [family.nearest(found.get(family.name, {}).get(first)) for family in self.families]

    def to_dicts(self) -> dict[str, list[Json]]:
        """Returns all tables by name, each as a list of its rows, ready for JSON."""
        return {name: table.to_dicts() for name, table in self.tables.items()}

    def figure(self, name: str) -> "Figure":
        """Draws a figure with matplotlib.

        Args:
            name: "means" (bars side by side), "differences" (with their intervals) or "tolerances".

        Raises:
            EmbedshiftError: The name is unknown, or there are no tolerances to draw.
        """
        from embedshift.study.figures import COMPARISON_FIGURES

        return COMPARISON_FIGURES[name](self)

    def save(self, out: str | Path, formats: Sequence[str] = ("png", "svg")) -> list[Path]:
        """Writes every table as CSV and Parquet, and all figures.

        Args:
            out: A folder that holds no study; created where it is missing.
            formats: File formats of the figures: "png", "svg", "pdf".

        Returns:
            The paths of the written files.

        Raises:
            EmbedshiftError: A format is unknown, or the folder holds a study or cannot be written.
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

    Images that one of the studies could not measure are left out of all; a warning gives their number. View sizes may
    differ, because encoders have different input sizes; a warning reports it.

    Args:
        studies: Two or more studies or their folders. The first is the reference.
        out: A folder for tables and figures; None = nothing is written.

    Returns:
        The tables, over the images that all studies measured.

    Raises:
        EmbedshiftError: A study is not finished; images (ids or pixels), seed, draws, resize or augmentations differ;
            or no image was measured by all studies.

    Example:
        >>> import tempfile
        >>> from embedshift import run, wrap
        >>> from PIL import Image
        >>> from torch import nn
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 8), "red").save(folder / "a.png")
        >>> dark = {"dark": lambda image, rng: image // 2, "same": lambda image, rng: image}
        >>> for name, net in (("flat", nn.Flatten()), ("pool", nn.Sequential(nn.AvgPool2d(2), nn.Flatten()))):
        ...     encoder = wrap(net, size=8, mean=(0, 0, 0), std=(1, 1, 1), name=name)
        ...     _ = run(folder, out=folder / name, model=encoder, augmentations=dark, workers=0)
        >>> compare([folder / "flat", folder / "pool"]).studies["study"].to_list()
        ['flat (float32)', 'pool (float32)']
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
    """S studies that may be compared, with K metrics; see `checks` and `numbers.comparable`."""

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
        """The rows of the common images, in the same order for all studies."""
        kept = pl.col("image_id").is_in(self.ids)
        return [study.rows().filter(kept).sort("image_id", "draw", maintain_order=True) for study in self.studies]

    def values(self, metric: str) -> Values:
        """Returns one metric's values `[S, n, A, draws]` of the common images, in the same order for all studies."""
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
    """Returns the tables `comparison` and `augmentation, metric, study, mean`; one metric at a time is in memory."""
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
    """Returns the folder for the results; creates it where it is missing."""
    folder = Path(out)
    if Reader(folder).exists():
        raise UsageError(f"{folder}: contains a study; choose another `out`")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder
