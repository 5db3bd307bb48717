"""Compares finished studies of the same images and views: encoders, precisions or checkpoints."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from embedshift.config import Json
from embedshift.questions.compare import grids
from embedshift.questions.compare import verdict as overview
from embedshift.questions.compare.verdict import judgements, verdict
from embedshift.report.numbers import count, with_ends
from embedshift.statistics.equivalence import RELATIVE_SHIFT, Margins
from embedshift.statistics.strengths import ONE_LEVEL, MeasuredFamily, by_family
from embedshift.statistics.vectors import MOST_AUGMENTATIONS
from embedshift.store.groups import Choice
from embedshift.store.plans import ALL
from embedshift.study.head import head
from embedshift.study.paired import PairedStudies, pair_studies
from embedshift.study.paired.differences import agreements, neighbours_by_chance
from embedshift.study.paired.means import compare_means
from embedshift.study.result import Grid, Picture, Result
from embedshift.study.shown import escaped
from embedshift.study.study import Study, as_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, repr=False)
class Comparison(Result):
    """The tables of a comparison, over the images that all studies measured. The first study is the reference.

    Args:
        studies: One row per study: `study` (its name here), `folder` (the last parts of its path, as few as tell the
            studies apart), `encoder, precision, weights_hash, dim, size`, `measured` (its images), `compared` (the
            images that every study measured), and the Spearman correlation between its order of the augmentations and
            the reference's: `rank_correlation` by mean performance, `rank_correlation_cosine` by mean cosine
            similarity.
        comparison: One row per augmentation, metric and study except the first: `augmentation, metric, study,
            reference, n, mean, reference_mean, difference, ci_low, ci_high, ratio, ratio_low, ratio_high, significant`.
            `difference` is mean minus reference_mean, with its own 95 % interval. `ratio` says how many times as far
            the views move (metric `relative_shift`), by intervals that hold at 95 % for all augmentations at once, as
            `significant` does for every metric. Augmentation `all` is the mean over those whose relative shift is below
            0.9 in the reference; of ratios, the geometric mean. Metric `tail` is the fraction of views that move more
            than twice as far as in the other study. Fewer than eight images give no interval, and nothing is
            significant. A metric in an encoder's own units (L2 distance) has a difference only between studies with the
            same weights.
        agreement: How alike both encoders see the originals: `study, reference, metric, value, ci_low, ci_high`, with
            the metrics `neighbours@10` and `cka`. Empty if a study stores no embeddings.
        verdict: What is decided, and what is not: one sentence for each study except the first.
        side_by_side: `augmentation, metric`, and one column of means per study.
        ranking: `study, augmentation, mean_performance, rank`, over the radar metrics that all studies have.
        largest: For each study and metric the value of `summary` that differs most from the reference's: `study,
            reference, metric, augmentation, column, value, reference_value, difference`, the largest difference of a
            study first.
        tolerances: `family, unit, criterion`, and for each study three columns: its tolerance under the study's name,
            and its interval as `<name> low` and `<name> high`. Empty if the augmentations have no families.
        families: The families of the augmentations.
        is_upgrade: Whether the second study has other weights, and both store embeddings: `embedshift.upgrade` says
            whether its queries may search the vectors of the first.
        head: What each study found, and its changes, all studies on one ruler: paragraphs of Markdown.
    """

    studies: pl.DataFrame
    comparison: pl.DataFrame
    side_by_side: pl.DataFrame
    ranking: pl.DataFrame
    largest: pl.DataFrame
    tolerances: pl.DataFrame
    agreement: pl.DataFrame
    verdict: str
    families: tuple[MeasuredFamily, ...] = ()
    head: tuple[str, ...] = ()
    is_upgrade: bool = False
    name = "comparison"

    def _lines(self) -> list[str]:
        return [*self.verdict.splitlines()[:4], f"tables: {', '.join(self.tables)}; save(DIR) writes them"]

    def _table(self) -> pl.DataFrame:
        columns = ("study", "augmentation", "reference_mean", "mean", "ratio", "ratio_low", "ratio_high", "significant")
        return self.comparison.filter(metric=RELATIVE_SHIFT).select(columns)

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name; `tolerances` only if it has rows."""
        tables = {field.name: getattr(self, field.name) for field in fields(self)}
        tables = {name: table for name, table in tables.items() if isinstance(table, pl.DataFrame)}
        return {name: table for name, table in tables.items() if name != "tolerances" or not table.is_empty()}

    @property
    def shown(self) -> list[str]:
        """The augmentations that figures show: all, or one view per family if the families have many views.

        That view is of the level nearest to the first study's tolerance; without a tolerance, of the strongest level.
        """
        names: list[str] = self.side_by_side["augmentation"].unique(maintain_order=True).to_list()
        if not self.families or len(names) <= MOST_AUGMENTATIONS:
            return names
        tolerances, reference = by_family(self.tolerances), self.studies["study"][0]
        return [family.nearest(tolerances.get(family.name, {}).get(reference)) for family in self.families]

    def to_dicts(self) -> Json:
        """Returns the verdict, and all tables by name, each as a list of its rows, ready for JSON."""
        return {"verdict": self.verdict} | {name: table.to_dicts() for name, table in self.tables.items()}

    def figure(self, name: str) -> "Figure":
        """Draws a figure with matplotlib.

        Args:
            name: "ratios" (of relative shifts), "means" (bars side by side), "differences" (with their intervals) or
                "tolerances".

        Raises:
            EmbedshiftError: The name is unknown, or there are no tolerances to draw.
        """
        from embedshift.questions.compare.figures import ComparisonInput, draw

        shown, overall = pl.col("augmentation").is_in(self.shown), pl.col("augmentation") == ALL
        data = ComparisonInput(
            names=self.studies["study"].to_list(),
            images=self.studies["compared"][0],
            augmentations=self.shown,
            comparison=self.comparison.filter(shown & ~overall),
            overall=self.comparison.filter(overall),
            side_by_side=self.side_by_side.filter(shown),
            tolerances=self.tolerances,
            families=self.families,
        )
        return draw(name, data)

    def _figures(self) -> Mapping[str, Callable[[], "Figure"]]:
        from embedshift.questions.compare.figures import COMPARISON_FIGURES

        names = (name for name in COMPARISON_FIGURES if name != "tolerances" or not self.tolerances.is_empty())
        return {f"compare_{name}": functools.partial(self.figure, name) for name in names}

    def parts(self) -> Iterator[str | Grid]:
        """Yields the verdict, ratios of relative shifts, tolerances, and means side by side."""
        yield from self.verdict.splitlines()
        yield from grids.ratios(self.comparison, self.shown)
        if not self.tolerances.is_empty():
            yield grids.tolerances(self.tolerances, self.studies)
        means = [*grids.means(self.side_by_side, self.comparison, self.studies, self.shown)]
        yield from means
        if not means:
            is_all = len(self.shown) == self.side_by_side["augmentation"].n_unique()
            where = "" if is_all else f" ({ONE_LEVEL}, in the first study)"
            images = count(self.studies["compared"][0], "image")
            yield f"No difference: every metric has the same means in all studies, over {images}{where}."

    def _page(self, picture: Picture) -> Iterator[str]:
        yield "# Comparison"
        yield from self.head
        yield from map(escaped, self.verdict.splitlines())
        yield from picture("How many times as far", "compare_ratios")
        for study in self.comparison["study"].unique(maintain_order=True):
            rows = self.comparison.filter(study=study)
            yield f"## {escaped(study)} against {escaped(rows['reference'][0])}"
            yield from (grid.markdown() for grid in grids.ratios(rows))
            for row in self.agreement.filter(study=study).iter_rows(named=True):
                yield f"{row['metric']}: {with_ends(row['value'], row['ci_low'], row['ci_high'], 3)}"
        if self.is_upgrade:
            yield "May new queries search the old index? run `embedshift upgrade` on both studies."
        yield (
            "Relative shift: 0 = unchanged, 1 = as far as another image. Intervals: 95 %, of ratios for all "
            "augmentations at once; \\* = significant, likewise. All numbers are in the tables beside this page."
        )


def compare(
    studies: Sequence[Study | str | Path],
    *,
    out: str | Path | None = None,
    groups: Choice | None = None,
    shift_margin: float | None = None,
    recall_margin: float | None = None,
) -> Comparison:
    """Compares finished studies of the same images and views, paired by image.

    Images that one of the studies could not measure are left out of all; a warning gives their number. View sizes may
    differ, because encoders have different input sizes; a warning reports it.

    Args:
        studies: Two or more studies or their folders. The first is the reference.
        out: A folder for tables and figures; None = nothing is written.
        groups: Which images are not independent, as in `embedshift.run`, for all studies, which keep them; "near" is
            found in the first. None = as they are.
        shift_margin: How many times as far, or as near, views may move over all augmentations for encoders to be
            equivalent, such as 1.05: the verdict then says whether they are. None = not asked.
        recall_margin: How much of recall@1 may be lost, such as 0.01, likewise; a gain never counts against.

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
    margins = Margins(shift_margin, recall_margin)
    opened = [*map(as_study, studies)]
    paired = pair_studies(opened, groups)
    differences, means = compare_means(paired)
    ranking = overview.rankings(means, paired.names)
    correlations = overview.rank_correlations(means, ranking, paired.names)
    agreement = agreements(paired)
    comparison = Comparison(
        studies=overview.described_studies(paired).hstack(correlations),
        comparison=differences,
        side_by_side=means.pivot(on="study", index=["augmentation", "metric"], values="mean"),
        ranking=ranking,
        largest=overview.largest_differences(paired),
        tolerances=_tolerances(paired),
        agreement=agreement,
        verdict=verdict(differences, agreement, neighbours_by_chance(paired), judgements(paired, margins)),
        families=paired.reference.families,
        head=tuple(head(dict(zip(paired.names, opened, strict=True)))),
        is_upgrade=not paired.same_weights[1] and all(each.info.has_vectors for each in paired.readers[:2]),
    )
    if out is not None:
        comparison.save(out)
    return comparison


def _tolerances(paired: PairedStudies) -> pl.DataFrame:
    keys = paired.tolerances[0].select("family", "unit", "criterion")
    if keys.is_empty():
        return keys
    columns = [
        table.select(pl.col("value").alias(name), *(pl.col(end).alias(f"{name} {end}") for end in ("low", "high")))
        for table, name in zip(paired.tolerances, paired.names, strict=True)
    ]
    return pl.concat([keys, *columns], how="horizontal")
