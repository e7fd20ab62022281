"""Registration: the table, data sets of a configuration, clear refusals."""

import uuid

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from dvis_daq.data import datasets
from tests.unit.data.tiny_vis import write_tiny


@pytest.fixture
def entry(tmp_path):
    """A custom data set under a name that no other test uses."""
    json_file, images = write_tiny(tmp_path)
    name = f"tiny_{uuid.uuid4().hex}"
    yield {"NAME": name, "TASK": "vis", "JSON": str(json_file), "IMAGES": str(images)}
    if name in DatasetCatalog:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name)


def test_the_table_is_registered_without_reading_anything():
    datasets.register_all("/nowhere")
    datasets.register_all("/elsewhere")  # names that exist stay
    for name in ("ytvis_2019_train", "ytvis_2021_val", "ytvis_2022_val", "ovis_test",
                 "coco2ovis_train"):  # fmt: skip
        assert name in DatasetCatalog
    with pytest.raises(ValueError, match=r"ovis_train'.*annotations_train\.json not found.*DETEC"):
        datasets.load("ovis_train")
    for name in datasets.SPLITS:
        assert name in DatasetCatalog


def test_a_custom_data_set(entry):
    datasets.register_custom([entry])
    datasets.register_custom([entry])  # the same again is no fault
    assert [record["video_id"] for record in datasets.load(entry["NAME"])] == [4, 12]
    found = datasets.metadata(entry["NAME"])
    assert found.thing_classes == ["dog", "cow", "cat"]
    assert found.thing_dataset_id_to_contiguous_id == {10: 0, 20: 1, 30: 2}
    assert found.json_file == entry["JSON"]


def test_classes_are_known_without_loading(entry):
    datasets.register_custom([entry])
    assert datasets.metadata(entry["NAME"]).thing_classes == ["dog", "cow", "cat"]
    assert len(datasets.load(entry["NAME"])) == 2


def test_relative_paths_start_at_the_base(entry, tmp_path):
    entry.update(JSON="tiny.json", IMAGES="images")
    datasets.register_custom([entry], tmp_path)
    assert len(datasets.load(entry["NAME"])) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JSON": "none.json"}, r"CUSTOM\[0\].*JSON .*none\.json is no file"),
        ({"IMAGES": "none"}, r"IMAGES .*none is no folder"),
        ({"TASK": "vqa"}, "task 'vqa' cannot be read; known: vis"),
        ({"TASK": "vps"}, "TASK vps must have the keys JSON, IMAGES, MASKS; it has IMAGES, JSON"),
        (
            {"ROOT": "x"},
            "must have the keys JSON, IMAGES, and may have MAP; it has IMAGES, JSON, ROOT",
        ),
        ({"MAP": "coco_to_davis"}, "MAP 'coco_to_davis' is no mapping .*coco_to_ovis"),
        ({"NAME": "ovis_train"}, "the name 'ovis_train' is taken"),
    ],
)
def test_bad_entries(entry, change, message):
    datasets.register_all()
    with pytest.raises(ValueError, match=message):
        datasets.register_custom([{**entry, **change}])


def test_unknown_names_list_the_known_ones():
    datasets.register_all()
    for ask in (datasets.load, datasets.metadata):
        with pytest.raises(ValueError, match=r"no data set is called 'ovis'.*ovis_train"):
            ask("ovis")
