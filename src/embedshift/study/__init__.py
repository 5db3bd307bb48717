"""What people hold in their hands after a run: a study, and several of them compared."""

from embedshift.study.study import Study, load

__all__ = ["Study", "load"]
