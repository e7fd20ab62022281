"""Which errors end a program with one line."""

import pytest
import torch

from dvis_daq.config import get_config
from dvis_daq.engine.setup import one_line_errors


def test_our_errors_and_those_of_files_are_one_line() -> None:
    with pytest.raises(SystemExit, match="error: nowhere.yaml: no such"), one_line_errors():
        get_config("nowhere.yaml")
    with pytest.raises(SystemExit, match="error: .*No such file"), one_line_errors():
        open("nowhere.txt")  # noqa: SIM115


def test_foreign_errors_keep_their_traceback() -> None:
    with pytest.raises(ValueError, match="num_channels"), one_line_errors():
        torch.nn.GroupNorm(32, 16)
