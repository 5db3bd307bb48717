"""Small cases worked by hand."""

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional

from embedshift import encoders, errors
from embedshift.encoders import (
    attention,
    families,
    layers,
    libraries,
    relevance,
    rollout,
    structure,
    trust,
    weights,
    written,
)
from embedshift.encoders import device as device_module
from embedshift.encoders import grid as grid_module
from embedshift.encoders import taps as taps_module
from embedshift.encoders import text as text_module
from embedshift.encoders.observations import ForwardPass, Tower


def test_encoders_check_name():
    with pytest.raises(errors.UsageError, match="models/mine/last: no such folder"):
        encoders.check_name("models/mine/last")


def test_encoders_load_text_encoder():
    with pytest.raises(
        errors.UsageError, match="dinov2\\-small\\-offline has no text tower: texts need a vision\\-language model \\."
    ):
        encoders.load_text_encoder("dinov2-small-offline")


def test_attention_attention_tap():
    layer = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tap = attention.AttentionTap(layer, rows="first")
    x = torch.ones(1, 5, 8)
    with torch.inference_mode():
        _ = layer(x, x, x, need_weights=False)
    assert repr(tap.take().shape) == "torch.Size([1, 5])"


def test_attention_attention_weights():
    assert (
        repr(attention.attention_weights(torch.ones(1, 2, 3, 4), torch.ones(1, 2, 5, 4))[0, 0, 0])
        == "tensor([0.2000, 0.2000, 0.2000, 0.2000, 0.2000])"
    )


def test_device_from_device():
    assert repr(device_module.from_device([torch.ones(2)])()) == "[array([1., 1.], dtype=float32)]"


def test_device_takes_all_cores():
    class Elsewhere:
        device = "cuda:0"

    assert not (device_module.takes_all_cores(Elsewhere()))


def test_families_family_of():
    assert (families.family_of("blip", ["BlipForQuestionAnswering"]).title, families.family_of("bert")) == (
        "BLIP, captions and questions",
        None,
    )


def test_grid_patch_grid():
    import torch

    net = nn.Conv2d(3, 8, 4, stride=4)
    grid = grid_module.PatchGrid(net)
    _ = net(torch.ones(1, 3, 8, 12))
    assert (grid.patch, grid.of(7)) == (4, (2, 3))


def test_layers_layer_tap():
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    tap = layers.LayerTap(Tower(net, has_cls=True, grid=lambda tokens: (2, 2)))
    with torch.inference_mode():
        _ = net(torch.ones(3, 5, 8))
    assert tap.take(ForwardPass(3, "cls", None, lambda row: None)).shape == (3, 2, 2, 8)


def test_libraries_name_of():
    assert (libraries.name_of("timm", "vit_tiny_patch16_224"), libraries.name_of("timm", "local-dir:models/mine")) == (
        "timm:vit_tiny_patch16_224",
        "mine",
    )


def test_relevance_explainer():
    import functools

    from embedshift.encoders.wrap import wrap

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            block = functools.partial(nn.TransformerEncoderLayer, 8, 2, 8, batch_first=True, norm_first=True)
            self.cut, self.blocks = (nn.Conv2d(3, 8, 4, stride=4), nn.Sequential(block(), block()))

        def forward(self, pixels):
            return self.blocks(self.cut(pixels).flatten(2).transpose(1, 2)).mean(dim=1)

    encoder = wrap(Net(), size=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    maps = relevance.Explainer(encoder, ["relevance", "tokens"])(np.zeros((1, 8, 8, 3), np.uint8), np.ones(8))
    assert (maps["relevance"].shape, maps["tokens"].shape) == ((1, 2, 2), (1, 2, 2))


def test_rollout_rollout_tap():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    net = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    tap = rollout.RolloutTap(Tower(net, has_cls=True, grid=lambda tokens: (2, 2)))
    with torch.inference_mode():
        _ = net(torch.ones(2, 5, 8))
    whole = ForwardPass(2, "cls", None, lambda row: row)
    assert tap.take(whole).sum(axis=1).round(5).tolist() == [1.0, 1.0]


def test_structure_last_block():
    net = nn.Sequential(nn.Conv2d(3, 8, 4), nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]))
    assert repr(structure.last_block(net)) == "Linear(in_features=8, out_features=8, bias=True)"


def test_structure_like_blocks():
    net = nn.Sequential(nn.Conv2d(3, 8, 4), nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]))
    assert len(structure.like_blocks(net)) == 2


def test_structure_patch_embedding():
    assert structure.patch_embedding(nn.Sequential(nn.Conv2d(3, 8, 4, stride=4))).kernel_size == (4, 4)


def test_taps_taps():
    import torch

    class Heard(taps_module.Listener):
        def heard(self, func, args, kwargs, result):
            print(func.__name__, tuple(result.shape))

    block, taps = (nn.Linear(3, 2), taps_module.Taps())
    stop = taps.listen(block, Heard())
    with torch.inference_mode():
        _ = block(torch.ones(1, 3))
    # UNCONVERTED 'linear (1, 2)'
    stop()


def test_text_module_text_encoder():
    net = nn.EmbeddingBag(128, 4)
    letters = lambda texts: {"ids": torch.tensor([[ord(letter) for letter in text] for text in texts])}
    encoder = text_module.ModuleTextEncoder(
        net, letters, lambda net, tokens: net(tokens["ids"]), "letters", device="cpu"
    )
    assert encoder(["cat", "dog"]).shape == (2, 4)


def test_trust_closed():
    with trust.closed(local=True):
        huggingface_hub.constants.is_offline_mode()
    # UNCONVERTED 'True'


def test_trust_check_config():
    config = transformers.CLIPConfig(attn_implementation="owner/kernel")
    trust.check_config(config, "mine")
    assert config._attn_implementation is None


def test_trust_check_index():
    trust.check_index(None, "mine")


def test_trust_check_open_clip():
    with pytest.raises(
        errors.EmbedshiftError, match="mine: its configuration sets 'trust_remote_code' for the tokenizer; .*"
    ):
        trust.check_open_clip({"text_cfg": {"tokenizer_kwargs": {"trust_remote_code": True}}}, "mine")


def test_weights_weights_hash():
    assert weights.weights_hash(nn.Identity())[:12] == "e3b0c44298fc"


def test_weights_cast_weights():
    layer = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    weights.cast_weights(layer, torch.bfloat16)
    assert repr([weight.dtype for weight in layer.parameters()][1:3]) == "[torch.bfloat16, torch.float32]"


def test_weights_cast_for_now():
    layer = nn.Linear(2, 2)
    with weights.cast_for_now(layer, torch.bfloat16):
        layer.weight.dtype
    # UNCONVERTED 'torch.bfloat16'
    assert repr(layer.weight.dtype) == "torch.float32"


def test_weights_frozen():
    layer = nn.Linear(2, 2)
    with weights.frozen(layer):
        layer.weight.requires_grad
    # UNCONVERTED 'False'
    assert layer.weight.requires_grad


def test_written_written_attention():
    q = torch.ones(1, 1, 2, 4, requires_grad=True)
    with written.AttentionInterceptor() as mode:
        _ = functional.scaled_dot_product_attention(q, q, q)
    assert (mode.attended[0].weights.requires_grad, tuple(mode.attended[0].outputs.shape)) == (True, (1, 1, 2, 4))
