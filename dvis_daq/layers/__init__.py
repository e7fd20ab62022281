"""Blocks that know nothing of video, tracks or configuration."""

from dvis_daq.layers.attention import (
    MLP,
    CrossAttention,
    FeedForward,
    MultiheadAttention,
    QuerySoftmaxAttention,
    SelfAttention,
    Shares,
    shares_of_keys,
    shares_of_queries,
)
from dvis_daq.layers.deformable_attention import MSDeformableAttention, pixel_centres
from dvis_daq.layers.initial import c2_xavier_fill, xavier_matrices
from dvis_daq.layers.mask_head import MaskHead, mask_products
from dvis_daq.layers.mask_pooling import mask_pool
from dvis_daq.layers.points import sample_points, uncertain_points
from dvis_daq.layers.position import sine_position_2d
from dvis_daq.layers.precision import (
    at_least_float32,
    half_range,
    inference_autocast,
    no_autocast,
    without_float16,
)

__all__ = [
    "MLP",
    "CrossAttention",
    "FeedForward",
    "MSDeformableAttention",
    "MaskHead",
    "MultiheadAttention",
    "QuerySoftmaxAttention",
    "SelfAttention",
    "Shares",
    "at_least_float32",
    "c2_xavier_fill",
    "half_range",
    "inference_autocast",
    "mask_pool",
    "mask_products",
    "no_autocast",
    "pixel_centres",
    "sample_points",
    "shares_of_keys",
    "shares_of_queries",
    "sine_position_2d",
    "uncertain_points",
    "without_float16",
    "xavier_matrices",
]
