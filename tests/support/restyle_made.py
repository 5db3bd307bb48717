"""A tiny pipeline of diffusers with random weights, as a user's folder has it."""

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers as hf

from support.tokenizers_made import END, save_tokenizer

LONGEST = 24


def make_pipeline(folder: Path) -> Path:
    """Writes Stable Diffusion's layout: a UNet, a VAE that halves the sides, and CLIP's text tower, a few kilobytes."""
    torch.manual_seed(0)
    made: Any = diffusers
    tower: Any = hf
    tokenizer = tower.PreTrainedTokenizerFast.from_pretrained(
        save_tokenizer(folder.with_name(f"{folder.name}-tokenizer")), model_max_length=LONGEST
    )
    text = tower.CLIPTextConfig(
        bos_token_id=1, eos_token_id=END, pad_token_id=0, vocab_size=99, hidden_size=16, intermediate_size=37,
        num_attention_heads=4, num_hidden_layers=2, max_position_embeddings=LONGEST,
    )  # fmt: skip
    widths = {"block_out_channels": (8, 16), "norm_num_groups": 4}
    unet = made.UNet2DConditionModel(
        **widths, layers_per_block=1, sample_size=16, in_channels=4, out_channels=4, cross_attention_dim=16,
        attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = made.AutoencoderKL(
        **widths, in_channels=3, out_channels=3, latent_channels=4, sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    scheduler = made.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    pipeline = made.StableDiffusionPipeline(
        vae=vae, text_encoder=tower.CLIPTextModel(text), tokenizer=tokenizer, unet=unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return folder
