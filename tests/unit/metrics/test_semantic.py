import numpy as np
import pytest

from dvis_daq.metrics.semantic import CLIPS, class_iou, figures, pairs, video_labels

VIDEO = tuple[np.ndarray, np.ndarray]


def random_video(rng: np.random.Generator, frames: int) -> VIDEO:
    """(T, 6, 8) predictions 0..3 and mask values 0, 1..3, 255 that change slowly."""
    theirs = np.repeat(rng.choice([0, 1, 2, 3, 255], (1, 6, 8)), frames, 0)
    ours = np.repeat(rng.integers(0, 4, (1, 6, 8)), frames, 0)
    for t in range(1, frames):
        theirs[t:][:, rng.random((6, 8)) < 0.02] = rng.choice([1, 2])
        ours[t:][:, rng.random((6, 8)) < 0.03] = rng.choice([0, 1, 2])
    ours[ours > 2] = 2
    return ours.astype(np.uint8), theirs.astype(np.uint8)


def plain_consistency(videos: list[VIDEO], n: int, last: bool) -> float:
    shares = []
    for ours, theirs in videos:
        for start in range(len(ours) - n + last):
            piece = slice(start, start + n)
            still = (theirs[piece] == theirs[start]).all(0)
            shares.append(((ours[piece] == ours[start]).all(0) & still).sum() / still.sum())
    return float(np.mean(shares))


def test_equals_the_definition() -> None:
    rng = np.random.default_rng(0)
    videos = [random_video(rng, frames) for frames in (5, 8, 9, 20, 31)]
    parts = [video_labels(pairs(*video), 3) for video in videos]
    found = figures(parts)
    ours, theirs = (np.concatenate([v[i].ravel() for v in videos]) for i in (0, 1))
    labelled = (theirs > 0) & (theirs < 255)
    p, g = ours[labelled], theirs[labelled] - 1
    iou = [((p == k) & (g == k)).sum() / ((p == k) | (g == k)).sum() for k in range(3)]
    weight = [(g == k).mean() for k in range(3)]
    assert found["mIoU"] == pytest.approx(np.mean(iou))
    assert found["fwIoU"] == pytest.approx(np.dot(iou, weight))
    assert found["Acc"] == pytest.approx((p == g).mean())
    assert found["Acc_class"] == pytest.approx(np.mean([(p == k)[g == k].mean() for k in range(3)]))
    np.testing.assert_allclose(class_iou(parts), iou)
    for n in CLIPS:
        assert found[f"VC{n}"] == pytest.approx(plain_consistency(videos, n, False))
        every = found[f"VC{n}_including_last_clip"]
        assert every == pytest.approx(plain_consistency(videos, n, True))
    assert found["VC8"] != found["VC16"]


def test_a_class_that_is_only_predicted_is_no_class() -> None:
    theirs = np.ones((1, 4, 4), np.uint8)
    ours = np.zeros((1, 4, 4), np.uint8)
    ours[0, 0] = 2
    found = figures([video_labels(pairs(ours, theirs), 3)])
    assert found["mIoU"] == pytest.approx(0.75)  # its pixels are missing from class 0
    assert found["VC8"] is None


def test_nothing_is_labelled() -> None:
    theirs = np.full((1, 4, 4), 255, np.uint8)
    found = figures([video_labels(pairs(theirs, theirs), 3)])  # 255 is allowed where ignored
    assert found["mIoU"] is None


@pytest.mark.parametrize(
    ("predicted", "actual", "message"),
    [
        (0, 4, "ground truth has the value 4; .* at most 3"),
        (3, 1, "value 3 is predicted on labelled pixels"),
        (255, 1, "value 255 is predicted"),
    ],
)
def test_values_out_of_range(predicted: int, actual: int, message: str) -> None:
    shape = (1, 4, 4)
    frames = pairs(np.full(shape, predicted, np.uint8), np.full(shape, actual, np.uint8))
    with pytest.raises(ValueError, match=message):
        video_labels(frames, 3)


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\), the ground truth \(4, 4\)"):
        list(pairs(np.zeros((1, 2, 2)), np.zeros((1, 4, 4))))
