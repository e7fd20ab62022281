"""Which Detectron2 is in use, and whether torch and torchvision fit together."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Detectron2Choice", "provide_detectron2", "quiet_fvcore", "torchvision_problem"]

FALLBACK = Path(__file__).parent / "_fallback"
VARIABLE = "DVIS_DAQ_DETECTRON2"
TESTED_COMMIT = "02b5c4e295e990042a714712c21dc79b731e8833"


@dataclass(frozen=True)
class Detectron2Choice:
    """The Detectron2 that `import detectron2` gives in this process.

    Attributes:
        real: the real library, not the bundled subset.
        reason: why a real one that was found is not in use; '' if none was found.
    """

    real: bool
    reason: str = ""

    def __str__(self) -> str:
        if self.real:
            return f"Detectron2: the installed library in {_folder(find_spec('detectron2'))}"
        why = self.reason or "no Detectron2 is installed"
        return f"Detectron2: the bundled subset 0.6+lite ({why})"


def provide_detectron2() -> Detectron2Choice:
    """Makes `import detectron2` work; call it before anything imports detectron2.

    A real Detectron2 that has what we need wins; else the bundled subset is appended to the end
    of `sys.path`. The environment variable `DVIS_DAQ_DETECTRON2`, `real` or `lite`, forces one.

    Raises:
        ImportError: `real` is forced and there is no usable one.
        ValueError: the variable has another value.
    """
    forced = os.environ.get(VARIABLE, "")
    if forced not in ("", "real", "lite"):
        raise ValueError(f"{VARIABLE} is '{forced}'; set it to 'real' or 'lite', or unset it")
    if forced == "lite":
        return _use_fallback(f"{VARIABLE}=lite", ahead=True)

    found = find_spec("detectron2")
    installed = found is not None and found.origin is not None and not _is_fallback(found.origin)
    problem = _unusable() if installed else ""
    if installed and not problem:
        return Detectron2Choice(real=True)
    if forced == "real":
        raise ImportError(
            f"{VARIABLE}=real, but {problem or 'no Detectron2 is on the path'}. Install it "
            "(git+https://github.com/facebookresearch/detectron2@"
            f"{TESTED_COMMIT}) or unset {VARIABLE}."
        )
    return _use_fallback(problem, ahead=installed)


def _use_fallback(reason: str, *, ahead: bool) -> Detectron2Choice:
    """Puts the subset on the path, in front of a real one if `ahead`."""
    loaded = sys.modules.get("detectron2")
    if loaded is not None and not getattr(loaded, "__lite__", False):
        raise ImportError(
            f"Another Detectron2 was imported from {loaded.__file__}, and it cannot be used: "
            f"{reason}. Import dvis_daq before detectron2."
        )
    folder = str(FALLBACK)
    if ahead and sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    elif folder not in sys.path:
        sys.path.append(folder)
    return Detectron2Choice(real=False, reason=reason)


def _unusable() -> str:
    """Imports the real library; says what is wrong with it, '' if nothing is.

    The release of 2021 and today's code both call themselves 0.6, so it is asked for what it can
    do. A failed import is undone, for the subset to be imported in its place.
    """
    before = set(sys.modules)
    try:
        with quiet_fvcore():
            for name in ("config", "data", "engine", "evaluation", "checkpoint", "modeling"):
                importlib.import_module(f"detectron2.{name}")
        problem = _missing_capability()
    # torch, numpy and Pillow each break an old or half-built Detectron2 in their own way
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        problem = f"the installed Detectron2 cannot be imported: {error}".splitlines()[0]
    if problem:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "detectron2":
                del sys.modules[name]
    return problem


@contextmanager
def quiet_fvcore() -> Iterator[None]:
    """Around an import of fvcore.nn, which compiles losses in a way that torch calls deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)
        yield


def _missing_capability() -> str:
    from detectron2.engine import AMPTrainer, HookBase

    if not hasattr(HookBase, "after_backward"):
        return "the installed Detectron2 is too old: HookBase has no after_backward"
    if "precision" not in inspect.signature(AMPTrainer).parameters:
        return "the installed Detectron2 is too old: AMPTrainer has no precision"
    return ""


def _is_fallback(origin: str) -> bool:
    return FALLBACK in Path(origin).parents


def _folder(spec: object) -> Path:
    return Path(spec.origin).parent  # type: ignore[attr-defined]


def torchvision_problem(torch: str | None = None, torchvision: str | None = None) -> str:
    """Says in one sentence if a CPU build of torch meets a CUDA build of torchvision.

    This pair cannot be imported: "operator torchvision::nms does not exist".

    Args:
        torch: version of torch, the installed one if None.
        torchvision: version of torchvision, the installed one if None.

    Returns:
        The sentence, '' if the two fit or one is not installed.
    """
    torch = _installed("torch") if torch is None else torch
    torchvision = _installed("torchvision") if torchvision is None else torchvision
    if not torch.endswith("+cpu") or not torchvision or torchvision.endswith("+cpu"):
        return ""
    return (
        f"torch {torch} is a CPU build but torchvision {torchvision} is not, and together they do "
        "not import; install both from one index, e.g. pip install --force-reinstall torch "
        "torchvision --index-url https://download.pytorch.org/whl/cpu"
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def prepare() -> Detectron2Choice:
    """`provide_detectron2` and `torchvision_problem`, with a log line each."""
    logger = logging.getLogger(__name__)
    problem = torchvision_problem()
    if problem:
        logger.warning(problem)
    choice = provide_detectron2()
    surprising = choice.reason and not os.environ.get(VARIABLE)
    logger.log(logging.WARNING if surprising else logging.INFO, "%s", choice)
    return choice
