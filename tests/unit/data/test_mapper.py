"""Records to clips: pixels, targets, what is refused, lazy decoding, broken images."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dvis_daq.data.annotations import EncodedTracks, compress, read_instances
from dvis_daq.data.images import read_image
from dvis_daq.data.mapper import ClipMapper, VideoMapper
from dvis_daq.data.sampling import ClipSampling
from dvis_daq.data.transforms import Compose, HorizontalFlip, ResizeShortestEdge
from tests.unit.data.tiny_vis import compressed, square, write_tiny


@pytest.fixture
def records(tmp_path):
    return read_instances(*write_tiny(tmp_path))[0]


def mapper(frames=5, transform=None, **options):
    sampling = ClipSampling(frames=frames, range=(frames - 1) // 2)
    return ClipMapper(sampling, transform or Compose([]), **options)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_clip(records):
    clip = mapper()(records[0], rng())
    assert clip["images"].shape == (5, 3, 24, 32)
    assert clip["images"].dtype == torch.uint8
    assert type(clip["images"]) is torch.Tensor
    assert clip["images"][:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]  # frame t is 10 t red
    assert clip["images"][0, 1, 0].tolist() == list(range(32))
    assert clip["targets"].ids.tolist() == [3, 7]
    assert clip["targets"].labels.tolist() == [0, 2]
    assert clip["targets"].masks.shape == (2, 5, 24, 32)
    assert clip["frame_indices"] == [0, 1, 2, 3, 4]
    assert clip["file_names"][4].endswith("a/004.png")
    keys = {
        "images",
        "targets",
        "height",
        "width",
        "length",
        "video_id",
        "file_names",
        "frame_indices",
    }
    assert set(clip) == keys


def test_size_is_the_original_one(records):
    clip = mapper(transform=ResizeShortestEdge((12,), 99))(records[0], rng())
    assert (clip["height"], clip["width"]) == (24, 32)
    assert clip["images"].shape == (5, 3, 12, 16)
    assert clip["targets"].masks.shape[-2:] == (12, 16)


def test_masks_and_pixels_are_flipped_together(records):
    plain = mapper()(records[0], rng())
    flipped = mapper(transform=HorizontalFlip())(records[0], rng())
    assert torch.equal(flipped["images"], plain["images"].flip(-1))
    assert torch.equal(flipped["targets"].masks, plain["targets"].masks.flip(-1))


def test_clips_without_an_object_are_refused(records):
    empty = mapper(frames=1)
    hidden = copy.deepcopy(records[0])
    hidden["targets"] = tracks([[b""] * 5])
    assert empty(hidden, rng()) is None
    square_from_2 = compress(compressed(square(3, 3)), (24, 32))
    late = {**records[0], "targets": tracks([[b""] * 2 + [square_from_2] * 3])}
    assert mapper()(late, rng()) is not None
    assert mapper(skip_empty_first=True)(late, rng()) is None


def tracks(masks):
    return EncodedTracks.pack(masks, ids=[1], labels=[0], size=(24, 32), length=5)


def test_the_record_is_not_changed(records):
    before = pickle.dumps(records[0])
    mapper()(records[0], rng())
    assert pickle.dumps(records[0]) == before


def test_the_generator_decides(records):
    draw = mapper(frames=3)
    assert draw(records[0], rng(3))["frame_indices"] == draw(records[0], rng(3))["frame_indices"]


def test_video_mapper_decodes_what_is_sliced(records):
    video = VideoMapper(ResizeShortestEdge((12,), 99))(records[0])
    images = video["images"]
    assert len(images) == 5
    assert images.shape == (5, 3, 12, 16)
    assert images[1:3].shape == (2, 3, 12, 16)
    assert images[1:3][:, 0, 0, 0].tolist() == [10, 20]
    assert images[-1][0, 0, 0] == 40
    assert images[5:].shape == (0, 3, 12, 16)
    assert [frame[0, 0, 0].item() for frame in images] == [0, 10, 20, 30, 40]
    assert "targets" not in video
    assert video["frame_indices"] == [0, 1, 2, 3, 4]


def test_a_walk_decodes_each_frame_once_and_the_next_slice_ahead(records, monkeypatch):
    seen = []

    def read(path, size):
        seen.append(path)
        return read_image(path, size)

    monkeypatch.setattr("dvis_daq.data.images.read_image", read)
    images = VideoMapper(ResizeShortestEdge((12,), 99))(records[0])["images"]
    pieces = [images[start : start + 2] for start in range(0, 5, 2)]
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert torch.cat(pieces)[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40]
    # A thread of another test may still be decoding ahead, in another folder.
    names = list(records[0]["file_names"])
    assert sorted(path for path in seen if path in names) == sorted(names)
    assert images[3:5][:, 0, 0, 0].tolist() == [30, 40]  # out of order


def test_a_broken_frame_is_told_when_its_slice_is_asked_for(records):
    images = VideoMapper(ResizeShortestEdge((12,), 99))(records[0])["images"]
    Path(records[0]["file_names"][2]).unlink()
    assert len(images[0:2]) == 2
    with pytest.raises(ValueError, match=r"002\.png: image not found"):
        images[2:4]


def test_a_lazy_clip_travels_between_processes(records):
    images = VideoMapper(ResizeShortestEdge((12,), 99))(records[0])["images"]
    data = pickle.dumps(images)
    assert len(data) < 2000
    assert torch.equal(pickle.loads(data)[0:2], images[0:2])


def test_broken_images_are_named(records, tmp_path):
    name = Path(records[0]["file_names"][2])
    with pytest.raises(ValueError, match=r"002\.png.*the annotations say \(20, 30\)"):
        read_image(name, (20, 30))
    whole = name.read_bytes()
    name.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"002\.png: broken or cut short"):
        mapper()(records[0], rng())
    name.unlink()
    with pytest.raises(ValueError, match=r"002\.png: image not found"):
        mapper()(records[0], rng())


def test_cut_jpegs_are_found_and_appended_bytes_are_not_a_fault(tmp_path):
    file = tmp_path / "frame.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    whole = file.read_bytes()
    assert read_image(file).shape == (3, 64, 64)
    file.write_bytes(whole + b"trailer")
    assert read_image(file).shape == (3, 64, 64)
    file.write_bytes(whole[: len(whole) // 2])  # OpenCV itself returns grey pixels here
    with pytest.raises(ValueError, match=r"frame\.jpg: broken or cut short"):
        read_image(file)
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="broken or cut short"):
        read_image(file)


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (20, 10), (200, 0, 0)).save(tmp_path / "turned.jpg", exif=exif)
    image = read_image(tmp_path / "turned.jpg", (20, 10))
    assert image[0].float().mean() > 150  # red first
