"""Small cases worked by hand."""

import torch
from torch import nn

from embedshift.encoders import text as text_module


def test_module_text_encoder():
    net = nn.EmbeddingBag(128, 4)
    letters = lambda texts: {"ids": torch.tensor([[ord(letter) for letter in text] for text in texts])}
    encoder = text_module.ModuleTextEncoder(
        net, letters, lambda net, tokens: net(tokens["ids"]), "letters", device="cpu"
    )
    assert encoder(["cat", "dog"]).shape == (2, 4)
