"""Metrics of video segmentation: pure functions on numpy arrays and COCO run lengths."""
