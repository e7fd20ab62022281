import torch

from dvis_daq.structures import FrameSizes, VideoPrediction
from dvis_daq.tasks.vis import InstancesInPieces, instances

SIZES = FrameSizes((32, 32), (30, 28), (45, 40))


def video() -> VideoPrediction:
    """Four tracks of six frames; the third is born late, the second ends early."""
    generator = torch.Generator().manual_seed(1)
    masks = torch.randn(4, 6, 8, 8, generator=generator)
    masks[2, :3], masks[1, 2:] = -1e4, -1e4
    logits = torch.randn(4, 4, generator=generator)
    return VideoPrediction(torch.arange(4), logits, masks)


def piece(whole: VideoPrediction, tracks: list[int], frames: slice) -> VideoPrediction:
    return VideoPrediction(
        whole.ids[tracks], whole.logits[tracks], whole.masks[tracks][:, frames], frames.start
    )


def test_pieces_give_the_result_of_the_whole():
    whole = video()
    pieces = InstancesInPieces(SIZES, 6)
    early = piece(whole, [0, 1, 3], slice(0, 2))
    early.logits[0] = 0  # not yet what it will be
    pieces.add(early)
    pieces.add(piece(whole, [0, 2, 3], slice(2, 5)))
    pieces.add(piece(whole, [0, 2], slice(5, 6)))  # the fourth has ended, too
    whole.masks[3, 5] = -1e4
    expected, found = instances(whole, SIZES, 6), pieces.result()
    assert len(pieces) == 6
    for name in ("scores", "labels", "ids"):
        torch.testing.assert_close(found[name], expected[name])
    assert found["masks"] == expected["masks"]
