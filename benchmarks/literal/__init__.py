"""The same model as literally as the release computes it: what the package is measured against.

Every frame's masks are decoded after every layer, pooled masks are materialised in chunks of
50, attention builds its full weights, each query's fate is decided on the host, and a video
passes in windows of 5 frames, all in float32. Nothing here is used by the package.
"""

from benchmarks.literal.inference import LiteralModel, Thresholds
from benchmarks.literal.training import LiteralTraining

__all__ = ["LiteralModel", "LiteralTraining", "Thresholds"]
