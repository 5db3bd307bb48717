"""Figures 4b, 4c, 7 and 9, and the ruler."""

from embedshift.questions.embedding import distances, ruler

__all__ = ["distances", "ruler"]
