"""The table `power`: images, or groups, that find a change of a given size, planned from this study as a pilot."""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import stdtrit

from embedshift.errors import UsageError
from embedshift.questions.power import Choices
from embedshift.report.next_steps import MORE_IMAGES, Step
from embedshift.report.numbers import count
from embedshift.statistics.equivalence import RECALL, RELATIVE_SHIFT
from embedshift.statistics.halves import ComparedHalves, compared_halves, fall_of, ratio_margins
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, critical_value
from embedshift.statistics.judged import Judged
from embedshift.statistics.layout import image_means
from embedshift.statistics.paired import PairedGains, found_first, paired_gains
from embedshift.statistics.power import (
    POWER,
    Planned,
    least_images,
    plan_for_loss,
    plan_for_mean,
    sd_with_ends,
    times_more,
)
from embedshift.statistics.shift_ratios import SATURATED
from embedshift.statistics.strengths import LEAST_SAFE
from embedshift.statistics.summary import COSINE, paired_logarithms
from embedshift.store.baselines import measurements
from embedshift.store.embeddings import vectors_of
from embedshift.store.reader import Reader
from embedshift.store.table import Table, table_path

ALL = "all"
DEFAULTS = {"ratio": 1.1, "recall_loss": 0.01, "power": POWER}
LIMITS = {"ratio": (1.0, 100.0), "recall_loss": (0.0, 1.0), "power": (0.5, 0.999)}
SCHEMA = pl.Schema(
    {"table": str, "augmentation": str, "metric": str, "effect": float, "power": float}
    | {"n": int, "n_low": int, "n_high": int}
)
# Table, augmentation, metric, effect, and the plan.
Plan = tuple[str, str, str, float, Planned]


@dataclass(frozen=True)
class Wanted:
    """What is to be found, and with what probability."""

    ratio: float
    recall_loss: float
    power: float


def wanted(reader: Reader) -> Wanted:
    chosen, kept = reader.choice(Choices), reader.kept_settings("power")
    numbers = {}
    for name, default in DEFAULTS.items():
        given = getattr(chosen, name)
        numbers[name] = float(kept.get(name, default) if given is None else given)
        low, high = LIMITS[name]
        if not low < numbers[name] < high:
            raise UsageError(f"`{name}` {numbers[name]:g}: give a number above {low:g} and below {high:g}")
    return Wanted(**numbers)


def power(reader: Reader) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    if reader.info.group_count >= LEAST_IMAGES:
        find = wanted(reader)
        for *place, plan in itertools.chain(
            _pairs_by_ratio(reader, find),
            _pairs_by_recall(reader, find),
            _encoders(reader, find),
            _widths(reader, find),
        ):
            rows.append((*place, find.power, plan.n, plan.n_low, plan.n_high))
    return pl.DataFrame(rows, SCHEMA, orient="row")


def _pair_names(reader: Reader) -> list[str]:
    return [f"{first}, {second}" for first, second in itertools.combinations(reader.augmentations, 2)]


def _pairs_by_ratio(reader: Reader, find: Wanted) -> Iterator[Plan]:
    sample = measurements(reader)
    if not reader.compares_all or COSINE not in sample.distances or len(reader.augmentations) < 2:
        return
    has_ratio, paired = paired_logarithms(sample.with_logarithms(COSINE))
    critical = critical_value(paired, seed=reader.info.seed)
    for column, name in enumerate(_pair_names(reader)):
        if has_ratio[column] and paired.variance[column] > 0 and paired.in_memory:
            plan = plan_for_mean(paired.values[:, column], math.log(find.ratio), critical, find.power)
            yield "differences", name, COSINE, find.ratio, plan


def _gains_of_pairs(reader: Reader) -> tuple[PairedGains, int] | None:
    """Returns what each augmentation finds more than another, and the number of images, or groups; None = no search."""
    ranks = reader.table("search_ranks")
    if ranks is None or ranks.is_empty() or not reader.compares_all or len(reader.augmentations) < 2:
        return None
    found = image_means(found_first(ranks, reader.augmentations, reader.info.draws))
    groups = reader.first_groups(len(found))
    pilot = len(found) if groups is None else len(np.unique(groups))
    return paired_gains(found, groups, seed=reader.info.seed), pilot


def _pairs_by_recall(reader: Reader, find: Wanted) -> Iterator[Plan]:
    if (made := _gains_of_pairs(reader)) is None:
        return
    gains, pilot = made
    for column, name in enumerate(_pair_names(reader)):
        if np.isfinite(alike := gains.number[column]):
            differing = float(gains.gained[column] + gains.lost[column])
            plan = plan_for_loss(differing, float(alike), find.recall_loss, gains.critical, find.power)
            yield "differences", name, RECALL, find.recall_loss, plan.times(pilot / alike)


def _encoders(reader: Reader, find: Wanted) -> Iterator[Plan]:
    """Yields what `compare` and `check` need for a second encoder that differs as random halves of this one do."""
    if not reader.info.has_vectors or reader.info.encoder.dim < 2:
        return
    originals, views = vectors_of(reader)
    groups = reader.first_groups(len(originals))
    shifts = reader.need("summary").filter(metric=COSINE)["relative_shift"].fill_null(np.inf).to_numpy()
    compared = [*compared_halves(originals, views, shifts < SATURATED, reader.info.seed, groups)]
    names = [*reader.augmentations, ALL] if (shifts < SATURATED).sum() > 1 else reader.augmentations
    places = [(column, name) for column, name in enumerate(names) if name == ALL or shifts[column] < np.inf]
    yield from _ratios_of_halves(places, compared, find, reader.info.seed)
    if "search_ranks" in reader.table_names:
        yield from _recall_of_halves(places, [each.recall for each in compared], find)


def _recall_of_halves(places: Sequence[tuple[int, str]], pairs: Sequence[Judged], find: Wanted) -> Iterator[Plan]:
    falls = [fall_of(pair) for pair in pairs]
    for column, name in places:
        differing = float(np.mean([pair.gained[column] + pair.lost[column] for pair in pairs]))
        alike = float(np.mean([pair.number[column] for pair in pairs]))
        plan = plan_for_loss(differing, alike, find.recall_loss, power=find.power).times(pairs[0].groups / alike)
        yield "comparison", name, RECALL, find.recall_loss, plan
        widest = pairs[int(np.argmax([fall[column] for fall in falls]))]
        n = least_images(functools.partial(_is_broken, widest, column, find))
        # Which is as certain as the number above.
        ends = (n and end and plan.n and math.ceil(n * end / plan.n) for end in (plan.n_low, plan.n_high))
        yield "check", name, RECALL, find.recall_loss, Planned(n, *ends)


def _is_broken(pair: Judged, column: int, find: Wanted, images: int) -> bool:
    """Returns whether the rule that so many images propose is broken by the loss with the power."""
    return bool(fall_of(pair, images)[column] * (1 + math.sqrt(times_more(power=find.power))) <= find.recall_loss)


def _ratios_of_halves(
    places: Sequence[tuple[int, str]], compared: Sequence[ComparedHalves], find: Wanted, seed: int
) -> Iterator[Plan]:
    together, count = critical_value(compared[0].log_ratios, seed=seed), len(compared[0].log_ratios.mean)
    for column, name in places:
        values = np.stack([each.log_ratios.values[:, column] for each in compared], axis=1)
        if not np.ptp(values, axis=0).all() or np.isnan(values).any():
            continue
        critical = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) if name == ALL else together
        plan = plan_for_mean(values, math.log(find.ratio), critical, find.power)
        yield "comparison", name, RELATIVE_SHIFT, find.ratio, plan
        needed = (_images_for_margin(sd, count, column, find) for sd in sd_with_ends(values))
        yield "check", name, RELATIVE_SHIFT, find.ratio, Planned(*needed)


def _images_for_margin(sd: float, count: int, column: int, find: Wanted) -> int | None:
    def is_broken(images: int) -> bool:
        margins = ratio_margins(np.full(count, sd / math.sqrt(images)), images, find.power)
        return bool(margins[1, column] <= find.ratio)

    return least_images(is_broken)


def _widths(reader: Reader, find: Wanted) -> Iterator[Plan]:
    """Yields how many images narrow a tolerance's interval to a ratio of its value on either side."""
    table = reader.table("tolerance")
    pilot = reader.info.group_count
    for row in () if table is None else table.drop_nulls(("value", "low", "high")).iter_rows(named=True):
        width = (row["high"] - row["low"]) / 2 / abs(row["value"]) if row["value"] else 0.0
        if width > 0:
            n = pilot * (width / (find.ratio - 1)) ** 2
            # By the error of a standard deviation of as many normal numbers.
            far = math.exp(2 * float(stdtrit(pilot - 1, (1 + CONFIDENCE) / 2)) / math.sqrt(2 * (pilot - 1)))
            yield (
                "tolerance",
                row["family"],
                row["criterion"],
                find.ratio,
                Planned(*map(math.ceil, (n, n / far, n * far))),
            )


def _settings(reader: Reader) -> dict[str, str]:
    ranks = reader.table("search_ranks")
    searched = "" if ranks is None else f"{len(ranks)} {ranks['rank'].sum()}"
    return {
        "version": "1",
        "groups": reader.info.groups_digest,
        "searched": searched,
        **{name: f"{number:.17g}" for name, number in vars(wanted(reader)).items()},
    }


def _is_available(reader: Reader) -> bool:
    is_asked = reader.choice(Choices) != Choices() or table_path(reader.folder, "power").is_file()
    return is_asked and bool(reader.augmentations)


def measure_more(reader: Reader) -> Step | None:
    """Returns how many images a search needs, where the study's are too few or miss nothing."""
    search, groups = reader.table("search"), reader.info.group_count
    recalls = [] if search is None else search.filter(metric=RECALL)["value"].drop_nulls().to_list()
    if not recalls or groups < LEAST_IMAGES or (min(recalls) < 1 and groups >= LEAST_SAFE):
        return None
    find, more, unit = Wanted(**DEFAULTS), "", "group" if reader.info.groups else "image"
    if (made := _gains_of_pairs(reader)) is not None and np.isfinite(made[0].number).any():
        gains, pilot = made
        alike, differing = (float(np.nanmedian(each)) for each in (gains.number, gains.gained + gains.lost))
        needed = plan_for_loss(differing, alike, find.recall_loss, gains.critical, find.power).times(pilot / alike).n
        if needed is not None and needed <= groups:
            return None
        more = f": about {needed:,} show a loss of {100 * find.recall_loss:g} %" if needed else ""
    return Step(f"{count(groups, unit)} are few{more}", MORE_IMAGES)


STEPS = (measure_more,)
TABLES = (
    Table(
        "power",
        power,
        reads=("summary", "search_ranks", "tolerance"),
        is_available=_is_available,
        requires="views",
        settings=_settings,
        doc="Images that each comparison needs to find a change of a given size, planned from this study as a pilot.",
        choices=Choices(measured=True),
    ),
)
