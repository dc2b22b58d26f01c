"""The kinds of changes that a recipe can name. A new one is a constant in a file of this folder and a line here."""

from __future__ import annotations

from torch import nn

from brittle.models.editing import fields, low_rank, plain, tucker
from brittle.models.editing.attention import SELF_ATTENTION
from brittle.models.editing.kind import EditKind

EDIT_KINDS: dict[str, EditKind] = {
    "linear": plain.LINEAR,
    "conv1d": plain.CONV1D,
    "conv2d": plain.CONV2D,
    "conv3d": plain.CONV3D,
    "batch_norm": plain.BATCH_NORM,
    "layer_norm": plain.LAYER_NORM,
    "group_norm": plain.GROUP_NORM,
    "prelu": plain.PRELU,
    "low_rank_linear": low_rank.LOW_RANK_LINEAR,
    "low_rank_conv2d": low_rank.LOW_RANK_CONV2D,
    "low_rank_conv2d_in": low_rank.LOW_RANK_CONV2D_IN,
    "tucker_linear": tucker.TUCKER_LINEAR,
    "tucker_conv2d": tucker.TUCKER_CONV2D,
    "self_attention": SELF_ATTENTION,
    "attention": fields.ATTENTION,
    "positions": fields.POSITIONS,
    "pad_shortcut": fields.PAD_SHORTCUT,
    "timm_attention": fields.TIMM_ATTENTION,
    "timm_vit": fields.TIMM_VIT,
    "timm_layer_scale": fields.TIMM_LAYER_SCALE,
    "torchvision_vit": fields.TORCHVISION_VIT,
    "torchvision_encoder": fields.TORCHVISION_ENCODER,
}


def kind_of(module: nn.Module) -> str | None:
    """The kind that describes a module, None where there is none."""
    return next((name for name, kind in EDIT_KINDS.items() if kind.describes(module)), None)
