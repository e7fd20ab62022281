"""Stored outputs of a frozen segmenter."""

import torch
from torch import nn

from dvis_daq.structures import FrameOutputs
from dvis_daq.training.cache import SegmentedFrames


class CountingSegmenter(nn.Module):
    """Says the mean of each image, and counts the frames it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("pixel_mean", torch.zeros(3, 1, 1))
        self.asked = 0

    def forward(self, images: torch.Tensor) -> FrameOutputs:
        self.asked += len(images)
        value = images.float().mean((1, 2, 3))[:, None, None].expand(-1, 4, 6)
        masks = value[:, :, :1, None]
        return FrameOutputs(
            embeds=value,
            logits=value[..., :3],
            masks=masks.expand(-1, 4, 2, 3),
            mask_features=masks[:, :1].expand(-1, 5, 2, 3),
            initial_queries=torch.zeros(4, 6),
        )


def test_frames_are_segmented_once_and_come_back_in_the_asked_order():
    segmenter, cache = CountingSegmenter(), SegmentedFrames()
    images = torch.arange(3).view(3, 1, 1, 1).expand(3, 3, 8, 8)
    first = cache(segmenter, images, ["a", "b", "c"])
    again = cache(segmenter, images[[2, 0]], ["c", "a"])
    assert segmenter.asked == len(cache) == 3
    assert first.embeds[:, 0, 0].tolist() == [0, 1, 2]
    assert again.embeds[:, 0, 0].tolist() == [2, 0]
    assert again.embeds.dtype == torch.float32


def test_only_missing_frames_are_segmented():
    segmenter, cache = CountingSegmenter(), SegmentedFrames()
    cache(segmenter, torch.zeros(2, 3, 8, 8), ["a", "b"])
    clip = cache(segmenter, torch.full((3, 3, 8, 8), 7), ["b", "x", "a"])
    assert segmenter.asked == 3
    assert clip.embeds[:, 0, 0].tolist() == [0, 7, 0]


def test_autocast_on_a_cpu_does_not_mind():
    segmenter, cache = CountingSegmenter(), SegmentedFrames()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        clip = cache(segmenter, torch.ones(2, 3, 8, 8), ["a", "b"])
    assert clip.embeds.dtype == torch.float32


def test_a_folder_serves_later_trainings(tmp_path):
    images = torch.arange(2).view(2, 1, 1, 1).expand(2, 3, 8, 8)
    first, second = CountingSegmenter(), CountingSegmenter()
    made = SegmentedFrames(folder=tmp_path)(first, images, ["a", "b"])
    read = SegmentedFrames(folder=tmp_path)(second, images[[1, 0]], ["b", "a"])
    assert (first.asked, second.asked) == (2, 0)
    torch.testing.assert_close(read.masks[[1, 0]], made.masks)
    assert read.reid is None


def test_files_of_other_weights_and_sizes_are_not_taken(tmp_path):
    segmenter, images = CountingSegmenter(), torch.zeros(1, 3, 8, 8)
    SegmentedFrames(folder=tmp_path)(segmenter, images, ["a"])
    SegmentedFrames(folder=tmp_path)(segmenter, torch.zeros(1, 3, 8, 12), ["a"])
    assert segmenter.asked == 2
    segmenter.register_buffer("weight", torch.ones(1))
    SegmentedFrames(folder=tmp_path)(segmenter, images, ["a"])
    assert segmenter.asked == 3
