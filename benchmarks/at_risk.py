"""How often a relation of shifts and properties is listed where there is none.

usage: python benchmarks/at_risk.py [--studies 1000]

Each study has 200 images, six changes with heavy tails, and eight properties, of which some go together.
"""

import numpy as np

from bench import arguments, print_machine
from embedshift.questions.at_risk.tables import related
from embedshift.statistics.intervals import clopper_pearson


def main() -> None:
    options = arguments(__doc__, studies=1_000)
    rng, listed = np.random.default_rng(0), 0
    for seed in range(options.studies):
        properties = rng.exponential(size=(200, 5)) @ rng.normal(size=(5, 8))
        correlations, limit = related(rng.standard_t(3, size=(200, 6)), properties, seed)
        listed += bool((np.abs(correlations) > limit).any())
    low, high = (100 * end for end in clopper_pearson(listed, options.studies))
    rate = f"{100 * listed / options.studies:.1f} % ({low:.1f} to {high:.1f})"
    print(f"a relation is listed in {listed} of {options.studies:,} studies: {rate}")
    print_machine()


if __name__ == "__main__":
    main()
