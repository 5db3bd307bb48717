"""The table `claims`: the paper's claims, each tested on whatever encoder and images a study has."""

from collections.abc import Sequence

import polars as pl

from embedshift.questions.claims.evidence import gather
from embedshift.questions.claims.paper import CLAIMS
from embedshift.questions.claims.verdict import SCHEMA, judge
from embedshift.statistics.bootstrap import RESAMPLES
from embedshift.store.reader import Reader
from embedshift.store.tables import Table


def claims(rows: pl.LazyFrame, augmentations: Sequence[str], *, seed: int, resamples: int = RESAMPLES) -> pl.DataFrame:
    """What a study's images say about the paper's claims.

    Args:
        rows: Records of a study; embeddings are not read.
        augmentations: Names, in suite order; those that are not the paper's are left out.
        seed: The study's seed; it decides the resamples, which are those of `summary`.
        resamples: How many.

    Returns:
        One row per testable part: `claim, statement, estimate, ci_low, ci_high, verdict`. The estimate is a signed
        statistic with its bootstrap 95 % interval: it holds where ci_low > 0, does not hold where ci_high < 0, else it
        is undecided. For claims about the tree (2, 3) the estimate is the share of bootstrap trees with the property,
        without an interval: it holds from 0.95, does not hold to 0.05. Fewer than six images leave everything
        undecided and give no interval. A part that concerns an augmentation or attention that the study does not have
        is "not testable", with null numbers.
    """
    evidence = gather(rows, augmentations, seed=seed, resamples=resamples)
    return pl.DataFrame([judge(claim, evidence) for claim in CLAIMS], schema=SCHEMA)


def of_study(reader: Reader) -> pl.DataFrame:
    """The table of a study."""
    return claims(reader.rows(), reader.augmentations, seed=reader.info.seed)


TABLES = (Table("claims", of_study),)
