"""The training loop, its hooks, and how processes start."""

from detectron2._subset import absent_names
from detectron2.engine.defaults import (
    create_ddp_model,
    default_argument_parser,
    default_setup,
)
from detectron2.engine.launch import launch
from detectron2.engine.train_loop import HookBase, TrainerBase

__all__ = [
    "HookBase",
    "TrainerBase",
    "create_ddp_model",
    "default_argument_parser",
    "default_setup",
    "hooks",
    "launch",
]

from detectron2.engine import hooks  # isort: skip  (hooks need the classes above)

__getattr__ = absent_names(__name__)
