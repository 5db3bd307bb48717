"""Small cases worked by hand."""

from torch import nn

from embedshift.encoders import verdict


def test_read_verdict():
    assert verdict.read_verdict("0").shortcut is None


def test_key_of():
    assert not (verdict.key_of({"size": 224}) == verdict.key_of({"size": 32}))


def test_structure():
    name, kind, settings = verdict.structure(nn.Sequential(nn.Dropout(0.5)))[1]
    assert (name, kind, settings["p"]) == ("0", "torch.nn.modules.dropout.Dropout", 0.5)
