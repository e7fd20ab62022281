"""Configuration: contract 4.1, on the bundled subset and on the real Detectron2."""

from pathlib import Path

import pytest
import yaml
from detectron2.config import CfgNode, get_cfg


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_each_call_gives_a_new_tree() -> None:
    get_cfg().MODEL.RESNETS.DEPTH = 18
    assert get_cfg().MODEL.RESNETS.DEPTH == 50


def test_defaults_that_we_read() -> None:
    cfg = get_cfg()
    assert cfg.VERSION == 2 and cfg.SEED == -1 and cfg.OUTPUT_DIR == "./output"
    assert cfg.MODEL.DEVICE == "cuda" and cfg.MODEL.WEIGHTS == ""
    assert cfg.MODEL.BACKBONE == {"NAME": "build_resnet_backbone", "FREEZE_AT": 2}
    assert cfg.MODEL.RESNETS.NORM == "FrozenBN" and cfg.MODEL.RESNETS.STRIDE_IN_1X1
    assert cfg.DATASETS.TRAIN == () and cfg.DATALOADER.NUM_WORKERS == 4
    assert cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE == "value" and not cfg.SOLVER.AMP.ENABLED
    assert cfg.SOLVER.CHECKPOINT_PERIOD == 5000 and cfg.TEST.EVAL_PERIOD == 0


def test_base_is_relative_and_the_child_wins(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "base.yaml", "VERSION: 2\nSEED: 1\nMODEL: {RESNETS: {DEPTH: 101}}\n")
    child = write(tmp_path / "sub" / "child.yaml", "_BASE_: ../base.yaml\nSEED: 2\n")
    cfg = get_cfg()
    cfg.merge_from_file(child)
    assert (cfg.SEED, cfg.MODEL.RESNETS.DEPTH, cfg.VERSION) == (2, 101, 2)


def test_a_list_of_bases_merges_in_order(tmp_path: Path) -> None:
    write(tmp_path / "one.yaml", "VERSION: 2\nSEED: 1\nVIS_PERIOD: 1\nOUTPUT_DIR: one\n")
    write(tmp_path / "two.yaml", "SEED: 2\nVIS_PERIOD: 2\n")
    child = write(tmp_path / "child.yaml", "_BASE_: [one.yaml, two.yaml]\nSEED: 3\n")
    cfg = get_cfg()
    cfg.merge_from_file(child)
    assert (cfg.SEED, cfg.VIS_PERIOD, cfg.OUTPUT_DIR) == (3, 2, "one")


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"Config file '.*nope.yaml' does not exist!"):
        get_cfg().merge_from_file(str(tmp_path / "nope.yaml"))
    with pytest.raises(TypeError):
        get_cfg().merge_from_file(write(tmp_path / "empty.yaml", ""))


def test_code_in_yaml_is_refused_if_asked(tmp_path: Path) -> None:
    evil = write(tmp_path / "evil.yaml", "VERSION: 2\nSEED: !!python/object/apply:len [[1]]\n")
    with pytest.raises((ValueError, yaml.constructor.ConstructorError)):
        get_cfg().merge_from_file(evil, allow_unsafe=False)


def test_unknown_keys(tmp_path: Path) -> None:
    file = write(tmp_path / "a.yaml", "VERSION: 2\nMODEL: {NOPE: 1}\n")
    with pytest.raises(KeyError, match="Non-existent config key: MODEL.NOPE"):
        get_cfg().merge_from_file(file)
    with pytest.raises(AssertionError, match="Non-existent key: MODEL.NOPE"):
        get_cfg().merge_from_list(["MODEL.NOPE", "1"])
    with pytest.raises(AssertionError, match="odd length"):
        get_cfg().merge_from_list(["SEED"])
    with pytest.raises(AssertionError, match="_BASE_"):
        get_cfg().merge_from_list(["_BASE_", "x.yaml"])


def test_types_follow_the_default(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_file(write(tmp_path / "a.yaml", "VERSION: 2\nDATASETS: {TRAIN: [a, b]}\n"))
    assert cfg.DATASETS.TRAIN == ("a", "b")
    cfg.merge_from_list(["MODEL.PIXEL_MEAN", "(1.0, 2.0, 3.0)"])
    assert cfg.MODEL.PIXEL_MEAN == [1.0, 2.0, 3.0]
    for key, value in (
        ("SOLVER.BASE_LR", "1"),
        ("SOLVER.MAX_ITER", "1.5"),
        ("DATASETS.TRAIN", "name"),
    ):
        with pytest.raises(ValueError, match="Type mismatch"):
            get_cfg().merge_from_list([key, value])


def test_keys_before_an_error_stay_changed() -> None:
    cfg = get_cfg()
    with pytest.raises(ValueError, match="Type mismatch"):
        cfg.merge_from_list(["SEED", "7", "SOLVER.BASE_LR", "1"])
    assert cfg.SEED == 7


def test_freezing() -> None:
    cfg = get_cfg()
    cfg.freeze()
    with pytest.raises(AttributeError, match="Attempted to set SEED to 1, but CfgNode is immut"):
        cfg.SEED = 1
    assert cfg.clone().is_frozen()
    with pytest.raises(AttributeError, match="NOPE"):
        _ = cfg.MODEL.NOPE
    cfg.MODEL.COMPUTED_X = 1
    with pytest.raises(KeyError):
        cfg.MODEL.COMPUTED_X = 2


def test_dump_reads_back(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.merge_from_list(["SEED", "3", "DATASETS.TRAIN", "('a',)"])
    text = cfg.dump()
    assert yaml.safe_load(text)["DATASETS"]["TRAIN"] == ["a"]
    assert text.index("CUDNN_BENCHMARK: false") < text.index("SEED: 3")
    again = get_cfg()
    again.merge_from_file(write(tmp_path / "config.yaml", text))
    assert yaml.safe_load(again.dump()) == yaml.safe_load(text)


def test_new_keys_are_added_by_assignment() -> None:
    cfg = get_cfg()
    cfg.MODEL.OURS = CfgNode({"A": 1})
    cfg.merge_from_list(["MODEL.OURS.A", "2"])
    assert cfg.MODEL.OURS.A == 2
