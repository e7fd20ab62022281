"""What the C library does with freed memory."""

from __future__ import annotations

import ctypes
import sys

# Names of glibc's <malloc.h>; see mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST_PIECE = 32 << 20  # the most that glibc takes for the second
_KEPT = 256 << 20


def keep_freed_memory() -> bool:
    """Lets glibc keep up to 256 MiB of freed memory for the next image.

    By default it returns pieces of an image's size to the system, which clears every page anew
    when it is asked for it again: a seventh of the time of reading label images. It holds for
    the whole process.

    Returns:
        Whether the C library took it; only glibc has such settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return False
    sizes = ((_M_MMAP_THRESHOLD, _LARGEST_PIECE), (_M_TRIM_THRESHOLD, _KEPT))
    return all(mallopt(name, size) == 1 for name, size in sizes)
