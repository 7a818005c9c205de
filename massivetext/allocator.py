"""The allocator of the C library, told to keep what is freed, because it is asked for again.

XLA's CPU allocates its temporary memory at each call, the kernels of a pipeline theirs for each
batch. glibc maps blocks of that size from the operating system and gives them back when they are
freed, so every one of them would be touched for the first time: a sixth of the time of training 6
layers of 256.
"""

import ctypes
import platform

# The parameters of mallopt(3) in glibc's malloc.h, and what they are set to.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX, ARENA_MAX = -1, -2, -4, -8
SETTINGS = {
    MMAP_MAX: 0,  # large blocks come from the heap as well,
    TRIM_THRESHOLD: 2**31 - 1,  # whose free end stays,
    TOP_PAD: 64 << 20,  # which grows in large steps,
    ARENA_MAX: 1,  # and which is one: other threads' heaps hold no blocks of more than 64 MiB.
}


def keep_freed_memory() -> None:
    """Let this process keep freed memory: what it has in use stays at its peak from here on.

    Only glibc has the settings; elsewhere nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        for parameter, value in SETTINGS.items():
            ctypes.CDLL(None).mallopt(parameter, value)
