"""tools/dataset.py: each command, its output, its exit code, its bad input."""

import json

import cv2
import pytest

from tests.tools.scripts import load_script
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
        (["check", "--json", "x.json", "--images", "nowhere"], "nowhere is no folder"),
        (["check", "--json", "x.json", "--images", "."], "x.json: annotation file not found"),
        (["stats", "--dataset", "nothing"], "no data set is called 'nothing'"),
        (["check", "--dataset", "coco2ovis_train"], "task 'image' cannot be read"),
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
