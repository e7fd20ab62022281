from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dvis_daq.metrics.label_images import count_pairs, read_labels, read_segment_ids, read_size
from tests.unit.metrics.panoptic_scene import write_png


def test_segment_ids(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 256], [65536, 2**24 - 1, 70_000]])
    write_png(tmp_path / "a.png", ids)
    np.testing.assert_array_equal(read_segment_ids(tmp_path / "a.png"), ids)


def test_labels_of_grey_and_palette(tmp_path: Path) -> None:
    labels = np.array([[0, 1], [254, 255]], np.uint8)
    Image.fromarray(labels).save(tmp_path / "grey.png")
    palette = Image.fromarray(labels, mode="L").convert("P")
    palette.putdata(labels.ravel().tolist())
    palette.putpalette(list(range(255, -1, -1)) * 3)  # colours say nothing
    palette.save(tmp_path / "palette.png")
    for name in ("grey", "palette"):
        np.testing.assert_array_equal(read_labels(tmp_path / f"{name}.png"), labels)
    assert read_size(tmp_path / "grey.png") == (2, 2)
    with pytest.raises(ValueError, match="must be a palette image, not of mode 'L'"):
        read_labels(tmp_path / "grey.png", modes=("P",))


@pytest.mark.parametrize("read", [read_segment_ids, read_labels, read_size])
def test_missing_and_broken_files(tmp_path: Path, read) -> None:
    with pytest.raises(ValueError, match=r"a\.png is missing"):
        read(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"a\.png is (broken|no image)"):
        read(tmp_path / "a.png")


def test_cut_short(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 2**24, (64, 64)))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut short"):
        read_segment_ids(tmp_path / "a.png")


def test_kinds(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "grey.png")
    write_png(tmp_path / "rgb.png", np.zeros((4, 4), np.int64))
    with pytest.raises(ValueError, match="8-bit RGB"):
        read_segment_ids(tmp_path / "grey.png")
    with pytest.raises(ValueError, match="8-bit grey or a palette image"):
        read_labels(tmp_path / "rgb.png")


@pytest.mark.parametrize("seed", range(5))
def test_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.choice([0, 3, 2**24 - 1], (9, 11)).astype(np.uint32)
    second = rng.choice([0, 1, 3], (9, 11)).astype(np.uint32)
    found = {(int(a), int(b)): int(n) for a, b, n in zip(*count_pairs(first, second), strict=True)}
    wanted = {
        (a, b): int(((first == a) & (second == b)).sum())
        for a in (0, 3, 2**24 - 1)
        for b in (0, 1, 3)
    }
    assert found == {pair: n for pair, n in wanted.items() if n}


def test_no_pixel() -> None:
    empty = np.zeros((0, 4), np.uint8)
    assert [len(part) for part in count_pairs(empty, empty)] == [0, 0, 0]
