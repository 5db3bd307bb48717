"""The paired comparison of studies: what differs between encoders on the same images and views, with intervals.

`studies.py` pairs studies and reads their values; `means.py` makes the table `comparison`; `differences.py` gives the
difference of one number of a table. `compare` shows these, and rules of `check` are judged by them. Another number of a
comparison is one more function here, of `PairedStudies`, that returns an `Estimate`.
"""

from embedshift.study.paired.estimate import Estimate
from embedshift.study.paired.studies import PairedStudies, pair_studies

__all__ = ["Estimate", "PairedStudies", "pair_studies"]
