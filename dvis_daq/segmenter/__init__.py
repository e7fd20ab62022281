"""S of Eq. 1: the per-frame segmenter."""

from dvis_daq.segmenter.pixel_decoder import PixelDecoder, PixelFeatures
from dvis_daq.segmenter.query_decoder import QueryDecoder, reid_head
from dvis_daq.segmenter.segmenter import SegmentationHead, Segmenter

__all__ = [
    "PixelDecoder",
    "PixelFeatures",
    "QueryDecoder",
    "SegmentationHead",
    "Segmenter",
    "reid_head",
]
