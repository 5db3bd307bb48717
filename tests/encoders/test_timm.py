"""timm: models without their classifier, against what timm itself gives, unfused."""

import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import embedshift
from embedshift import load_encoder
from support import models
from support.attention_by_hand import slow_row
from support.matrix import first_only
from support.refusals import refused

pytestmark = pytest.mark.slow

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}
NAFLEX = {key: value for key, value in SMALL.items() if key != "img_size"}
CASES = {
    "vit_tiny_patch16_224": "cls",
    "deit_tiny_distilled_patch16_224": "cls",
    "vit_small_patch14_reg4_dinov2": "cls",
    "vit_small_patch16_dinov3": "cls",
    "eva02_tiny_patch14_224": "cls",
    "beit_base_patch16_224": "cls",
    "vit_base_patch16_gap_224": "mean",
    "naflexvit_base_patch16_gap": "mean",
    "vit_base_patch16_siglip_224": "pool",
}


def make(name: str, folder: Path, **settings) -> Path:
    model = timm.create_model(name, **settings)
    models.widen(model, std=0.05 if "resnet" in name else 0.2)
    timm.models.save_for_hf(model, folder, model_args=settings, safe_serialization=True)
    return folder


def views(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def pixels(given: np.ndarray, encoder) -> torch.Tensor:
    return torch.from_numpy(((given / 255 - encoder.mean) / encoder.std).transpose(0, 3, 1, 2)).float()


def reference(folder: Path, x: torch.Tensor, kind: str, size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """timm's output, and the weights that its unfused attention makes."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, img_size=size).eval()
    caught = []
    if kind == "pool":
        model.attn_pool.register_forward_pre_hook(lambda _m, args: caught.append(args[0]))
    else:
        model.blocks[-1].attn.fused_attn = False
        model.blocks[-1].attn.attn_drop.register_forward_hook(lambda _m, _i, output: caught.append(output))
    with torch.no_grad():
        output = model(x).numpy()
        if kind != "pool":
            rows = caught[0][:, :, :1] if kind == "cls" else caught[0]
            return output, rows.mean(dim=(1, 2)).numpy()
        pool = model.attn_pool
        q = pool.q(pool.latent.expand(len(x), -1, -1)).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
        k = pool.kv(caught[0]).unflatten(-1, (2, pool.num_heads, -1))[:, :, 0].transpose(1, 2)
    return output, slow_row(q, k, from_cls=True).numpy()


@pytest.mark.parametrize("name", first_only(CASES))
def test_embedding_and_attention_equal_timms_own(name, tmp_path):
    naflex = name.startswith("naflex")
    folder = make(name, tmp_path / "mine", **(NAFLEX if naflex else SMALL))
    for size in (32, 48):
        encoder = load_encoder(f"timm:local-dir:{folder}", size=size)
        output = encoder(views(size))
        embedding, row = reference(folder, pixels(views(size), encoder), CASES[name], None if naflex else size)
        grid = size // 8
        assert (encoder.name, encoder.size, encoder.grid) == ("mine", size, (grid, grid))
        assert encoder.attention_kind == output.attention_kind == CASES[name]
        assert np.abs(embedding[0] - embedding[1]).max() > 0.01
        assert row.max() > 1.2 * row.mean()
        np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
        np.testing.assert_allclose(output.attention.reshape(2, -1), row[:, -grid * grid :], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "size"), [("test_resnet", 64), ("swin_tiny_patch4_window7_224", 64)])
def test_without_attention_over_all_patches_there_is_none(name, size, tmp_path):
    """A convolutional network, and one whose attention sees windows: no map of either would be one of the picture."""
    settings = {"img_size": 64, "window_size": 2, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}
    folder = make(name, tmp_path / name, **(settings if "swin" in name else {}))
    encoder = load_encoder(str(folder), size=size)
    output = encoder(views(size))
    assert output.attention is encoder.grid is None
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    with torch.no_grad():
        expected = model(pixels(views(size), encoder)).numpy()
    np.testing.assert_allclose(output.embedding, expected, rtol=0, atol=1e-4)


class Windows(nn.Module):
    """Attention inside each quarter of the picture."""

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(48, 2, batch_first=True)

    def forward(self, x):
        quarters = (
            nn.functional.pixel_unshuffle(x, 4).unflatten(3, (2, 2)).unflatten(2, (2, 2)).permute(0, 2, 4, 3, 5, 1)
        )
        tokens = quarters.reshape(-1, 4, 48)
        return self.attn(tokens, tokens, tokens)[0].reshape(len(x), -1)


def test_weights_of_windows_are_not_taken_for_those_of_pictures():
    settings = {"size": 16, "mean": models.MEAN, "std": models.STD, "attention": "attn"}
    output = embedshift.wrap(Windows(), **settings)(views(16))
    assert output.embedding.shape == (2, 768)
    assert output.attention is output.attention_kind is None


def test_what_is_refused(tmp_path, monkeypatch):
    folder = make("vit_tiny_patch16_224", tmp_path / "vit", **SMALL)
    refused("timm:vit_tiny_patch16_24", "did you mean 'vit_tiny_patch16_224'?", code=2)
    refused(f"timm:local-dir:{tmp_path}/none", "no such folder", code=2)
    refused(str(folder), "It gives: pooled", code=2, embedding="cls")
    refused(str(folder), "multiple of its patch", code=2, size=36)
    refused("timm:vit_base_patch16_siglip_gap_224.none", "cannot be loaded")
    file = folder / "model.safetensors"
    weights = load_file(file)
    lost = "blocks.1.mlp.fc1.weight"
    save_file({name: value for name, value in weights.items() if name != lost}, file)
    # Made without its classifier at once, timm fills it at random and says nothing.
    timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    refused(str(folder), "Missing key(s)", lost)
    file.unlink()
    refused(str(folder), "cannot be loaded", "No suitable checkpoints")
    monkeypatch.setitem(sys.modules, "timm", None)
    refused("timm:vit_tiny_patch16_224", "pip install 'embedshift[openclip]'")


def test_a_study(tmp_path):
    folder = make("vit_base_patch16_siglip_224", tmp_path / "siglip", **SMALL)
    study = embedshift.run(models.pictures(tmp_path / "p", 2), out=tmp_path / "s", model=str(folder), workers=0)
    assert len(study.summary()) == 54
    assert study.info()["encoder"]["attention_kind"] == "pool"
