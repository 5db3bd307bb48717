"""Small cases worked by hand."""

from embedshift.app.measured import NO_SCALE, Space, all_changes


def test_changes_all_changes():
    changes = all_changes()
    assert next(iter(changes)).startswith("everyday: ")
    assert {"strength: jpeg", "corruptions: fog", "paper: noise", "everyday: scan"} <= {*changes}


def test_space_compare():
    row = Space("an encoder", NO_SCALE).compare([3.0, 4.0], [4.0, 3.0], "")
    assert row["cosine"] == 0.96
    assert row["relative shift"] != row["relative shift"]
    assert (row["search finds it"], row["nearest other image"]) == ("no study", "")
