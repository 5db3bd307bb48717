"""Functions that read an embedding from a transformers model, one for each way that families use."""

from typing import Any

import torch
from torch import Tensor, nn

from embedshift.encoders.module import Embed
from embedshift.errors import UsageError


def tower(module: Any) -> Any:
    """Returns the part of a model that sees the image: its `vision_model`, else the model itself."""
    return getattr(module, "vision_model", module)


def inputs(module: nn.Module, pixels: Tensor) -> dict[str, Any]:
    """Returns the model's inputs for `pixels` `[B, 3, S, S]`: pixels, or patches if a Linear embeds the patches."""
    embedding = getattr(getattr(tower(module), "embeddings", None), "patch_embedding", None)
    if not isinstance(embedding, nn.Linear):
        return {"pixel_values": pixels, "interpolate_pos_encoding": True}
    side = int((embedding.in_features // pixels.shape[1]) ** 0.5)
    if pixels.shape[-1] % side:
        raise UsageError(
            f"size {pixels.shape[-1]} is not a multiple of its patch of {side} pixels; choose another `size`",
        )
    grid = pixels.shape[-1] // side
    patches = pixels.reshape(len(pixels), -1, grid, side, grid, side).permute(0, 2, 4, 3, 5, 1)
    return {
        "pixel_values": patches.reshape(len(pixels), grid * grid, -1),
        "pixel_attention_mask": torch.ones(len(pixels), grid * grid, dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.full((len(pixels), 2), grid, device=pixels.device),
    }


def _image(module: Any, pixels: Tensor) -> Any:
    """Returns the module's output; the first one if it also returns tokens."""
    output = module(pixels)
    return output[0] if isinstance(output, tuple) else output


def _image_features(module: Any, pixels: Tensor) -> Any:
    return module.get_image_features(**inputs(module, pixels)).pooler_output


def _image_embeds(module: Any, pixels: Tensor) -> Any:
    return module(**inputs(module, pixels)).image_embeds


def _tokens(module: Any, pixels: Tensor) -> Any:
    return tower(module)(**inputs(module, pixels)).last_hidden_state


def _cls(module: Any, pixels: Tensor) -> Any:
    return _tokens(module, pixels)[:, 0]


def _mean(module: Any, pixels: Tensor) -> Any:
    return _tokens(module, pixels).mean(dim=1)


def _pooled(module: Any, pixels: Tensor) -> Any:
    return tower(module)(**inputs(module, pixels)).pooler_output


def _vision_proj(module: Any, pixels: Tensor) -> Any:
    return module.vision_proj(_cls(module, pixels))


def _query_states(module: Any, pixels: Tensor) -> Any:
    tokens = _tokens(module, pixels)
    queries = module.query_tokens.expand(len(tokens), -1, -1)
    return module.qformer(query_embeds=queries, encoder_hidden_states=tokens).last_hidden_state


def _queries(module: Any, pixels: Tensor) -> Any:
    return _query_states(module, pixels).mean(dim=1)


def _projected_queries(module: Any, pixels: Tensor) -> Any:
    return module.vision_projection(_query_states(module, pixels)).mean(dim=1)


def _image_tokens(module: Any, pixels: Tensor) -> Any:
    return _image_features(module, pixels).mean(dim=1)


def _resampled(module: Any, pixels: Tensor) -> Any:
    return module.perceiver_resampler(_tokens(module, pixels)).mean(dim=1)


def _connected(module: Any, pixels: Tensor) -> Any:
    return module.connector(_tokens(module, pixels)).mean(dim=1)


def _connected_masked(module: Any, pixels: Tensor) -> Any:
    tokens = _tokens(module, pixels)
    everything = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return module.connector(tokens, attention_mask=everything).mean(dim=1)


READERS: dict[str, Embed] = {
    "cls": _cls,
    "connected": _connected,
    "connected_masked": _connected_masked,
    "image": _image,
    "image_embeds": _image_embeds,
    "image_features": _image_features,
    "image_tokens": _image_tokens,
    "mean": _mean,
    "pooled": _pooled,
    "projected_queries": _projected_queries,
    "queries": _queries,
    "resampled": _resampled,
    "vision_proj": _vision_proj,
}
