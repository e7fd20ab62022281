"""datasets/prepare_*.py: what they write, that they go on where they were, and their bad input."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dvis_daq.data.classes import category_maps
from dvis_daq.data.objects import read_objects
from dvis_daq.data.panoptic import read_panoptic, segment_ids
from dvis_daq.data.prepare.parts import Parts
from dvis_daq.data.stills import read_stills
from tests.conftest import ROOT, require_shared
from tests.tools.scripts import load_script
from tests.unit.data.test_joint_training import write_coco
from tests.unit.data.test_readers import write

coco = load_script("datasets/prepare_coco.py")
mose = load_script("datasets/prepare_mose.py")
vipseg = load_script("datasets/prepare_vipseg.py")


@pytest.mark.parametrize("tool", [coco, mose, vipseg])
def test_help_shows_examples(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["--help"])
    assert stop.value.code == 0
    assert "python datasets/prepare_" in capsys.readouterr().out


def test_a_script_runs_from_a_plain_checkout(tmp_path):
    script = ROOT / "datasets/prepare_mose.py"
    command = [sys.executable, str(script), "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "JPEGImages: no folders of frames" in done.stderr


# ---------------------------------------------------------------------- COCO


@pytest.fixture
def coco_root(tmp_path):
    names = [*category_maps()["coco_to_ovis"]]
    names = ["person", "kite", "cat", *(name for name in names if name not in ("person", "cat"))]
    write_coco(tmp_path / "coco", names)  # one image each with person, kite, cat (a crowd)
    (tmp_path / "coco/annotations").mkdir()
    (tmp_path / "coco/coco.json").rename(tmp_path / "coco/annotations/instances_train2017.json")
    (tmp_path / "coco/images").rename(tmp_path / "coco/train2017")
    return tmp_path


def run_coco(root, *options):
    return coco.main(["--root", str(root), "--splits", "train", "--targets", "ovis", *options])


def test_coco_keeps_the_mapped_classes(coco_root, capsys):
    assert run_coco(coco_root) == 0
    output = coco_root / "coco/annotations/coco2ovis_train.json"
    assert "3 images, 2 annotated, 2 annotations, 2 classes" in capsys.readouterr().out
    whole = json.loads((output.parent / "instances_train2017.json").read_text())
    made = json.loads(output.read_text())
    assert made["categories"] == whole["categories"] and made["images"] == whole["images"]
    assert [a["category_id"] for a in made["annotations"]] == [1, 21]
    records, _ = read_stills(output, coco_root / "coco/train2017")
    assert [r["targets"].is_empty([0]) for r in records] == [False, True, True]
    before = output.stat().st_mtime_ns
    assert run_coco(coco_root) == 0
    assert "there already" in capsys.readouterr().out
    assert output.stat().st_mtime_ns == before
    assert run_coco(coco_root, "--force", "--drop-empty") == 0
    assert len(json.loads(output.read_text())["images"]) == 2


def test_coco_is_checked(coco_root, capsys):
    (coco_root / "coco/train2017/1.png").unlink()
    assert run_coco(coco_root) == 1
    assert "1 of 3 images are missing" in capsys.readouterr().err
    file = coco_root / "coco/annotations/instances_train2017.json"
    file.write_text(file.read_text()[:-20])
    assert run_coco(coco_root, "--force") == 1
    assert "instances_train2017.json: not a json file" in capsys.readouterr().err
    file.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    assert run_coco(coco_root, "--force") == 1
    assert "categories lack" in capsys.readouterr().err


# ---------------------------------------------------------------------- MOSE


@pytest.fixture
def mose_root(tmp_path):
    write(tmp_path / "MOSE", format="vos", frames=7, event_rate=0.0)
    return tmp_path


def test_mose(mose_root, capsys):
    output = mose_root / "MOSE/valid/valid.json"
    made = json.loads(output.read_text())
    output.unlink()
    annotations = mose_root / "MOSE/valid/Annotations/0000"
    for file in sorted(annotations.iterdir())[1:]:  # as MOSE: the first frame alone
        file.unlink()
    assert mose.main(["--root", str(mose_root), "--splits", "valid"]) == 0
    assert "1 videos, 7 frames" in capsys.readouterr().out
    (record,), _ = read_objects(output, mose_root / "MOSE/valid/JPEGImages")
    assert record["targets"].visible[:, 0].all() and not record["targets"].visible[:, 1:].any()
    again = json.loads(output.read_text())
    for item, full in zip(again["annotations"], made["annotations"], strict=True):
        assert item["object_id"] == full["object_id"]
        assert item["segmentations"][0] == full["segmentations"][0]
        assert item["areas"][0] == full["areas"][0]


def test_short_videos_of_mose_are_for_validation_only(mose_root, capsys):
    folder = mose_root / "MOSE/train"
    for kind in ("JPEGImages", "Annotations"):
        for file in sorted((folder / kind / "0001").iterdir())[5:]:
            file.unlink()
    (folder / "train.json").unlink()
    assert mose.main(["--root", str(mose_root), "--splits", "train"]) == 0
    assert "1 videos, 7 frames" in (out := capsys.readouterr().out) and "1 short" in out


# ---------------------------------------------------------------------- VIPSeg


@pytest.fixture
def raw(tmp_path):
    sample = require_shared("data", "real_clips", "vipseg_layout", "VIPSeg")
    shutil.copytree(sample, tmp_path / "raw", copy_function=shutil.copyfile)
    for folder in (tmp_path / "raw").rglob("*"):
        if folder.is_dir():
            folder.chmod(0o755)
    return tmp_path / "raw"


def run_vipseg(raw, *options):
    output = raw.parent / "720P"
    return vipseg.main(["--raw", str(raw), "--output", str(output), "--splits", "train", *options])


def test_vipseg_is_converted_as_the_given_sample_is(raw, capsys):
    assert run_vipseg(raw, "--height", "0", "--check") == 0
    assert "2 videos, 24 frames, 0 videos without segments" in capsys.readouterr().out
    given = require_shared("data", "real_clips", "vipseg_layout", "VIPSeg_720P")
    name = "panoptic_gt_VIPSeg_train.json"
    mine, theirs = (json.loads((f / name).read_text()) for f in (raw.parent / "720P", given))
    assert mine["videos"] == theirs["videos"]
    assert [c["name"] for c in mine["categories"]] == [c["name"] for c in theirs["categories"]]

    def facts(content):
        return [
            (video["video_id"], frame["file_name"],
             sorted((s["category_id"], s["area"], *s["bbox"]) for s in frame["segments_info"]))
            for video in content["annotations"] for frame in video["annotations"]
        ]  # fmt: skip

    assert facts(mine) == facts(theirs)
    png = "panomasksRGB/intel_cars/00000010.png"
    made, known = (segment_ids(folder / png) for folder in (raw.parent / "720P", given))
    pairs = set(zip(made.ravel().tolist(), known.ravel().tolist(), strict=True))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})  # only renamed


def test_vipseg_is_resized(raw):
    shutil.rmtree(raw / "imgs/intel_produce_a")
    (raw / "train.txt").write_text("intel_cars")  # no newline at the end
    assert run_vipseg(raw, "--height", "90") == 0
    folder = raw.parent / "720P"
    (record,), _ = read_panoptic(
        folder / "panoptic_gt_VIPSeg_train.json", folder / "images", folder / "panomasksRGB"
    )
    assert (record["height"], record["width"]) == (90, 160)
    assert Image.open(record["file_names"][0]).size == (160, 90)
    small, large = (
        np.asarray(Image.open(f)) for f in (folder / "panomasksRGB/intel_cars/00000010.png",
                                            raw / "panomasks/intel_cars/00000010.png")
    )  # fmt: skip
    ids = small[..., 0] + 256 * small[..., 1].astype(int)
    assert np.array_equal(ids, large[2::4, 2::4])  # the nearest to the centre of 4 x 4 pixels


def test_vipseg_goes_on_where_it_was(raw, capsys):
    assert run_vipseg(raw, "--height", "0") == 0
    output = raw.parent / "720P/panoptic_gt_VIPSeg_train.json"
    whole = output.read_text()
    output.unlink()
    damaged = raw / "imgs/intel_produce_a/00000012.jpg"
    sound = damaged.read_bytes()
    damaged.write_bytes(sound[:-500])
    assert run_vipseg(raw, "--height", "0") == 1  # after the first video
    assert "00000012.jpg: broken or cut short" in capsys.readouterr().err
    assert not output.exists()
    damaged.write_bytes(sound)
    shutil.rmtree(raw / "imgs/intel_cars")  # which is done, so it is not needed again
    assert run_vipseg(raw, "--height", "0") == 0
    assert output.read_text() == whole
    assert list(output.parent.glob(".*")) == []


def test_a_test_split_has_no_labels(raw):
    shutil.rmtree(raw / "panomasks/intel_cars")
    (raw / "train.txt").write_text("intel_cars\n")
    assert run_vipseg(raw, "--height", "0") == 0
    content = json.loads((raw.parent / "720P/panoptic_gt_VIPSeg_train.json").read_text())
    assert content["videos"][0]["images"][0]["file_name"] == "00000004.jpg"
    frames = content["annotations"][0]["annotations"]
    assert len(frames) == 12 and all(frame["segments_info"] == [] for frame in frames)


def test_bad_labels_of_vipseg(raw, capsys):
    file = raw / "panomasks/intel_cars/00000004.png"
    size = Image.open(file).size
    Image.fromarray(np.full(size[::-1], 12600, dtype=np.uint16)).save(file)
    assert run_vipseg(raw, "--height", "0") == 1
    assert "00000004.png: value 12600 names no class of VIPSeg" in capsys.readouterr().err
    (raw / "train.txt").unlink()
    assert run_vipseg(raw) == 1
    assert "train.txt: list of videos not found" in capsys.readouterr().err


# ---------------------------------------------------------------------- parts


def double(name):
    return {"name": 2 * name}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_parts_are_made_once(tmp_path, workers):
    parts = Parts(tmp_path / "x.json")
    assert parts.make(["a", "b"], double, workers=workers) == [{"name": "aa"}, {"name": "bb"}]
    made = parts.make(["b", "c"], lambda name: {"name": "new"})
    assert made == [{"name": "bb"}, {"name": "new"}]
    other = Parts(tmp_path / "x.json", settings="_480")
    assert other.make(["a"], lambda name: 1) == [1]
    parts.remove()
    assert not parts.folder.exists() and other.folder.exists()
