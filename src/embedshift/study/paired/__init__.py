"""The paired comparison of studies: what differs between encoders on the same images and views, with intervals.

`studies.py` pairs studies and reads their values; `differences.py` says how many times as far views move, whether both
encoders see the same neighbours, and how far one number of a table differs; `means.py` makes the table `comparison` of
all these, and `verdict.py` the sentence. `compare` shows them, and rules of `check` are judged by
them. Another number of a comparison is one more function here, of `PairedStudies`, that returns an `Estimate`.
"""

from embedshift.study.paired.estimate import Estimate
from embedshift.study.paired.studies import PairedStudies, pair_studies

__all__ = ["Estimate", "PairedStudies", "pair_studies"]
