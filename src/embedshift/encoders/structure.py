"""Finds the parts of a vision transformer by structure, not by the names of its modules."""

from torch import nn

CLS_NAMES = ("cls_token", "class_embedding", "class_token")
POOL_NAMES = ("attn_pool", "attnpool")


def last_block(module: nn.Module) -> nn.Module | None:
    """Returns the last of the longest sequence of similar blocks in `module`: the last layer of its transformer."""
    return next(reversed(like_blocks(module)), None)


def like_blocks(module: nn.Module) -> list[nn.Module]:
    """Returns the longest sequence of similar blocks in `module`, in order; empty if there is none."""
    run = run_of_blocks(module)
    return [] if run is None else list(run)


def run_of_blocks(module: nn.Module) -> nn.ModuleList | nn.Sequential | None:
    """Returns the list that holds the longest sequence of similar blocks in `module`."""
    runs = [m for m in module.modules() if isinstance(m, nn.ModuleList | nn.Sequential) and len({*map(type, m)}) == 1]
    return max(runs, key=len, default=None)


def patch_embedding(module: nn.Module) -> nn.Conv2d | None:
    """Returns the convolution that cuts images into patches: the first whose stride equals its kernel."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d) and part.kernel_size == part.stride and part.kernel_size[0] > 1:
            return part
    return None


def has_cls_token(module: nn.Module) -> bool:
    """Returns whether the module's first token is a class token, by the common name of its parameter."""
    return any(name.rsplit(".", 1)[-1] in CLS_NAMES for name, _ in module.named_parameters())


def pooling_head(module: nn.Module) -> nn.Module | None:
    """Returns the attention that pools all tokens into one: by its name, or by its learned query `probe`."""
    part: nn.Module
    for name, part in module.named_modules():
        if name.rsplit(".", 1)[-1] in POOL_NAMES or isinstance(getattr(part, "probe", None), nn.Parameter):
            return part
    return None
