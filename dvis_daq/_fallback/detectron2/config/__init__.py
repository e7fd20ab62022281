"""Configuration: a tree of keys with defaults, changed by YAML files and command lines."""

from detectron2._subset import absent_names
from detectron2.config.config import CfgNode, get_cfg

__all__ = ["CfgNode", "get_cfg"]

__getattr__ = absent_names(__name__)
