"""Sample sizes for a comparison with a second encoder, planned from a study as pilot."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from embedshift.arrays import Values
from embedshift.statistics.equivalence import RECALL, RELATIVE_SHIFT
from embedshift.statistics.halves import ComparedHalves, compared_halves, discordance
from embedshift.statistics.intervals import CONFIDENCE, critical_value
from embedshift.statistics.power import POWER, Planned, plan_for_loss, plan_for_mean
from embedshift.statistics.shift_ratios import SATURATED
from embedshift.statistics.summary import COSINE
from embedshift.store.embeddings import vectors_of
from embedshift.store.reader import Reader

ALL = "all"
# Table, augmentation, metric, effect, and the plan.
Plan = tuple[str, str, str, float, Planned]


@dataclass(frozen=True)
class Wanted:
    """The effect to find, and the probability to find it."""

    ratio: float = 1.1
    recall_loss: float = 0.01
    power: float = POWER


def other_images(reader: Reader) -> int:
    """Returns the number of gallery images outside the study; 0 without a search in it."""
    sizes, images = reader.table("gallery_sizes"), reader.info.counts.measured
    return 0 if sizes is None else max([images, *sizes.filter(kind="measured")["images"]]) - images


def halves_of(reader: Reader) -> list[ComparedHalves]:
    """Returns comparisons of random halves of the encoder's dimensions, which differ as equal encoders do."""
    if not reader.info.has_vectors or reader.info.encoder.dim < 2:
        return []
    originals, views = vectors_of(reader)
    in_all = shifts_of(reader) < SATURATED
    return [*compared_halves(originals, views, in_all, reader.info.seed, reader.first_groups(len(originals)))]


def shifts_of(reader: Reader) -> Values:
    """Returns the relative shift of cosines under each augmentation, `[A]`; infinite without one."""
    return reader.need("summary").filter(metric=COSINE)["relative_shift"].fill_null(np.inf).to_numpy()


def plans_of_encoders(reader: Reader, find: Wanted, compared: Sequence[ComparedHalves]) -> Iterator[Plan]:
    """Yields plans for `compare` and `check` with an encoder that differs like random halves of this one."""
    if not compared:
        return
    shifts, seed = shifts_of(reader), reader.info.seed
    names = [*reader.augmentations, ALL] if (shifts < SATURATED).sum() > 1 else reader.augmentations
    together = critical_value(compared[0].log_ratios, seed=seed)
    for column, name in enumerate(names):
        values = np.stack([each.log_ratios.values[:, column] for each in compared], axis=1)
        if (name == ALL or shifts[column] < np.inf) and np.ptp(values, axis=0).all() and not np.isnan(values).any():
            critical = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)) if name == ALL else together
            plan = plan_for_mean(values, math.log(find.ratio), critical, find.power)
            yield "comparison", name, RELATIVE_SHIFT, find.ratio, plan
    if "search_ranks" in reader.table_names:
        others = other_images(reader) * reader.info.group_count / reader.info.counts.measured
        for column, name in enumerate(names):
            pilot = discordance(compared, column, others)
            plan = plan_for_loss(pilot, find.recall_loss, power=find.power)
            yield "comparison", name, RECALL, find.recall_loss, plan.times(compared[0].recall.groups / pilot.pilot)
