"""The path manager: local files, http(s) and `detectron2://` addresses of released weights."""

from __future__ import annotations

from typing import IO, Any

from iopath.common.file_io import HTTPURLHandler, PathHandler
from iopath.common.file_io import PathManager as _PathManager

__all__ = ["PathHandler", "PathManager"]

PathManager = _PathManager()


class _ReleaseHandler(PathHandler):
    """Serves `detectron2://X` from the public download site."""

    PREFIX = "detectron2://"
    SITE = "https://dl.fbaipublicfiles.com/detectron2/"

    def _get_supported_prefixes(self) -> list[str]:
        return [self.PREFIX]

    def _get_local_path(self, path: str, **kwargs: Any) -> str:
        return PathManager.get_local_path(self.SITE + path[len(self.PREFIX) :], **kwargs)

    def _open(self, path: str, mode: str = "r", buffering: int = -1, **kwargs: Any) -> IO[Any]:
        return open(self._get_local_path(path), mode)


PathManager.register_handler(HTTPURLHandler())
PathManager.register_handler(_ReleaseHandler())
