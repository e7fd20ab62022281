"""Writes a synthetic data set in one of the public formats, see `layouts`."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dvis_daq.data.files import write_json
from dvis_daq.data.synthetic.layouts import LAYOUTS
from dvis_daq.data.synthetic.recipe import SPLITS, Recipe
from dvis_daq.data.synthetic.render import make_video

logger = logging.getLogger(__name__)

_RECIPE_FILE = "recipe.json"


class RecipeMismatchError(ValueError):
    """The folder holds something else than what is to be written there."""


def write_dataset(
    recipe: Recipe, folder: str | os.PathLike, *, force: bool = False
) -> Iterator[str]:
    """Writes the data set of a recipe, one video at a time, and `recipe.json`.

    An unfinished set of the same recipe is made again; a finished one is left alone and nothing
    is yielded.

    Args:
        force: replace a synthetic data set of another recipe. Files that no recipe wrote are
            never replaced.

    Yields:
        "<split>/<video>" as each video is on disk; iterate to the end to finish the set.

    Raises:
        RecipeMismatchError: the folder holds another data set or files of other origin.
    """
    folder = Path(folder)
    found = _found(folder)
    _check_foreign(folder, recipe, found)
    if found is not None and _is_complete(folder, recipe, found, force=force):
        logger.info("%s already holds this recipe, nothing to do", folder)
        return
    if found is not None:
        _clear(folder, found)
    folder.mkdir(parents=True, exist_ok=True)
    _write_recipe(folder, recipe, complete=False)
    for split, count in zip(SPLITS, (recipe.train, recipe.val), strict=True):
        layout = LAYOUTS[recipe.format](recipe, folder, split)
        for index in range(count):
            layout.add(index, make_video(recipe, split, index))
            yield f"{split}/{index:04d}"
        layout.finish()
    _write_recipe(folder, recipe, complete=True)


def _found(folder: Path) -> dict[str, Any] | None:
    """The recipe that the folder was written by, and whether it is `complete`; None if by none."""
    path = folder / _RECIPE_FILE
    if not path.exists():
        return None
    # what a recipe did not have when the set was made stands at its default
    return {**Recipe().to_json(), "complete": False, **json.loads(path.read_text())}


def _check_foreign(folder: Path, recipe: Recipe, found: dict[str, Any] | None) -> None:
    """Raises if the folder holds something of other origin where the recipe would write."""
    own = LAYOUTS[found["format"]].OWNS if found else ()
    for name in LAYOUTS[recipe.format].OWNS:
        if (folder / name).exists() and name not in own:
            raise RecipeMismatchError(
                f"{folder} has '{name}' but no {_RECIPE_FILE} of the set that it belongs to; "
                "choose another folder"
            )


def _is_complete(folder: Path, recipe: Recipe, found: dict[str, Any], *, force: bool) -> bool:
    """Whether the folder holds the finished set. Raises if it holds another one."""
    have = {key: value for key, value in found.items() if key != "complete"}
    wanted = recipe.to_json()
    if have == wanted:
        return bool(found["complete"])
    if force:
        return False
    keys = sorted(k for k in have.keys() | wanted.keys() if have.get(k) != wanted.get(k))
    changes = ", ".join(f"{k} {have.get(k)} -> {wanted.get(k)}" for k in keys)
    raise RecipeMismatchError(
        f"{folder} holds a synthetic data set of another recipe ({changes}); "
        "use --force to replace it or choose another folder"
    )


def _clear(folder: Path, found: dict[str, Any]) -> None:
    """Removes what an earlier recipe wrote."""
    for name in LAYOUTS[found["format"]].OWNS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def _write_recipe(folder: Path, recipe: Recipe, *, complete: bool) -> None:
    write_json(folder / _RECIPE_FILE, {**recipe.to_json(), "complete": complete}, indent=2)
