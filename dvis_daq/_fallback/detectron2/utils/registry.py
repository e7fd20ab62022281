"""fvcore's registry under the name that Detectron2 gives it."""

from fvcore.common.registry import Registry

__all__ = ["Registry"]
