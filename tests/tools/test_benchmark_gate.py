import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from benchmarks.agreement import agreement
from tests.tools.scripts import load_script


def result(*pixels: int) -> dict:
    masks = {}
    for pair, count in enumerate(pixels):
        mask = np.zeros((4, 4), np.uint8, order="F")
        mask[:, :count] = 1
        masks[pair, 0] = [coco.encode(mask), None]
    return {"masks": masks, "scores": dict.fromkeys(masks, 0.5 + 0.01 * pixels[0])}


def test_agreement():
    assert agreement(result(2, 3), result(2, 3)) == {"ids": 1.0, "iou": 1.0, "score": 0.0}
    found = agreement(result(2, 3), result(4))
    assert found["ids"] == 0.5 and found["iou"] == 0.5
    assert found["score"] == pytest.approx(0.02)


@pytest.mark.parametrize(("trackers", "status"), [(15.1, 0), (14.9, 1)])
def test_a_missed_ratio_fails(tmp_path: Path, capsys, trackers: float, status: int):
    file = tmp_path / "stream.json"
    case = {"system": "float32", "ratios": {"trackers": trackers, "seconds": 1.0}}
    file.write_text(json.dumps({"cases": {"float32 30": case}}))
    with pytest.raises(SystemExit) as ended:
        load_script("benchmarks/gate.py").main([str(file)])
    assert ended.value.code == status
    assert capsys.readouterr().out.split()[0] == ("MISSED" if status else "ok")


def test_a_report_without_ratios_is_no_success(tmp_path: Path):
    file = tmp_path / "stream.json"
    file.write_text(json.dumps({"cases": {"float32 30": {"system": "float32"}}}))
    with pytest.raises(SystemExit) as ended:
        load_script("benchmarks/gate.py").main([str(file)])
    assert ended.value.code == 2
