"""Small cases worked by hand."""

from embedshift.registry.fingerprint import fingerprint


def test_fingerprint():
    assert len({fingerprint(f) for f in (lambda x: x + 1, lambda x: x + 2, lambda x: x * 2)}) == 3
