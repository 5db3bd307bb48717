"""May queries of a new encoder search the index of an old one: as they are, through a map, or not at all?"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from embedshift.config import Json
from embedshift.config.safe_files import output_path
from embedshift.errors import UsageError
from embedshift.questions.upgrade.maps import IDENTITY
from embedshift.questions.upgrade.numbers import (
    ALL,
    BRIDGE,
    COPIES,
    LEAST_PAIRS,
    MIXED,
    NEW,
    OLD,
    Cut,
    Evaluated,
    evaluate,
)
from embedshift.questions.upgrade.sides import both_of, gallery_of, of_pair, opened
from embedshift.report.numbers import MISSING, about, at_places, count, fixed, with_ends
from embedshift.statistics.equivalence import Margins, of_recall
from embedshift.statistics.judged import EQUIVALENT, FOLDS, NOT_EQUIVALENT, NOT_WORSE, NUMBERS, ONE_SIDED, Judged
from embedshift.statistics.linear_map import LinearMap
from embedshift.statistics.power import in_points
from embedshift.store.groups import Choice
from embedshift.study.onnx_maps import write_onnx
from embedshift.study.paired import PairedStudies
from embedshift.study.result import Grid, Picture, Result
from embedshift.study.shown import escaped
from embedshift.study.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Upgrade", "upgrade"]

# The margin of recall@1 where none is given; a loss that is printed as none.
MARGIN, NOTHING = 0.01, 5e-5
AS_THEY_ARE, THROUGH, RE_ENCODE, UNDECIDED = "as they are", "through the map", "re-encode", "not decided"
# How many times as many neighbours as by chance unrelated encoders hardly reach.
ALIKE = 1.5
# Images from which on so few shared neighbours are no chance.
LEAST_ALIKE = 50
HEADINGS = ("deployment", "recall@1", "under the worst change", "matched@0.001", "neighbours kept", "false matches")
CURVE = pl.Schema({"images": int} | dict.fromkeys(NUMBERS, float))


@dataclass(frozen=True)
class Verdict:
    """What is decided of new queries in the old index, by recall@1 under the change that loses most.

    Args:
        decision: "as they are", "through the map", "re-encode" or "not decided".
        map: The name of the map.
        lost: The largest loss, in the change `worst`.
        at_worst: The largest loss that the one-sided 95 % intervals leave open, of any change.
        needed: About how many images, or groups, would decide; None = decided, or no number would.
        margin: How much of recall@1 may be lost.
        images: The number of images, or groups, that are judged, drawn by the seed.
        unit: What is counted: image or group.
        available: The number of images, or groups, with vectors of both encoders.
        searched: The number of vectors in a search.
    """

    decision: str
    map: str
    lost: float
    worst: str
    at_worst: float
    needed: int | None
    margin: float
    images: int
    unit: str
    available: int
    searched: int

    @property
    def judged(self) -> str:
        return f"{count(self.images, self.unit, self.available)}, searched among {self.searched:,},"

    def sentence(self) -> str:
        points, limit = in_points(self.margin), f"{100 * self.at_worst:.1f}"
        how = "as they are" if self.map == IDENTITY else f"through the map {self.map}"
        loss = f"lose {100 * self.lost:.1f} points of recall@1 in {self.judged} under {self.worst} (at worst {limit})"
        if self.lost < NOTHING:
            loss = f"lose nothing of recall@1 in {self.judged} (at worst {limit} points)"
        if self.decision == RE_ENCODE:
            return f"Re-encode: {how}, new queries in the old index {loss}, more than {points}."
        if self.decision != UNDECIDED:
            how = f"{how[0].upper()}{how[1:]}"
            return f"{how}: new queries in the old index {loss}, within {points} under every change."
        more = f"about {about(self.needed)} {self.unit}s" if self.needed else f"more {self.unit}s"
        return f"Not decided: {more}. {how[0].upper()}{how[1:]}, new queries {loss}; the margin is {points}."


def verdict_of(
    recall: Judged, names: Sequence[str], kind: str, margin: float, available: int, searched: int
) -> Verdict:
    """Judges recall@1 through a map beside old queries, change by change.

    It is within the margin if it is so under every change, each at one-sided 95 %; beyond it if it is so under one, at
    95 % for all changes together.
    """
    present = [place for place in range(len(names)) if recall.n[place]]
    each = {place: of_recall(recall.only(place), Margins(recall=margin)) for place in present}
    worst = min(present, key=lambda place: float(recall.difference[place]))
    together = recall.interval(1 - (1 - ONE_SIDED) / len(present))[1]
    outcomes = {found.outcome for found in each.values()}
    needed = {place: found.needed for place, found in each.items() if found.outcome not in (EQUIVALENT, NOT_WORSE)}
    if outcomes <= {EQUIVALENT, NOT_WORSE}:
        decision = AS_THEY_ARE if kind == IDENTITY else THROUGH
    elif any(together[place] < -margin for place in present):
        decision = RE_ENCODE
    else:
        decision = UNDECIDED
    lost = max(0.0, -float(recall.difference[worst]))
    numbers = [number for number in needed.values() if number]
    if lost > margin:
        number = needed.get(worst) if each[worst].outcome != NOT_EQUIVALENT else None
    else:
        number = None if None in needed.values() else max(numbers, default=None)
    at_worst = max(0.0, -min(-1.0 if math.isnan(found.low) else found.low for found in each.values()))
    unit = "group" if recall.is_grouped else "image"
    number = None if decision != UNDECIDED else number
    return Verdict(
        decision, kind, lost, names[worst], at_worst, number, margin, recall.groups, unit, available, searched
    )


@dataclass(frozen=True, repr=False)
class Upgrade(Result):
    """What becomes of an index of old vectors under a new encoder.

    Every number is of images and changes that no map was fitted to, in a search among the originals of a fifth of the
    images. Old and new queries are views of the same images, so that differences are paired.

    Args:
        table: `deployment, map, augmentation, metric, n, value, ci_low, ci_high, difference, difference_low,
            difference_high`; `difference` is from deployment `old`.
        thresholds: `queries, deployment, false_match_rate, old, carried, ci_low, ci_high`.
        curve: `images, value, ci_low, ci_high, difference, difference_low, difference_high`: recall@1 through the best
            fitted map by the number of images it is fitted to; `difference` is from the row above.
        calibration: Mean and standard deviation of the cosines of different originals, through the map (`bridge`) and
            among new vectors (`new`): by both a mixed index becomes one.
        map: The map, fitted to all images; call it with new vectors `[n, E]`.
        verdict: What is decided.
        lines: The verdict in sentences, and warnings.
    """

    table: pl.DataFrame
    thresholds: pl.DataFrame
    curve: pl.DataFrame
    calibration: Mapping[str, tuple[float, float]]
    map: LinearMap
    verdict: Verdict
    lines: tuple[str, ...]
    name = "upgrade"

    def _lines(self) -> Iterator[str]:
        yield from self.lines

    def _table(self) -> pl.DataFrame:
        return self.table.filter(augmentation=ALL).pivot(on="metric", index="deployment", values="value")

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """All tables by name."""
        return {"upgrade": self.table, "thresholds": self.thresholds, "curve": self.curve}

    def to_dicts(self) -> Json:
        """Returns decision, sentences, and all tables as lists of rows, ready for JSON."""
        numbers = {name: {"mean": mean, "sd": sd} for name, (mean, sd) in self.calibration.items()}
        own: Json = vars(self.verdict) | {"sentences": list(self.lines), "calibration": numbers}
        return own | {name: table.to_dicts() for name, table in self.tables.items()}

    def figure(self) -> "Figure":
        """Draws the learning curve with matplotlib."""
        from embedshift.questions.upgrade.figures import draw_upgrade

        return draw_upgrade(self.curve, self.table, self.verdict.images)

    def _figures(self) -> Mapping[str, Callable[[], "Figure"]]:
        return {"upgrade_curve": self.figure}

    @property
    def _grid(self) -> Grid:
        title = (
            f"held out, {self.verdict.judged}; recall@1 over all changes with 95 % intervals; its difference under the "
            "worst change, in points; false matches at the old threshold → at the carried one"
        )
        spare = ("neighbours kept", "matched@0.001", "false matches")
        return Grid(HEADINGS, ("name", "number"), [*deployment_cells(self)], title, spare=spare)

    def parts(self) -> Iterator[str | Grid]:
        """Yields the table of deployments, the verdict in sentences, and the calibration."""
        yield self._grid
        yield from self.lines
        for name, (mean, sd) in self.calibration.items():
            yield f"Cosines of different images, {name}: mean {mean:.4f}, standard deviation {sd:.4f}."

    def _page(self, picture: Picture) -> Iterator[str]:
        yield "# Upgrade"
        yield from map(escaped, self.lines)
        yield self._grid.markdown()
        yield from picture("Learning curve", "upgrade_curve")
        yield "Intervals: 95 %, paired by image. All numbers are in the tables beside this page."


def upgrade(
    old: Study | str | Path,
    new: Study | str | Path,
    *,
    out: str | Path | None = None,
    onnx: str | Path | None = None,
    threshold: float | None = None,
    false_match_rate: float | None = None,
    recall_margin: float | None = None,
    groups: Choice | None = None,
    columns: Mapping[str, str] | None = None,
    gallery: str | Path = "",
) -> Upgrade:
    """Says whether queries of a new encoder may search an index of vectors of an old one, and through which map.

    Args:
        old: A finished study of the old encoder that stores embeddings, its folder, or a Parquet file with the columns
            image_id, view and vector (and draw, group).
        new: The same of the new encoder, with the same images and changes; its vectors may have another length.
        out: An npz file to write the map to; `Whitening.load` reads it. None = it is not written.
        onnx: An ONNX file to write the map to; needs `onnx`.
        threshold: The cosine from which on the old index reports a match. None = that of `false_match_rate`.
        false_match_rate: The part of pairs of different images that may match; None = 0.001.
        recall_margin: How much of recall@1 may be lost; None = 0.01.
        groups: Which images are not independent, as for `run`; None = as they are.
        columns: Names of columns of Parquet files, as in `embedshift.from_vectors`.
        gallery: More vectors of the old index to search among: a study of the old encoder, a Parquet or npy file. The
            new encoder has no vectors of them, so that deployments with new vectors have no recall.

    Returns:
        Tables, the map, and what is decided.

    Raises:
        UsageError: A study is not finished or stores no embeddings, images or changes differ, there are fewer than 8
            images, or all vectors are the same.
        EmbedshiftError: `onnx` is not installed.

    Example:
        >>> import tempfile, numpy as np
        >>> rng, folder = np.random.default_rng(0), Path(tempfile.mkdtemp())
        >>> new = rng.normal(size=(80, 8)).repeat(3, axis=0) + 0.1 * rng.normal(size=(240, 8))
        >>> turned = 2 * new @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
        >>> names = {"image_id": [str(row // 3) for row in range(240)], "view": ["original", "crop", "blur"] * 80}
        >>> for name, vectors in (("old", turned), ("new", new)):
        ...     pl.DataFrame(names | {"vector": vectors.tolist()}).write_parquet(folder / f"{name}.parquet")
        >>> found = upgrade(folder / "old.parquet", folder / "new.parquet", recall_margin=0.1)
        >>> found.verdict.decision, found.map.name
        ('through the map', 'orthogonal')
    """
    margin = Margins(recall=MARGIN if recall_margin is None else recall_margin).recall
    assert margin is not None
    if out is not None and onnx is not None and Path(out).resolve() == Path(onnx).resolve():
        raise UsageError(f"{out}: named for the map and for `onnx`; name two files")
    given = {Path(side).resolve() for side in (old, new) if not isinstance(side, Study)}
    for written in (out, onnx):
        if written is not None and Path(written).resolve() in given:
            raise UsageError(f"{written}: is what is read; name another file for the map")
    cut = _cut(threshold, false_match_rate)
    sides = opened(old, columns), opened(new, columns)
    seed = sides[0].reader().info.seed if isinstance(sides[0], Study) else 0
    both = both_of(*sides, seed, groups)
    if gallery:
        both = replace(both, gallery=gallery_of(sides[0], both, str(gallery)))
    fitted, found = evaluate(both, cut, margin, seed)
    if isinstance(sides[1], Study):
        encoder = sides[1].reader().info.encoder
        known: Json = {"encoder": encoder.weights_hash, "embedding": encoder.embedding or ""}
        fitted = replace(fitted, **known)
    fitted = replace(fitted, version=version("embedshift"))
    if onnx is not None:
        write_onnx(fitted, output_path(onnx))
    if out is not None:
        fitted.save(out)
    available = int(both.groups.max()) + 1
    searched = round(float(np.mean([len(images) for images in both.judged]))) + len(both.gallery)
    verdict = verdict_of(found.recall, [*dict.fromkeys(both.names)], found.kind.name, margin, available, searched)
    curve = _curve_table(found.curve)
    lines = tuple(sentences(verdict, found, curve, both.new.shape[2], cut))
    return Upgrade(found.table, found.thresholds, curve, found.calibration, fitted, verdict, lines)


def upgrade_table(paired: PairedStudies) -> pl.DataFrame:
    """Returns the table `upgrade` of a study beside its reference, for rules of `check`."""
    return evaluate(of_pair(paired), Cut(), MARGIN, paired.seed)[1].table


def _cut(threshold: float | None, rate: float | None) -> Cut:
    if threshold is not None and rate is not None:
        raise UsageError("give `threshold` or `false_match_rate`, not both")
    if threshold is not None and not -1 < threshold < 1:
        raise UsageError(f"`threshold` {threshold:g}: give a cosine above -1 and below 1, such as 0.9")
    if rate is not None and not 0 < rate < 1:
        raise UsageError(f"`false_match_rate` {rate:g}: give a fraction above 0 and below 1, such as 0.001")
    return Cut(threshold) if rate is None else Cut(rate=rate)


def _curve_table(curve: Mapping[int, Judged]) -> pl.DataFrame:
    rows = []
    for images, judged in curve.items():
        numbers = (judged.value, *judged.own_interval(), judged.difference, *judged.interval())
        rows.append((images, *(float(number[-1]) for number in numbers)))
    return pl.DataFrame(rows, CURVE, orient="row").fill_nan(None)


def sentences(verdict: Verdict, found: Evaluated, curve: pl.DataFrame, dim: int, cut: Cut) -> Iterator[str]:
    """Yields the verdict, the recall after re-encoding, the learning curve, carried thresholds and warnings."""
    yield verdict.sentence()
    means = found.table.filter(augmentation=ALL, metric="recall@1").rows_by_key("deployment", named=True, unique=True)
    yield from _over_all(means)
    if verdict.decision != AS_THEY_ARE:
        yield _more_images(curve, verdict.margin)
    for row in found.thresholds.drop_nulls("carried").filter(deployment=NEW).iter_rows(named=True):
        through = found.thresholds.filter(queries=row["queries"], deployment=BRIDGE)["carried"][0]
        words = "changed images" if row["queries"] == COPIES else "originals"
        ends = "" if row["ci_low"] is None else f" [{row['ci_low']:.3f} to {row['ci_high']:.3f}]"
        both = "" if through is None else f", and {through:.3f} for new queries in the old index"
        yield f"Threshold for {words}: {row['old']:.3f} becomes {row['carried']:.3f}{ends} among new vectors{both}."
    if found.thresholds.drop_nulls("carried").is_empty():
        needed = math.sqrt(LEAST_PAIRS * FOLDS / cut.rate)
        words = f"a false-match rate of {cut.rate:g} needs about {about(math.ceil(needed))} images"
        if cut.threshold is not None:
            words = "fewer than ten pairs of different images match at the old one, or all do"
        yield f"No threshold is carried: {words}."
    if found.kind.name != IDENTITY and found.vectors < dim:
        yield (
            f"Warning: the map is fitted to {found.vectors:,} vectors, fewer than their {dim:,} dimensions: what no "
            "image shows, it cannot map."
        )
    if found.alike < ALIKE and verdict.images >= LEAST_ALIKE:
        yield (
            "Warning: both encoders hardly share more neighbours than by chance: do the same ids name the same images?"
        )


def _over_all(means: Mapping[Any, Json]) -> Iterator[str]:
    old, bridge, half, new = (means[name]["value"] for name in (OLD, BRIDGE, [*MIXED][1], NEW))
    words = f"Over all changes old queries find {old:.3f} in the old index, new ones {bridge:.3f}"
    if new is None:
        yield f"{words}. The gallery has no vectors of the new encoder: leave it out to see what re-encoding finds."
        return
    gain, low, high = (100 * means[NEW][name] for name in ("difference", "difference_low", "difference_high"))
    number, ends = at_places(gain, low, high, 1)
    yield f"{words}, {half:.3f} where half of it is new, and {new:.3f} after re-encoding ({number} points [{ends}])."
    if high < 0:
        yield "Warning: after re-encoding the new encoder finds less than the old one finds now: keep the old one."
    yield "Losses rise with the size of the index: give vectors of it as `gallery`."


def _more_images(curve: pl.DataFrame, margin: float) -> str:
    *_, last = curve.iter_rows(named=True)
    numbers = ", ".join(f"{value:.3f} with {images:,}" for images, value in curve.select("images", "value").iter_rows())
    low, high = last["difference_low"], last["difference_high"]
    words = "more images may not help, or may"
    if low is not None and low > 0:
        words = "more images would help"
    elif high is not None and high < margin:
        words = "more images would hardly help"
    return f"The best map finds {numbers} images to fit: {words}."


def deployment_cells(found: Upgrade) -> Iterator[list[str]]:
    """Yields a row of text for each deployment, below `HEADINGS`."""
    for (name,), rows in found.table.group_by("deployment", maintain_order=True):
        whole = rows.filter(augmentation=ALL).rows_by_key("metric", named=True, unique=True)
        changes = rows.filter(pl.col("augmentation") != ALL, metric="recall@1").drop_nulls("difference")
        worst = next(changes.sort("difference", maintain_order=True).iter_rows(named=True), None)
        recall = whole["recall@1"]
        numbers: list[Any] = [whole[metric]["value"] for metric in ("matched@0.001", "neighbours@10")]
        rates = [whole[metric]["value"] for metric in ("false_matches", "false_matches@carried")]
        lost = (
            MISSING if worst is None else f"{fixed(100 * worst['difference'], 1, signed=True)} {worst['augmentation']}"
        )
        yield [
            str(name),
            MISSING if worst is None else with_ends(recall["value"], recall["ci_low"], recall["ci_high"], 3),
            MISSING if name == OLD else lost,
            *(fixed(number, 3) for number in numbers),
            " → ".join(MISSING if rate is None else f"{rate:.2g}" for rate in rates),
        ]
