"""Files that somebody else wrote: our own errors only, whatever they hold; nothing is executed."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dvis_daq.config import ConfigError, get_config
from dvis_daq.data.annotations import read_instances
from dvis_daq.data.files import ANYWHERE, within
from dvis_daq.data.panoptic import read_panoptic
from dvis_daq.data.stills import read_stills
from tests.fuzz import fuzz_cases
from tests.unit.data.tiny_vis import tiny_content

QUICK = {
    "deadline": None,
    "phases": [Phase.explicit, Phase.generate],  # to shrink a failure takes minutes
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from([2**31, 2**70, -(2**40), 1e400, float("nan"), "", "a/0.png", "../../x"])
    | st.text(max_size=4)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "size", "counts", "length"]), inner, max_size=3)
    ),
    max_leaves=5,
)

PANOPTIC = {
    "videos": [
        {
            "video_id": "v",
            "images": [{"id": "0", "file_name": "0.png", "height": 4, "width": 6}],
        }
    ],
    "annotations": [
        {
            "video_id": "v",
            "annotations": [
                {
                    "image_id": "0",
                    "file_name": "0.png",
                    "segments_info": [{"id": 1, "category_id": 1, "iscrowd": 0, "area": 4}],
                }
            ],
        }
    ],
    "categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}],
}
STILLS = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 8, "width": 9}],
    "annotations": [
        {
            "id": 1,
            "image_id": 1,
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": [[1, 1, 5, 1, 5, 5]],
        }
    ],
    "categories": [{"id": 1, "name": "cat"}],
}


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a nested value, as keys from the top."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items if isinstance(value, (dict, list)) else ():
        if isinstance(inner, (dict, list)):
            found += _places(inner, (*path, key))
        else:
            found.append((*path, key))
    return found


def _damaged(draw: st.DataObject, content: Any) -> Any:
    """The content with one to three places removed or overwritten."""
    content = copy.deepcopy(content)
    for _ in range(draw.draw(st.integers(1, 3))):
        path = draw.draw(st.sampled_from(_places(content) or [()]))
        if not path:
            break
        parent = content
        for key in path[:-1]:
            parent = parent[key]
        if isinstance(parent, dict) and draw.draw(st.booleans()):
            del parent[path[-1]]
        else:
            parent[path[-1]] = draw.draw(VALUES)
    return content


READERS = {
    "vis": (tiny_content(3), lambda file: read_instances(file, file.parent)),
    "vps": (PANOPTIC, lambda file: read_panoptic(file, file.parent, file.parent)),
    "stills": (STILLS, lambda file: read_stills(file, file.parent)),
}


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=fuzz_cases(60, 1800), **QUICK)
@given(data=st.data())
def test_json_readers(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content, read = READERS[kind]
    file = tmp_path / "set.json"
    file.write_text(json.dumps(_damaged(data, content)))
    try:
        read(file)
    except ValueError as error:
        assert str(file) in str(error)


@settings(max_examples=fuzz_cases(40, 1000), **QUICK)
@given(noise=st.binary(max_size=60))
def test_json_of_any_bytes(tmp_path: Path, noise: bytes) -> None:
    file = tmp_path / "set.json"
    file.write_bytes(noise)
    with pytest.raises(ValueError, match="set.json"):
        read_instances(file, tmp_path)


TREE = yaml.safe_load(get_config().dump())
KEYS = [
    "MODEL",
    "SOLVER",
    "DATASETS",
    "INPUT",
    "TEST",
    "_BASE_",
    "VERSION",
    "SEED",
    "STAGES",
    "EDS",
]


@settings(max_examples=fuzz_cases(25, 600), **QUICK)
@given(data=st.data())
def test_configurations(tmp_path: Path, data: st.DataObject) -> None:
    """A section of the real tree, with places overwritten, beside keys that nobody knows."""
    name = data.draw(st.sampled_from([key for key in TREE if isinstance(TREE[key], dict)]))
    content = _damaged(data, {name: TREE[name]})
    content.update(data.draw(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=2)))
    file = tmp_path / "some.yaml"
    file.write_text(yaml.safe_dump(content))
    try:
        get_config(file)
    except ConfigError as error:
        assert re.search(r"some\.yaml|^[A-Z_.]+ ", str(error))


@settings(max_examples=fuzz_cases(15, 400), **QUICK)
@given(text=st.text(alphabet="{}[]:,-&*! \n\"'ab|>#%@`0\t", max_size=40))
def test_configurations_of_any_text(tmp_path: Path, text: str) -> None:
    file = tmp_path / "some.yaml"
    file.write_text(text)
    try:
        get_config(file)
    except ConfigError as error:
        assert "some.yaml" in str(error)


@settings(max_examples=fuzz_cases(15, 400), **QUICK)
@given(words=st.lists(st.sampled_from(["SOLVER.MAX_ITER", "MODEL", "SEED", "DATASETS.TRAIN", "A.B"])
                      | st.text(max_size=6), max_size=4))  # fmt: skip
def test_overrides_of_any_words(words: list[str]) -> None:
    try:
        get_config(None, words)
    except ConfigError as error:
        assert str(error)


def test_base_files_in_a_ring(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"_BASE_: {base}.yaml\n")
    with pytest.raises(ConfigError, match="_BASE_ leads back to this file"):
        get_config(tmp_path / "a.yaml")


def test_a_bomb_of_aliases(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [
        f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(20))}}}" for n in range(1, 9)
    ]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(ConfigError, match="more than 100 YAML aliases"):
        get_config(tmp_path / "bomb.yaml")


def test_a_configuration_that_is_too_large_or_too_deep(tmp_path: Path) -> None:
    file = tmp_path / "some.yaml"
    file.write_text("SEED: 1 #" + "x" * 2**20)
    with pytest.raises(ConfigError, match="larger than 1048576 bytes"):
        get_config(file)
    file.write_text("A: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        get_config(file)


def test_code_in_a_base_file_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (tmp_path / "base.yaml").write_text(f"SEED: !!python/object/apply:os.mkdir ['{trace}']\n")
    (tmp_path / "top.yaml").write_text("_BASE_: base.yaml\n")
    with pytest.raises(ConfigError, match=r"top.yaml"):
        get_config(tmp_path / "top.yaml")
    assert not trace.exists()


@pytest.mark.parametrize("name", ["../x.png", "/etc/passwd", "a/../../x.png", "..\\x.png"])
def test_names_stay_in_their_root(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="leaves .*without '..'"):
        within(tmp_path, name)
    content = {**STILLS, "images": [{**STILLS["images"][0], "file_name": name}]}
    (tmp_path / "set.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="leaves"):
        read_stills(tmp_path / "set.json", tmp_path)
    panoptic = {**PANOPTIC, "videos": [{**PANOPTIC["videos"][0], "video_id": name}]}
    (tmp_path / "set.json").write_text(json.dumps(panoptic))
    with pytest.raises(ValueError, match="leaves"):
        read_panoptic(tmp_path / "set.json", tmp_path, tmp_path)
    monkeypatch.setenv(ANYWHERE, "1")
    assert within(tmp_path, name) == tmp_path / name


def test_no_memory_for_a_frame_of_a_petabyte(tmp_path: Path) -> None:
    content = tiny_content(1)
    content["videos"][0].update(width=10**9, height=10**6)
    (tmp_path / "set.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="a frame of 1000000000 x 1000000 pixels"):
        read_instances(tmp_path / "set.json", tmp_path)
