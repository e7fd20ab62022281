"""`CfgNode`: fvcore's, with safe YAML only and a version check."""

from __future__ import annotations

from typing import IO, Any

import yaml
from fvcore.common.config import CfgNode as _CfgNode

from detectron2.utils.file_io import PathManager

__all__ = ["CfgNode", "get_cfg"]

_VERSION = 2  # of the key tree; version 1 is from before 2019


class CfgNode(_CfgNode):
    """A tree of keys; see yacs for merging rules and fvcore for `_BASE_`."""

    @classmethod
    def _open_cfg(cls, filename: str) -> IO[str]:
        return PathManager.open(filename, "r")

    @classmethod
    def load_yaml_with_base(cls, filename: str, allow_unsafe: bool = False) -> dict[str, Any]:
        """Reads a file and the files it names as `_BASE_`.

        Args:
            filename: the YAML file.
            allow_unsafe: accepted for the sake of the real library, which then runs the Python
                code that a YAML tag can hold. Here it changes nothing.

        Raises:
            ValueError: the file has a tag such as `!!python/object`.
        """
        try:
            return super().load_yaml_with_base(filename, allow_unsafe=False)
        except yaml.constructor.ConstructorError as error:
            raise ValueError(
                f"Config file '{filename}' has a YAML tag that is not plain data "
                f"({error.problem}); write the value out, code in a config is never run."
            ) from error

    def merge_from_file(self, cfg_filename: str, allow_unsafe: bool = True) -> None:
        """Changes the keys that a file sets.

        Args:
            cfg_filename: the YAML file.
            allow_unsafe: without effect, see `load_yaml_with_base`.

        Raises:
            AssertionError: no such file.
            KeyError: the file sets a key that the tree does not have.
            ValueError: a value is of another type than the default, the file was written for an
                older version of the keys, or it holds code.
        """
        assert PathManager.isfile(cfg_filename), f"Config file '{cfg_filename}' does not exist!"
        loaded = self.load_yaml_with_base(cfg_filename)
        version = loaded.get("VERSION", _VERSION)
        if version != _VERSION:
            raise ValueError(
                f"Config file '{cfg_filename}' has VERSION {version}, only {_VERSION} is "
                "supported; rename its keys and set VERSION: 2."
            )
        self.merge_from_other_cfg(type(self)(loaded))

    def dump(self, *args: Any, **kwargs: Any) -> str:
        """The tree as YAML with sorted keys; reading it back gives the same tree."""
        return super().dump(*args, **kwargs)


def get_cfg() -> CfgNode:
    """Returns a copy of the default tree."""
    from detectron2.config.defaults import _C  # needs CfgNode from here

    return _C.clone()
