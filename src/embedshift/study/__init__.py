"""What users work with after a run: a study, and comparisons of several studies."""

from embedshift.study.study import Study, load

__all__ = ["Study", "load"]
