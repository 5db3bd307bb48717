"""The table `power`: images, or groups, that find a change of a given size, planned from this study as a pilot."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import stdtrit

from embedshift.errors import UsageError
from embedshift.questions.power import Choices
from embedshift.report.next_steps import MORE_IMAGES, Step
from embedshift.report.numbers import about, count
from embedshift.statistics.equivalence import RECALL
from embedshift.statistics.intervals import CONFIDENCE, LEAST_IMAGES, critical_value
from embedshift.statistics.layout import image_means
from embedshift.statistics.paired import critical_of_signs, discordance_growth, found_first, paired_gains, ranks_by_view
from embedshift.statistics.power import Discordance, Planned, plan_for_loss, plan_for_mean
from embedshift.statistics.strengths import LEAST_SAFE
from embedshift.statistics.summary import COSINE, paired_logarithms
from embedshift.store.baselines import measurements
from embedshift.store.plans import Plan, Wanted, halves_of, other_images, plans_of_encoders
from embedshift.store.reader import Reader
from embedshift.store.table import Table, table_path

LIMITS = {"ratio": (1.0, 100.0), "recall_loss": (0.0, 1.0), "power": (0.5, 0.999)}
SCHEMA = pl.Schema(
    {"table": str, "augmentation": str, "metric": str, "effect": float, "power": float}
    | {"n": int, "n_low": int, "n_high": int}
)


def wanted(reader: Reader) -> Wanted:
    chosen, kept = reader.choice(Choices), reader.kept_settings("power")
    numbers = {}
    for name, default in vars(Wanted()).items():
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
            plans_of_encoders(reader, find, halves_of(reader)),
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


def _pilots_of_pairs(reader: Reader) -> Iterator[tuple[str, Discordance, float, float]]:
    """Yields pairs of augmentations: what differs in their searches, the critical value, and images as one of it."""
    table = reader.table("search_ranks")
    if table is None or table.is_empty() or not reader.compares_all or len(reader.augmentations) < 2:
        return
    ranks = ranks_by_view(table, reader.augmentations, reader.info.draws)
    found = image_means(found_first(ranks))
    gains = paired_gains(found, reader.first_groups(len(found)), seed=reader.info.seed)
    # That of the planned study, in which more images differ than in a pilot.
    critical = critical_of_signs(gains.sums, seed=reader.info.seed, is_large=True)
    pairs = zip(_pair_names(reader), itertools.combinations(range(len(reader.augmentations)), 2), strict=True)
    for column, (name, (first, second)) in enumerate(pairs):
        if np.isfinite(alike := float(gains.number[column])):
            growth, others = (
                discordance_growth(ranks[..., first], ranks[..., second]),
                other_images(reader) / len(found),
            )
            both = float(gains.gained[column]), float(gains.lost[column])
            yield name, Discordance.of(*both, alike, growth, others * alike), critical, len(gains.sums) / alike


def _pairs_by_recall(reader: Reader, find: Wanted) -> Iterator[Plan]:
    for name, pilot, critical, times in _pilots_of_pairs(reader):
        plan = plan_for_loss(pilot, find.recall_loss, critical, find.power).times(times)
        yield "differences", name, RECALL, find.recall_loss, plan


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
            plan = Planned(*map(math.ceil, (n, n / far, n * far)))
            yield "tolerance", row["family"], row["criterion"], find.ratio, plan


def _settings(reader: Reader) -> dict[str, str]:
    ranks = reader.table("search_ranks")
    searched = "" if ranks is None else f"{len(ranks)} {ranks['rank'].sum()}"
    return {
        "version": "2",
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
    find, more, unit = Wanted(), "", "group" if reader.info.groups else "image"
    if pilots := sorted(_pilots_of_pairs(reader), key=lambda pair: pair[1].fraction):
        _, pilot, critical, times = pilots[len(pilots) // 2]
        needed = plan_for_loss(pilot, find.recall_loss, critical, find.power).times(times).n
        if needed is not None and needed <= groups:
            return None
        more = f": finding {100 * find.recall_loss:g} % less recall needs {about(needed)}" if needed else ""
    return Step(f"{count(groups, unit)} are few{more}", MORE_IMAGES)


STEPS = (measure_more,)
TABLES = (
    Table(
        "power",
        power,
        reads=("summary", "search_ranks", "gallery_sizes", "tolerance"),
        is_available=_is_available,
        requires="views",
        settings=_settings,
        doc="Images that each comparison needs to find a change of a given size, planned from this study as a pilot.",
        choices=Choices(measured=True),
    ),
)
