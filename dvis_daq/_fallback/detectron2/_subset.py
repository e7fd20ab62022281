"""What a user reads when something of Detectron2 is not in this subset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from typing import Any, NoReturn

_MESSAGE = (
    "'{name}' is not in the Detectron2 subset bundled with dvis_daq (0.6+lite); "
    "install the real one: pip install --no-build-isolation "
    "'git+https://github.com/facebookresearch/detectron2@02b5c4e295e990042a714712c21dc79b731e8833'"
)


def absent_names(module: str) -> Callable[[str], Any]:
    """Returns the `__getattr__` of a module of the subset.

    Args:
        module: the `__name__` of the module.
    """

    def absent(name: str) -> NoReturn:
        if name.startswith("__"):  # probed by Python itself; the text would only mislead
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        raise AttributeError(_MESSAGE.format(name=f"{module}.{name}"))

    return absent


class AbsentModuleFinder(MetaPathFinder):
    """Last in `sys.meta_path`: only modules that nobody else found get here."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None) -> None:
        """Refuses `detectron2.*`.

        `from detectron2.structures import Boxes` ends here as well. The error does not carry the
        name of the module, or Python would replace it by a bare "cannot import name".

        Raises:
            ModuleNotFoundError: `fullname` lies in `detectron2`.
        """
        if fullname.startswith("detectron2."):
            raise ModuleNotFoundError(_MESSAGE.format(name=fullname), name="detectron2")
