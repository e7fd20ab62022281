"""What a process asks of the machine it runs on: threads, and how memory is given back."""

from __future__ import annotations

import ctypes
import sys

import torch
from detectron2.config import CfgNode

# Names of glibc's <malloc.h>; see mallopt(3).
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def prepare_host(cfg: CfgNode) -> None:
    """Sets the threads, and keeps freed memory where tensors live in main memory.

    Args:
        cfg: CPU_THREADS, CPU_KEEP_MEMORY and MODEL.DEVICE are read.
    """
    if cfg.CPU_THREADS > 0:
        torch.set_num_threads(cfg.CPU_THREADS)
    if cfg.CPU_KEEP_MEMORY and cfg.MODEL.DEVICE == "cpu":
        keep_freed_memory()


def keep_freed_memory() -> bool:
    """Lets the C library reuse freed memory instead of returning it to the system.

    By default glibc maps each large tensor anew, and the system clears every page of it at its
    first touch: a fifth of the time of a segmenter on a CPU (`docs/benchmarks.md`).

    Returns:
        Whether the C library took it; only glibc has such settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))
