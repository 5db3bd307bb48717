"""open_clip: the image tower alone, against the whole model that open_clip itself loads."""

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import embedshift
from embedshift import load_encoder
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from support import models
from support.attention_by_hand import multihead_row, slow_row
from support.matrix import first_only
from support.refusals import refused

pytestmark = pytest.mark.slow

TEXT = {"context_length": 8, "vocab_size": 99, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 8, "layers": 3}
PICTURES = {"size": 32, "mean": models.MEAN, "std": models.STD, "interpolation": "bilinear"}
CONFIGS = {
    "vit": {"embed_dim": 20, "vision_cfg": VIT, "text_cfg": TEXT},
    "quick_gelu": {"embed_dim": 20, "quick_gelu": True, "vision_cfg": VIT, "text_cfg": TEXT},
    "coca": {
        "embed_dim": 16,
        "custom_text": True,
        "vision_cfg": VIT | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
        "text_cfg": TEXT | {"embed_cls": True, "output_tokens": True},
        "multimodal_cfg": TEXT,
    },
    "resnet": {
        "embed_dim": 20,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": TEXT,
    },
    "siglip": {  # a tower of timm that pools by attention
        "embed_dim": 96,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"},
        "text_cfg": TEXT,
    },
}


def make(kind: str, folder: Path, *, safe: bool = True, dtype: torch.dtype = torch.float32) -> Path:
    folder.mkdir()
    config = json.loads(json.dumps(CONFIGS[kind]))
    content = {"model_cfg": config, "preprocess_cfg": PICTURES}
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    model = open_clip.create_model(f"local-dir:{folder}")
    models.widen(model, std=0.15 if kind == "resnet" else 0.2)
    state = {name: value.to(dtype).contiguous() for name, value in model.state_dict().items()}
    if safe:
        save_file(state, folder / "open_clip_model.safetensors")
    else:
        torch.save(
            {"state_dict": {f"module.{name}": value for name, value in state.items()}},
            folder / "open_clip_pytorch_model.bin",
        )
    return folder


def whole(folder: Path, **settings):
    return open_clip.create_model(f"local-dir:{folder}", **settings).eval()


def views(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (2, size, size, 3), dtype=np.uint8)


def pixels(given: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((given / 255 - models.MEAN) / models.STD).transpose(0, 3, 1, 2)).float()


def inputs_of(module: nn.Module, model, x: torch.Tensor) -> torch.Tensor:
    """What a part of the model gets first in a pass over the pictures."""
    caught = []
    hook = module.register_forward_pre_hook(
        lambda _m, args, kwargs: caught.append([*args, *kwargs.values()][0]), with_kwargs=True
    )
    with torch.no_grad():
        model.encode_image(x)
    hook.remove()
    return caught[0]


def cls_row(model, x):
    block = model.visual.transformer.resblocks[-1]
    with torch.no_grad():
        return multihead_row(block.attn, inputs_of(block.attn, model, x), from_cls=True)


def resnet_row(model, x):
    """The mean token's weights in its attention pool."""
    pool = model.visual.attnpool
    tokens = inputs_of(pool, model, x).flatten(2).transpose(1, 2)
    with torch.no_grad():
        tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
        q, k = (part(tokens).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for part in (pool.q_proj, pool.k_proj))
    return slow_row(q, k, from_cls=True)


def siglip_row(model, x):
    pool = model.visual.trunk.attn_pool
    tokens = inputs_of(pool, model, x)
    with torch.no_grad():
        q = pool.q(pool.latent.expand(len(tokens), -1, -1)).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
        k = pool.kv(tokens).unflatten(-1, (2, pool.num_heads, -1))[:, :, 0].transpose(1, 2)
    return slow_row(q, k, from_cls=True)


CASES = {
    "vit": (cls_row, "cls", (32, 48), 8),
    "quick_gelu": (cls_row, "cls", (32,), 8),
    "coca": (cls_row, "cls", (32,), 8),
    "resnet": (resnet_row, "pool", (64,), 32),
    "siglip": (siglip_row, "pool", (160, 192), 16),
}


@pytest.mark.parametrize("kind", first_only(CASES))
def test_embedding_and_attention_equal_open_clips_own(kind, tmp_path):
    row, attention_kind, sizes, patch = CASES[kind]
    folder = make(kind, tmp_path / kind)
    for size in sizes:
        given = None if size == sizes[0] else size
        encoder = load_encoder(f"open_clip:local-dir:{folder}", size=given)
        output = encoder(views(size))
        model = whole(folder, force_image_size=given)
        with torch.no_grad():
            embedding = model.encode_image(pixels(views(size)), normalize=False).numpy()
        weights = row(model, pixels(views(size))).numpy()
        grid = size // patch
        assert (encoder.name, encoder.size, encoder.grid) == (kind, size, (grid, grid))
        assert encoder.attention_kind == output.attention_kind == attention_kind
        assert encoder.preprocess.resample == 2
        assert np.abs(embedding[0] - embedding[1]).max() > 0.01
        assert weights.max() > 1.5 * weights.mean()
        np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
        np.testing.assert_allclose(output.attention.reshape(2, -1), weights[:, -grid * grid :], rtol=0, atol=1e-5)
        assert not any(
            "token_embedding" in name or name.startswith("text") for name, _ in encoder.module.named_parameters()
        )


def test_pickles_half_precision_and_a_folder_that_names_itself(tmp_path):
    safe = load_encoder(str(make("vit", tmp_path / "safe", dtype=torch.bfloat16)))
    old = load_encoder(str(make("vit", tmp_path / "old", safe=False)))
    assert (safe.name, old.name) == ("safe", "old")
    assert {value.dtype for value in safe.module.parameters()} == {torch.float32}
    np.testing.assert_allclose(safe(views(32)).embedding, old(views(32)).embedding, rtol=0, atol=0.1)
    assert (tmp_path / "old" / "open_clip_pytorch_model.bin").is_file()
    # A folder that transformers wrote too goes to transformers.
    both = models.make("clip", tmp_path / "both")
    (both / "open_clip_config.json").write_text((tmp_path / "safe" / "open_clip_config.json").read_text())
    assert load_encoder(str(both)).dim == 20
    assert "text_projection.weight" in dict(load_encoder(str(both)).module.named_parameters())


def test_mean_and_std_where_the_config_has_none(tmp_path):
    folder = make("vit", tmp_path / "vit")
    content = json.loads((folder / "open_clip_config.json").read_text())
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": content["model_cfg"]}))
    encoder = load_encoder(str(folder))
    assert (encoder.mean, encoder.std, encoder.preprocess.resample) == (CLIP_MEAN, CLIP_STD, 3)


def test_what_is_refused(tmp_path, monkeypatch):
    folder = make("vit", tmp_path / "vit")
    refused("open_clip:ViT-B-32", "use open_clip:NAME/WEIGHTS", "laion2b_s34b_b79k", code=2)
    refused("open_clip:ViT-B-3", "a name and weights from open_clip.list_pretrained()", code=2)
    refused(f"open_clip:local-dir:{tmp_path}/none", "no such folder", code=2)
    refused(str(folder), "It gives: projection", code=2, embedding="cls")
    file = folder / "open_clip_model.safetensors"
    weights = load_file(file)
    lost = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    save_file({name: value for name, value in weights.items() if name != lost}, file)
    refused(str(folder), "Missing key(s)", lost.removeprefix("visual."))
    save_file({name.replace("visual.", "seen."): value for name, value in weights.items()}, file)
    refused(str(folder), "Missing key(s)")
    config = folder / "open_clip_config.json"
    config.write_text(config.read_text().replace("model_cfg", "another"))
    refused(f"open_clip:local-dir:{folder}", "cannot be loaded", "model_cfg")
    file.unlink()
    refused(str(folder), "no weights found", "open_clip_model.safetensors")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    refused("open_clip:ViT-B-32/openai", "pip install 'embedshift[openclip]'")


def test_a_study(tmp_path):
    folder = make("vit", tmp_path / "vit")
    study = embedshift.run(
        models.pictures(tmp_path / "p", 2), out=tmp_path / "s", model=f"open_clip:local-dir:{folder}", workers=0
    )
    assert len(study.summary()) == 54
    assert study.info()["encoder"]["embedding_definition"] == "what encode_image gives, not normalised"
