"""tools/dataset.py: each command, its output, its exit code, its bad input."""

import json
from pathlib import Path

import cv2
import pytest

from tests.tools.scripts import load_script
from tests.unit.data.test_joint_training import write_coco
from tests.unit.data.test_readers import entry, write
from tests.unit.data.tiny_vis import tiny_content, write_tiny

tool = load_script("tools/dataset.py")


@pytest.fixture
def source(tmp_path):
    json_file, images = write_tiny(tmp_path)
    return ["--json", str(json_file), "--images", str(images)]


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["--help"])
    assert stop.value.code == 0
    assert "python tools/dataset.py check --json" in capsys.readouterr().out


def test_check(source, tmp_path, capsys):
    assert tool.main(["check", *source]) == 0
    assert "0 errors, 1 warnings" in capsys.readouterr().out  # ids 10, 20, 30
    (tmp_path / "images" / "a" / "003.png").unlink()
    report = tmp_path / "out" / "findings.json"
    assert tool.main(["check", *source, "--output", str(report)]) == 1
    out = capsys.readouterr().out
    assert "error: videos[1] (id 4): 1 frames are not found, first a/003.png" in out
    assert [f["level"] for f in json.loads(report.read_text())] == ["error", "warning"]


def test_stats(source, tmp_path, capsys):
    report = tmp_path / "stats.json"
    assert tool.main(["stats", *source, "--output", str(report)]) == 0
    out = capsys.readouterr().out
    assert "emerge 1, disappear 1, reappear 0, any 2" in out
    assert json.loads(report.read_text())["classes"]["dog"]["disappear"] == 1


def test_show(source, tmp_path):
    sheet = tmp_path / "sheets" / "sheet.png"
    options = ["--output", str(sheet), "--frames", "3", "--width", "64"]
    assert tool.main(["show", *source, *options]) == 0
    assert cv2.imread(str(sheet)).shape[1] == 192
    assert tool.main(["show", *source, *options, "--ids", "12"]) == 0


def test_a_data_set_of_a_configuration(source, tmp_path, capsys):
    entry = {"NAME": "tool_tiny", "TASK": "vis", "JSON": source[1], "IMAGES": source[3]}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"VERSION": 2, "DATASETS": {"CUSTOM": [entry]}}))
    named = ["--dataset", "tool_tiny", "--config-file", str(config)]
    assert tool.main(["stats", *named]) == 0
    assert "tracks" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check"], "name the data set by --json and --images, or by --dataset"),
        (["check", "--json", "x.json"], "belong together"),
        (["check", "--json", "pyproject.toml", "--images", "nowhere"], "nowhere is no folder"),
        (["check", "--json", "x.json", "--images", "."], "x.json is no file"),
        (["check", "--json", "pyproject.toml", "--images", ".", "--task", "vps"], "MASKS"),
        (["stats", "--dataset", "nothing"], "no data set is called 'nothing'"),
        (
            ["check", "--dataset", "coco2ovis_train"],
            "coco2ovis_train.json: annotation file not found",
        ),
        (["stats", "--dataset", "x", "--config-file", "no.yaml"], "no.yaml"),
    ],
)
def test_bad_arguments(arguments, message, capsys):
    assert tool.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_bad_options_of_show(source, tmp_path, capsys):
    assert tool.main(["show", *source, "--output", str(tmp_path / "sheet.txt")]) == 2
    assert "must end in .png or .jpg" in capsys.readouterr().err
    assert tool.main(["show", *source, "--output", "x.png", "--ids", "5"]) == 2
    assert "has no video with id 5" in capsys.readouterr().err


def test_a_broken_json_is_told_not_thrown(tmp_path, capsys):
    content = tiny_content()
    content["annotations"][0]["category_id"] = 5
    json_file, images = write_tiny(tmp_path, content)
    source = ["--json", str(json_file), "--images", str(images)]
    assert tool.main(["stats", *source]) == 2
    assert "category_id 5 is not in 'categories'" in capsys.readouterr().err
    assert tool.main(["check", *source]) == 1


@pytest.mark.parametrize("task", ["vps", "vss", "vos", "image"])
def test_check_and_show_of_the_other_tasks(tmp_path, task, capsys):
    if task == "image":
        source = write_coco(tmp_path)
        damaged = tmp_path / "images/2.png"
    else:
        write(tmp_path, format=task)
        source = entry(tmp_path, task)
        damaged = next((tmp_path / {"vps": "panomasksRGB/train_0001", "vss": "data/train_0001", "vos": "train/JPEGImages"}[task])
                       .rglob("00001.*"))  # fmt: skip
    named = ["--task", task, "--json", source.get("SPLIT", source.get("JSON"))]
    for key in ("IMAGES", "MASKS", "CATEGORIES"):
        named += [f"--{key.lower()}", source[key]] if key in source else []
    assert tool.main(["check", *named, "--decode"]) == 0
    assert " 0 errors" in capsys.readouterr().out
    sheet = tmp_path / "sheet.png"
    assert (
        tool.main(["show", *named, "--output", str(sheet), "--frames", "2", "--width", "64"]) == 0
    )
    assert cv2.imread(str(sheet)).shape[1] == 128
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    assert tool.main(["check", *named, "--decode"]) == 1
    assert damaged.name in capsys.readouterr().out
    if task in ("vps", "vss", "image"):
        assert tool.main(["stats", *named]) == 2
        assert f"not of {task}" in capsys.readouterr().err


def test_check_compares_panoptic_pngs_with_the_json(tmp_path, capsys):
    write(tmp_path, format="vps")
    source = entry(tmp_path, "vps")
    content = json.loads(Path(source["JSON"]).read_text())
    segments = content["annotations"][0]["annotations"][2]["segments_info"]
    segments[0]["id"] = 4000
    Path(source["JSON"]).write_text(json.dumps(content))
    named = [
        "--task",
        "vps",
        "--json",
        source["JSON"],
        "--images",
        source["IMAGES"],
        "--masks",
        source["MASKS"],
    ]
    assert tool.main(["check", *named]) == 0
    assert tool.main(["check", *named, "--decode"]) == 1
    out = capsys.readouterr().out
    assert "00002.png: 1 segments are not in the json, first 1" in out
    assert "00002.png: 1 segments of the json have no pixel, first 4000" in out


def test_split(tmp_path, capsys):
    content = tiny_content()
    for number in (5, 6, 7):
        content["videos"].append({**content["videos"][0], "id": number})
    json_file, images = write_tiny(tmp_path, content)
    json_file = json_file.rename(tmp_path / "annotations_train.json")
    source = ["--json", str(json_file), "--images", str(images)]
    assert tool.main(["split", *source, "--every", "3"]) == 0
    assert "annotations_dev_val.json: videos 1, annotations 0, classes 0" in capsys.readouterr().out
    parts = [
        json.loads((tmp_path / f"annotations_dev_{p}.json").read_text()) for p in ("train", "val")
    ]
    assert [sorted(v["id"] for v in part["videos"]) for part in parts] == [[4, 5, 7, 12], [6]]
    assert len(parts[0]["annotations"]) == 3
    assert all(part["categories"] == content["categories"] for part in parts)
    content["videos"].reverse()  # the order of the file says nothing
    json_file.write_text(json.dumps(content))
    assert tool.main(["split", *source, "--every", "3"]) == 0
    assert {
        v["id"] for v in json.loads((tmp_path / "annotations_dev_val.json").read_text())["videos"]
    } == {6}
    for every, message in ((1, "leaves an empty part"), (6, "leaves an empty part")):
        assert tool.main(["split", *source, "--every", str(every)]) == 2
        assert message in capsys.readouterr().err
