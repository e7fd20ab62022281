"""Scripts of the repository as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import PurePosixPath
from types import ModuleType

from tests.conftest import ROOT


def load_script(path: str) -> ModuleType:
    """Imports a script by its path from the root of the repository, without running it."""
    name = PurePosixPath(path).stem
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
