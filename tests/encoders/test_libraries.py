"""open_clip and timm: one tower of a model, or one without its classifier, against what the library itself gives."""

import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from embedshift import load_encoder
from embedshift.encoders import load_text_encoder
from embedshift.encoders.families import CLIP_MEAN, CLIP_STD
from support import models
from support.attention_by_hand import multihead_row, slow_row
from support.family_models import pixels, views
from support.library_models import SMALL, TEXT, make_open_clip, make_timm
from support.matrix import first_only
from support.once import made
from support.refusals import refused

pytestmark = pytest.mark.slow


def inputs_of(module: nn.Module, run) -> torch.Tensor:
    """What a part of the model gets first while `run()` encodes pictures."""
    caught = []
    hook = module.register_forward_pre_hook(
        lambda _m, args, kwargs: caught.append([*args, *kwargs.values()][0]), with_kwargs=True
    )
    run()
    hook.remove()
    return caught[0]


def pooled_row(pool, tokens: torch.Tensor) -> torch.Tensor:
    """The weights of timm's pooling by attention."""
    q = pool.q(pool.latent.expand(len(tokens), -1, -1)).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)
    k = pool.kv(tokens).unflatten(-1, (2, pool.num_heads, -1))[:, :, 0].transpose(1, 2)
    return slow_row(q, k, from_cls=True)


# open_clip.

PICTURES = {"size": 32, "mean": models.MEAN, "std": models.STD, "interpolation": "bilinear"}
COCA = {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True}
# Kind → what its configuration adds, which attention it has, the sides of pictures, and of a cell of its grid.
OPEN_CLIP = {
    "vit": ({"vision": {"layers": 3}}, "cls", (32, 48), 8),
    "quick_gelu": ({"quick_gelu": True}, "cls", (32,), 8),
    "custom": ({"custom_text": True, "text": {"no_causal_mask": True}}, "cls", (32,), 8),
    "coca": (
        {
            "embed_dim": 16, "custom_text": True, "vision": COCA, "multimodal_cfg": TEXT,
            "text": {"embed_cls": True, "output_tokens": True},
        },
        "cls", (32,), 8,
    ),
    "resnet": (  # these sizes of its text part draw weights with which the attention is not even
        {
            "vision": {"image_size": 64, "layers": [1] * 4, "width": 8, "patch_size": None, "head_width": 64},
            "text": {"context_length": 8, "vocab_size": 99},
        },
        "pool", (64,), 32,
    ),
    "siglip": (  # a tower of timm that pools by attention
        {
            "embed_dim": 96, "custom_text": True, "init_logit_bias": -10,
            "vision": {"image_size": 160, "timm_model_name": "test_vit3", "timm_pool": "map", "timm_proj": "none"},
        },
        "pool", (160, 192), 16,
    ),
}  # fmt: skip
READS_TEXT = ("vit", "quick_gelu", "custom", "coca")
TEXTS = ["a photo of a cat", "the noisy dog of a boat", "itap", "a word that no one knows"]


def open_clip_folder(kind: str, folder: Path | None = None) -> Path:
    """A checkpoint that is made once, or one in a folder of its own."""
    given = {"config": {"pixels": PICTURES, **OPEN_CLIP[kind][0]}, "std": 0.15 if kind == "resnet" else 0.2}
    return made(make_open_clip, **given) if folder is None else make_open_clip(folder, **given)


def open_clip_row(kind: str, model, x: torch.Tensor) -> torch.Tensor:
    def run():
        model.encode_image(x)

    if kind == "siglip":
        pool = model.visual.trunk.attn_pool
        return pooled_row(pool, inputs_of(pool, run))
    if kind != "resnet":
        block = model.visual.transformer.resblocks[-1]
        return multihead_row(block.attn, inputs_of(block.attn, run), from_cls=True)
    # The mean token's weights in its attention pool.
    pool = model.visual.attnpool
    tokens = inputs_of(pool, run).flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + pool.positional_embedding
    q, k = (part(tokens).unflatten(-1, (pool.num_heads, -1)).transpose(1, 2) for part in (pool.q_proj, pool.k_proj))
    return slow_row(q, k, from_cls=True)


@pytest.mark.parametrize("kind", first_only(OPEN_CLIP))
def test_embedding_and_attention_equal_open_clips_own(kind):
    _, attention_kind, sizes, patch = OPEN_CLIP[kind]
    folder = open_clip_folder(kind)
    for size in sizes:
        given = None if size == sizes[0] else size
        encoder = load_encoder(f"open_clip:local-dir:{folder}", size=given)
        output = encoder(views(2, size))
        model = open_clip.create_model(f"local-dir:{folder}", force_image_size=given).eval()
        with torch.no_grad():
            embedding = model.encode_image(pixels(views(2, size)), normalize=False).numpy()
            weights = open_clip_row(kind, model, pixels(views(2, size))).numpy()
        grid = size // patch
        assert (encoder.name, encoder.size, encoder.grid) == (folder.name, size, (grid, grid))
        assert encoder.attention_kind == output.attention_kind == attention_kind
        assert encoder.preprocess.resample == 2
        assert np.abs(embedding[0] - embedding[1]).max() > 0.01
        assert weights.max() > 1.5 * weights.mean()
        np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
        np.testing.assert_allclose(output.attention.reshape(2, -1), weights[:, -grid * grid :], rtol=0, atol=1e-5)
        names = [name for name, _ in encoder.module.named_parameters()]
        assert not any("token_embedding" in name or name.startswith("text") for name in names)


@pytest.mark.parametrize("kind", first_only(READS_TEXT))
def test_vectors_of_texts_equal_open_clips_own(kind, tmp_path):
    folder = open_clip_folder(kind, tmp_path / kind)
    with torch.no_grad():
        ids = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)
        expected = open_clip.create_model(f"local-dir:{folder}").eval().encode_text(ids, normalize=False).numpy()
    encoder = load_text_encoder(str(folder))
    assert np.abs(expected[0] - expected[1]).max() > 0.05
    np.testing.assert_allclose(encoder(TEXTS), expected, rtol=0, atol=2e-5)
    assert (encoder.name, encoder.dim) == (kind, load_encoder(str(folder)).dim)
    assert not any(name.startswith("visual") for name, _ in encoder.module.named_parameters())
    weights = load_file(folder / "open_clip_model.safetensors")
    lost = next(name for name in weights if name.endswith("token_embedding.weight"))
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "open_clip_model.safetensors")
    refused(folder, "Missing key(s)", "token_embedding.weight", code=1, load=load_text_encoder)


def test_pickles_half_precision_and_a_folder_that_names_itself(tmp_path):
    whole, old = open_clip_folder("vit"), tmp_path / "old"
    half = load_encoder(str(make_open_clip(tmp_path / "half", config=OPEN_CLIP["vit"][0], dtype="bfloat16")))
    old.mkdir()
    config = json.loads((whole / "open_clip_config.json").read_text())
    (old / "open_clip_config.json").write_text(json.dumps({"model_cfg": config["model_cfg"]}))
    state = {f"module.{name}": value for name, value in load_file(whole / "open_clip_model.safetensors").items()}
    torch.save({"state_dict": state}, old / "open_clip_pytorch_model.bin")
    encoder = load_encoder(str(old))
    assert (half.name, encoder.name) == ("half", "old")
    assert {value.dtype for value in half.module.parameters()} == {torch.float32}
    assert (encoder.mean, encoder.std, encoder.preprocess.resample) == (CLIP_MEAN, CLIP_STD, 3), "without preprocessing"
    np.testing.assert_allclose(half(views()).embedding, encoder(views()).embedding, rtol=0, atol=0.1)
    # A folder that transformers wrote too goes to transformers.
    both = models.make("clip", tmp_path / "both")
    (both / "open_clip_config.json").write_text(json.dumps(config))
    assert "text_projection.weight" in dict(load_encoder(str(both)).module.named_parameters())


def test_what_open_clip_does_not_have_is_refused(tmp_path, monkeypatch):
    folder = open_clip_folder("vit", tmp_path / "vit")
    refused("open_clip:ViT-B-32", "use open_clip:NAME/WEIGHTS", "laion2b_s34b_b79k", code=2)
    refused("open_clip:ViT-B-3", "a name and weights from open_clip.list_pretrained()", code=2)
    refused(f"open_clip:local-dir:{tmp_path}/none", "no such folder", code=2)
    refused(str(folder), "It gives: projection", code=2, embedding="cls")
    file = folder / "open_clip_model.safetensors"
    weights = load_file(file)
    lost = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    save_file({name: value for name, value in weights.items() if name != lost}, file)
    refused(str(folder), "Missing key(s)", lost.removeprefix("visual."))
    config = folder / "open_clip_config.json"
    config.write_text(config.read_text().replace("model_cfg", "another"))
    refused(f"open_clip:local-dir:{folder}", "cannot be loaded", "model_cfg")
    file.unlink()
    refused(str(folder), "no weights found", "open_clip_model.safetensors")
    monkeypatch.setitem(sys.modules, "open_clip", None)
    refused("open_clip:ViT-B-32/openai", "pip install 'embedshift[openclip]'")


# timm.

DEEP = SMALL | {"depth": 3}
NAFLEX = {key: value for key, value in DEEP.items() if key != "img_size"}
TIMM = {
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


def timm_reference(folder: Path, x: torch.Tensor, kind: str, size: int | None) -> tuple[np.ndarray, np.ndarray]:
    """timm's output, and the weights that its unfused attention makes."""
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0, img_size=size).eval()
    caught = []
    if kind == "pool":
        return model(x).numpy(), pooled_row(model.attn_pool, inputs_of(model.attn_pool, lambda: model(x))).numpy()
    model.blocks[-1].attn.fused_attn = False
    model.blocks[-1].attn.attn_drop.register_forward_hook(lambda _m, _i, output: caught.append(output))
    output = model(x).numpy()
    return output, (caught[0][:, :, :1] if kind == "cls" else caught[0]).mean(dim=(1, 2)).numpy()


@pytest.mark.parametrize("name", first_only(TIMM))
def test_embedding_and_attention_equal_timms_own(name):
    naflex = name.startswith("naflex")
    folder = made(make_timm, name, **(NAFLEX if naflex else DEEP))
    for size in (32, 48):
        encoder = load_encoder(f"timm:local-dir:{folder}", size=size)
        output, given = encoder(views(2, size)), pixels(views(2, size), of=encoder)
        with torch.no_grad():
            embedding, row = timm_reference(folder, given, TIMM[name], None if naflex else size)
        grid = size // 8
        assert (encoder.name, encoder.size, encoder.grid) == (folder.name, size, (grid, grid))
        assert encoder.attention_kind == output.attention_kind == TIMM[name]
        assert np.abs(embedding[0] - embedding[1]).max() > 0.01
        assert row.max() > 1.2 * row.mean()
        np.testing.assert_allclose(output.embedding, embedding, rtol=0, atol=1e-4)
        np.testing.assert_allclose(output.attention.reshape(2, -1), row[:, -grid * grid :], rtol=0, atol=1e-5)


WINDOWS = {"img_size": 64, "window_size": 2, "embed_dim": 24, "depths": (2, 2), "num_heads": (2, 4)}


@pytest.mark.parametrize(("name", "settings"), [("test_resnet", {"std": 0.05, "num_classes": 9}), ("swin_tiny_patch4_window7_224", WINDOWS)])  # fmt: skip  # noqa: E501
def test_without_attention_over_all_patches_there_is_none(name, settings):
    """A convolutional network, and one whose attention sees windows: no map of either would be one of the picture."""
    folder = made(make_timm, name, **settings)
    encoder = load_encoder(str(folder), size=64)
    output = encoder(views(2, 64))
    assert output.attention is encoder.grid is None
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    with torch.no_grad():
        expected = model(pixels(views(2, 64), of=encoder)).numpy()
    np.testing.assert_allclose(output.embedding, expected, rtol=0, atol=1e-4)


def test_what_timm_does_not_have_is_refused(tmp_path, monkeypatch):
    folder = make_timm(tmp_path / "vit")
    refused("timm:vit_tiny_patch16_24", "did you mean 'vit_tiny_patch16_224'?", code=2)
    refused(f"timm:local-dir:{tmp_path}/none", "no such folder", code=2)
    refused(str(folder), "It gives: pooled", code=2, embedding="cls")
    refused(str(folder), "multiple of its patch", code=2, size=36)
    refused("timm:vit_base_patch16_siglip_gap_224.none", "cannot be loaded")
    file = folder / "model.safetensors"
    lost = "blocks.1.mlp.fc1.weight"
    save_file({name: value for name, value in load_file(file).items() if name != lost}, file)
    # Made without its classifier at once, timm fills it at random and says nothing.
    timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    refused(str(folder), "Missing key(s)", lost)
    file.unlink()
    refused(str(folder), "cannot be loaded", "No suitable checkpoints")
    monkeypatch.setitem(sys.modules, "timm", None)
    refused("timm:vit_tiny_patch16_224", "pip install 'embedshift[openclip]'")
