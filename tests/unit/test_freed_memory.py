import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, threading
import numpy as np
from dvis_daq.freed_memory import keep_freed_memory
if {keep}:
    assert keep_freed_memory(256 << 20)
def decode():
    for _ in range(20):
        images = [np.ones(size << 20, np.uint8) for size in (3, 4, 3, 48)]
        del images
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=decode)
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_images_reuse_the_memory_of_earlier_ones():
    faults = {
        keep: int(subprocess.check_output([sys.executable, "-c", FAULTS.format(keep=keep)]))
        for keep in (True, False)
    }
    assert faults[True] < 0.5 * faults[False]
