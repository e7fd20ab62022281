import numpy as np
import pytest
from pycocotools import mask as coco

from dvis_daq.metrics.overlap import overlaps
from dvis_daq.metrics.reading import parse_ground_truth, parse_results
from tests.unit.metrics.scene import A_HALF, A_THIRD, A, B, annotations, results, scene


def test_by_hand() -> None:
    objects = [[A, A, None], [None, None, None]]
    _, overlap = scene(objects, [(0.2, [A_THIRD, None, B]), (0.9, [A_HALF, A, None])])
    assert overlap.scores.tolist() == [0.9, 0.2]
    assert overlap.shared[:, :, 0].tolist() == [[8, 8], [16, 0], [0, 0]]
    assert overlap.predicted.tolist() == [[8, 16], [16, 0], [0, 16]]
    assert overlap.actual[:, 0].tolist() == [16, 16, 0]
    assert overlap.iou().tolist() == [[24 / 32, 0], [8 / 56, 0]]  # 0 / 0 counts as 0
    assert overlap.frame_iou()[:, 0, 0].tolist() == [0.5, 1, 0]
    assert overlap.predicted_area().tolist() == [12, 16]
    assert overlap.actual_area().tolist() == [16, 0]


def test_same_as_pixels_on_random_masks() -> None:
    rng = np.random.default_rng(0)
    size, length = (90, 70), 4
    masks = rng.random((5, length, *size)) < rng.random((5, length, 1, 1)) ** 3
    masks[0, 1] = masks[3, 2] = False  # empty, written as RLE

    def rles(track: np.ndarray) -> list[dict[str, object]]:
        return [coco.encode(np.asfortranarray(frame, dtype=np.uint8)) for frame in track]

    data = annotations({"boxes": []}, {"boxes": []}, length=length)
    data["videos"][0] |= {"height": 90, "width": 70}
    for entry, track in zip(data["annotations"], masks[:2], strict=True):
        entry["segmentations"] = rles(track)
    entries = results({"boxes": []}, {"boxes": []}, {"boxes": []})
    for entry, track in zip(entries, masks[2:], strict=True):
        entry["segmentations"] = rles(track)
    truth = parse_ground_truth(data)
    (overlap,) = overlaps(truth, parse_results(entries, truth))
    expected = np.einsum("gthw,pthw->tpg", masks[:2].astype(int), masks[2:].astype(int))
    np.testing.assert_array_equal(overlap.shared, expected)
    np.testing.assert_array_equal(overlap.predicted, masks[2:].sum((2, 3)).T)
    np.testing.assert_array_equal(overlap.actual, masks[:2].sum((2, 3)).T)


def test_intersections_are_exact_in_large_frames() -> None:
    size = (2160, 3840)
    data = annotations({"boxes": [A]}, length=1)
    data["videos"][0] |= {"height": size[0], "width": size[1]}
    pixels = size[0] * size[1]
    data["annotations"][0]["segmentations"] = [{"size": size, "counts": [0, pixels - 1, 1]}]
    entries = results({"boxes": [A]})
    entries[0]["segmentations"] = [{"size": size, "counts": [1, pixels - 1]}]
    truth = parse_ground_truth(data)
    (overlap,) = overlaps(truth, parse_results(entries, truth))
    assert overlap.shared.item() == pixels - 2


def test_videos_and_categories_that_have_anything() -> None:
    data = annotations({"boxes": [A], "video_id": 2, "category_id": 2}, length=1, videos=3)
    truth = parse_ground_truth(data)
    found = parse_results(
        results({"boxes": [B], "video_id": 3}, {"boxes": [A], "video_id": 1}), truth
    )
    keys = [(overlap.video.id, overlap.category_id) for overlap in overlaps(truth, found)]
    assert keys == [(1, 1), (2, 2), (3, 1)]
    assert [o.predicted.sum() for o in overlaps(truth, found)] == [16, 0, 16]
    assert [o.actual.sum() for o in overlaps(truth, found)] == [0, 16, 0]
    assert [o.video.id for o in overlaps(truth.restrict([3]), found)] == [3]


@pytest.mark.parametrize(("limit", "kept"), [(None, [0, 1, 2]), (2, [0, 1])])
def test_ties_keep_the_order_of_the_file(limit: int | None, kept: list[int]) -> None:
    truth, _ = scene([[A]], [])
    found = parse_results(results(*({"boxes": [A], "score": 0.5} for _ in range(3))), truth)
    (overlap,) = overlaps(truth, found, limit=limit)
    assert [prediction.index for prediction in overlap.predictions] == kept


def test_several_processes_and_calls_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = [
        {"boxes": [A, None, B], "video_id": 1 + n % 3, "category_id": 1 + n % 2} for n in range(9)
    ]
    truth = parse_ground_truth(annotations(*tracks, length=3, videos=3))
    found = parse_results(results(*({**track, "boxes": [A_HALF, A, B]} for track in tracks)), truth)
    alone = list(overlaps(truth, found))
    monkeypatch.setattr("dvis_daq.metrics.pixel_counts._MASKS_PER_WORKER", 1)
    monkeypatch.setattr("dvis_daq.metrics.pixel_counts._PAIRS_PER_CALL", 1)
    together = list(overlaps(truth, found, workers=2))
    assert len(alone) == len(together) == 6
    for one, other in zip(alone, together, strict=True):
        assert one.objects == other.objects
        np.testing.assert_array_equal(one.shared, other.shared)
        np.testing.assert_array_equal(one.predicted, other.predicted)
        np.testing.assert_array_equal(one.actual, other.actual)
