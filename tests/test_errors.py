"""Errors that cross from one process to another."""

import pickle

from embedshift.errors import MissingExtra


def test_a_missing_extra_is_the_same_in_another_process():
    error = MissingExtra("the engine 'ray'", "ray")
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is MissingExtra
    assert (str(other), other.exit_code) == (str(error), error.exit_code)
