"""Keys, overrides, and released YAML files."""

import json
import re
from pathlib import Path

import pytest
import yaml

from dvis_daq.config import ConfigError, get_config
from dvis_daq.official_config import OFFICIAL_KEYS, _flatten, _nest
from tests.conftest import ROOT, shared_dir

LISTS = {ROOT / "configs" / "ablations" / "tables.yaml"}  # no configuration
SHIPPED = sorted(set((ROOT / "configs").glob("*/*.yaml")) - LISTS)
RELEASED = sorted(shared_dir("reference", "configs").glob("dvis*.json"))

# our file -> the released one with the same values
TWINS = {
    "ovis/DVIS_DAQ_online_R50": "dvis_daq__ovis__DAQ_Online_R50",
    "ytvis_2019/DVIS_DAQ_online_R50": "dvis_daq__ytvis19__DAQ_Online_R50",
    "ytvis_2021/DVIS_DAQ_online_R50": "dvis_daq__ytvis21__DAQ_Online_R50",
    "vipseg/DVIS_DAQ_online_R50": "dvis_daq__vipseg__DAQ_Online_R50",
    "ovis/MinVIS_R50": "dvis_Plus__ovis__MinVIS_R50",
    "ovis/CTVIS_R50": "dvis_Plus__ovis__CTVIS_R50",
    "ytvis_2019/MinVIS_R50": "dvis_Plus__ytvis19__MinVIS_R50",
    "ytvis_2019/CTVIS_R50": "dvis_Plus__ytvis19__CTVIS_R50",
    "ytvis_2021/MinVIS_R50": "dvis_Plus__ytvis21__MinVIS_R50",
    "ytvis_2021/CTVIS_R50": "dvis_Plus__ytvis21__CTVIS_R50",
    "vipseg/MinVIS_R50": "dvis_Plus__VIPSeg__MinVIS_R50",
    "vipseg/CTVIS_R50": "dvis_Plus__VIPSeg__CTVIS_r50",
    "ovis/DVIS_online_R50": "dvis_Plus__ovis__DVIS_Plus_Online_R50_16wIter",
    "ovis/DVIS_offline_R50": "dvis_Plus__ovis__DVIS_Plus_Offline_R50",
    "ytvis_2019/DVIS_online_R50": "dvis_Plus__ytvis19__DVIS_Plus_Online_R50_8wIter",
    "ytvis_2019/DVIS_offline_R50": "dvis_Plus__ytvis19__DVIS_Plus_Offline_R50",
    "ytvis_2021/DVIS_online_R50": "dvis_Plus__ytvis21__DVIS_Plus_Online_R50_8wIter",
    "ytvis_2021/DVIS_offline_R50": "dvis_Plus__ytvis21__DVIS_Plus_Offline_R50",
    "vipseg/DVIS_online_R50": "dvis_Plus__VIPSeg__DVIS_Plus_Online_R50",
    "vipseg/DVIS_offline_R50": "dvis_Plus__VIPSeg__DVIS_Plus_Offline_R50",
    "ovis/DVIS_DAQ_online_SwinL": "dvis_daq__ovis__DAQ_Online_SwinL",
    "ovis/DVIS_DAQ_online_ViTL": "dvis_daq__ovis__vit_adapter__DAQ_Online_VitAdapterL",
    "ovis/DVIS_DAQ_offline_ViTL": "dvis_daq__ovis__vit_adapter__DAQ_Offline_VitAdapterL",
    "ovis/MinVIS_ViTL": "dvis_Plus__ovis__vit_adapter__MinVIS_VitAdapterL",
    "ovis/CTVIS_ViTL": "dvis_Plus__ovis__vit_adapter__CTVIS_VitAdapterL",
    "ytvis_2019/DVIS_DAQ_online_SwinL": "dvis_daq__ytvis19__DAQ_Online_SwinL",
    "ytvis_2019/DVIS_DAQ_online_ViTL": "dvis_daq__ytvis19__vit_adapter__DAQ_Online_VitAdapterL",
    "ytvis_2019/DVIS_DAQ_offline_ViTL": "dvis_daq__ytvis19__vit_adapter__DAQ_Offline_VitAdapterL",
    "ytvis_2019/MinVIS_ViTL": "dvis_Plus__ytvis19__vit_adapter__MinVIS_VitAdapterL",
    "ytvis_2019/CTVIS_ViTL": "dvis_Plus__ytvis19__vit_adapter__CTVIS_VitAdapterL",
    "ytvis_2021/DVIS_DAQ_online_SwinL": "dvis_daq__ytvis21__DAQ_Online_SwinL",
    "ytvis_2021/DVIS_DAQ_online_ViTL": "dvis_daq__ytvis21__vit_adapter__DAQ_Online_VitAdapterL",
    "ytvis_2021/DVIS_DAQ_offline_ViTL": "dvis_daq__ytvis21__vit_adapter__DAQ_Offline_VitAdapterL",
    "ytvis_2021/MinVIS_ViTL": "dvis_Plus__ytvis21__vit_adapter__MinVIS_VitAdapterL",
    "ytvis_2021/CTVIS_ViTL": "dvis_Plus__ytvis21__vit_adapter__CTVIS_VitAdapterL",
    "ovis/DVIS_DAQ_offline_R50": "dvis_daq__ovis__DAQ_Offline_R50",
    "vipseg/DVIS_DAQ_online_ViTL": "dvis_daq__vipseg__vit_adapter__DAQ_Online_VitAdapterL",
    "vipseg/CTVIS_ViTL": "dvis_Plus__VIPSeg__vit_adapter__CTVIS_VitAdapterL",
    "ovis/DVIS_online_ViTL": "dvis_Plus__ovis__vit_adapter__DVIS_Plus_Online_VitAdapterL",
    "ovis/DVIS_online_SwinL": "dvis_Plus__ovis__swim__DVIS_Plus_Online_SwinL",
    "ovis/DVIS_offline_ViTL": "dvis_Plus__ovis__vit_adapter__DVIS_Plus_Offline_VitAdapterL",
    "ovis/DVIS_offline_SwinL": "dvis_Plus__ovis__swim__DVIS_Plus_Offline_SwinL",
    "ytvis_2019/DVIS_online_ViTL": "dvis_Plus__ytvis19__vit_adapter__DVIS_Plus_Online_VitAdapterL",
    "ytvis_2019/DVIS_offline_ViTL": "dvis_Plus__ytvis19__vit_adapter__DVIS_Plus_Offline_VitAdapterL",
    "ytvis_2021/DVIS_online_ViTL": "dvis_Plus__ytvis21__vit_adapter__DVIS_Plus_Online_VitAdapterL",
    "ytvis_2021/DVIS_offline_ViTL": "dvis_Plus__ytvis21__vit_adapter__DVIS_Plus_Offline_VitAdapterL",
    "vspw/MinVIS_R50": "dvis_Plus__VSPW__MinVIS_R50_720p",
    "vspw/CTVIS_R50": "dvis_Plus__VSPW__CTVIS_R50",
    "vspw/DVIS_online_R50": "dvis_Plus__VSPW__DVIS_Plus_Online_R50",
    "vspw/DVIS_offline_R50": "dvis_Plus__VSPW__DVIS_Plus_Offline_R50",
    "mose/DVIS_DAQ_online_ViTL": "dvis_daq__vos__mose_vitl_online",
    "mose/DVIS_DAQ_offline_ViTL": "dvis_daq__vos__mose_vitl_offline",
    "vipseg/DVIS_online_ViTL": "dvis_Plus__VIPSeg__vit_adapter__DVIS_Plus_Online_VitAdapterL",
    "vipseg/DVIS_offline_ViTL": "dvis_Plus__VIPSeg__vit_adapter__DVIS_Plus_Offline_VitAdapterL",
}
# Keys that may differ: where weights lie, and what the model of the file does not read.
NOT_COMPARED = ("MODEL.WEIGHTS", "MODEL.MASK_ON", "MODEL.VIT_ADAPTER.VIT_WEIGHT")
# Parts of a file's data set or method that are without effect there
NOT_COMPARED_FOR = {
    "vipseg/": ("INPUT.PSEUDO", "INPUT.CROP.TYPE", "INPUT.CROP.SIZE"),
    "vspw/": ("INPUT.PSEUDO", "INPUT.CROP.TYPE", "INPUT.CROP.SIZE"),
    "MinVIS_": ("MODEL.TRACKER",),
    "CTVIS_": ("MODEL.TRACKER",),
    "/DVIS_online": ("MODEL.TRACKER.ANCHORS",),
    "/DVIS_offline": ("MODEL.TRACKER.ANCHORS", "MODEL.TRACKER.NOISE"),
}


def _load(tmp_path: Path, values: dict):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(values))
    return get_config(file)


def _released(name: str) -> dict:
    folder = shared_dir("reference", "configs")
    defaults = json.loads((folder / "defaults.json").read_text())
    return _nest(defaults | json.loads((folder / f"{name}.json").read_text()))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda f: f"{f.parent.name}/{f.stem}")
def test_shipped_file_loads(file):
    assert get_config(file).is_frozen()


@pytest.mark.skipif(not RELEASED, reason="reference data not found (set DVIS_DAQ_SHARED)")
@pytest.mark.parametrize("file", RELEASED, ids=lambda f: f.stem)
def test_released_file_loads_with_and_without_its_defaults(file, tmp_path):
    whole = _load(tmp_path, _released(file.stem))
    alone = _load(tmp_path, _nest(json.loads(file.read_text())))
    assert whole.MODEL.META_ARCHITECTURE == alone.MODEL.META_ARCHITECTURE
    for key in ("TEST.MAX_INSTANCES", "INPUT.CLIP", "MODEL.LIFECYCLE", "MODEL.EDS", "SOLVER"):
        one, other = _flatten(whole), _flatten(alone)
        assert {k: v for k, v in one.items() if k.startswith(key)} == {
            k: v for k, v in other.items() if k.startswith(key)
        }


@pytest.mark.skipif(not RELEASED, reason="reference data not found (set DVIS_DAQ_SHARED)")
@pytest.mark.parametrize("ours", TWINS)
def test_shipped_file_has_the_released_values(ours, tmp_path):
    mine = _flatten(get_config(ROOT / "configs" / f"{ours}.yaml"))
    theirs = _flatten(_load(tmp_path, _released(TWINS[ours])))
    skipped = NOT_COMPARED
    for part, keys in NOT_COMPARED_FOR.items():
        skipped += keys if part in ours else ()
    if not mine["DATASETS.RATIO"]:
        skipped += ("DATASETS.RATIO",)  # one data set: its ratio says nothing
    differing = {
        key: (mine.get(key), theirs.get(key))
        for key in mine.keys() | theirs.keys()
        if mine.get(key) != theirs.get(key) and not key.startswith(skipped)
    }
    assert differing == {}


def test_released_disappearance_is_not_simulated_for_vps(tmp_path):
    if not RELEASED:
        pytest.skip("reference data not found (set DVIS_DAQ_SHARED)")
    cfg = _load(tmp_path, _released("dvis_daq__vipseg__DAQ_Online_R50"))
    assert [stage.get("HIDE") for stage in cfg.MODEL.EDS.STAGES] == [None, "none"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"MODEL": {"VIDEO_HEAD": {"NUM_NEW_INS": 10}, "META_ARCHITECTURE": "DVIS_DAQ_online"}},
         "NUM_NEW_INS is 10, MODEL.MASK_FORMER.NUM_OBJECT_QUERIES is 100"),
        ({"MODEL": {"VIDEO_HEAD": {"NUM_SLOTS": 5}, "MASK_FORMER": {"DROPOUT": 0.3}}},
         "DROPOUT is 0.3; only 0.0"),
        ({"MODEL": {"VIDEO_HEAD": {"NO_SUCH_KEY": 5}}}, "NO_SUCH_KEY|VIDEO_HEAD"),
        ({"MODEL": {"NOPE": 1}}, "MODEL.NOPE"),
        ({"SOLVER": {"MAX_ITER": "many"}}, "SOLVER.MAX_ITER is of type str; expected int"),
        ({"SOLVER": {"MAX_ITER": None}}, "SOLVER.MAX_ITER is null; leave it out"),
        ({"INPUT": {"CROP": 3}}, "INPUT.CROP is of type int; expected a group of keys"),
        ({"SOLVER": {"AMP": {"ENABLED": True}}}, "SOLVER.PRECISION"),
        ({"MODEL": {"TASK": "vid"}}, "vis, vps, vss, vos"),
        ({"SOLVER": {"CLIP_GRADIENTS": {"CLIP_TYPE": "nope"}}}, "full_model, norm, value"),
        ({"SOLVER": {"MAX_ITER": 0}}, "SOLVER.MAX_ITER is 0; it must be at least 1"),
        (
            {"MODEL": {"MASK_FORMER": {"TRAIN_NUM_POINTS": 0}}},
            "TRAIN_NUM_POINTS is 0; it must be at least 1",
        ),
        ({"DATALOADER": {"NUM_WORKERS": -1}}, "NUM_WORKERS is -1; it must be at least 0"),
        ({"MODEL": {"REFINER": {"TEMPORAL_PADDING": "mean"}}}, "appearance, zero, learned, none"),
        ({"MODEL": {"TRACKER": {"NOISE": {"MODE": "mix"}}}}, "none, rs, wa, cc"),
        ({"DATASETS": {"TRAIN": ["a", "b"], "RATIO": [1.0]}}, "RATIO has 1 entries for 2"),
    ],
)  # fmt: skip
def test_bad_file_is_refused_with_the_key(values, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, values)


def test_missing_file_is_named():
    with pytest.raises(ConfigError, match="nowhere.yaml: no such"):
        get_config("nowhere.yaml")


def test_yaml_that_builds_python_objects_is_refused(tmp_path):
    trace = tmp_path / "executed"
    file = tmp_path / "hostile.yaml"
    file.write_text(f"MODEL: !!python/object/apply:os.system ['touch {trace}']\n")
    with pytest.raises(ConfigError, match="hostile.yaml"):
        get_config(file)
    assert not trace.exists()


@pytest.mark.parametrize(
    "opts",
    [
        ["SOLVER.MAX_ITER"],
        ["SOLVER.NOPE", "1"],
        ["MODEL.TASK", "x"],
        ["SOLVER.MAX_ITER", "1", "--resume"],
    ],
)
def test_bad_override_is_refused(opts):
    with pytest.raises(ConfigError):
        get_config(opts=opts)


def test_every_key_of_ours_is_read_somewhere():
    from detectron2.config import get_cfg

    ours = _flatten(get_config()).keys() - _flatten(get_cfg()).keys()
    code = "\n".join(
        file.read_text()
        for folder in ("dvis_daq", "tools")
        for file in (ROOT / folder).rglob("*.py")
        if not file.match("*config*.py") and "_fallback" not in file.parts
    )
    unread = sorted(key for key in ours if not re.search(rf"\.{key.split('.')[-1]}\b", code))
    assert unread == []


def test_every_translated_key_exists():
    from dvis_daq.official_config import Renamed

    known = _flatten(get_config()).keys()
    targets = {rule.key for rule in OFFICIAL_KEYS.values() if isinstance(rule, Renamed)}
    assert targets <= known


def test_cached_segmenter_refuses_frames_that_change():
    with pytest.raises(ConfigError, match="INPUT.RANDOM_FLIP"):
        get_config(opts=["SOLVER.CACHE_SEGMENTER", "True", "INPUT.MIN_SIZE_TRAIN", "(96,)"])
