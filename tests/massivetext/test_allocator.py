"""What is freed is kept: used again, it costs no page fault."""

import platform
import subprocess
import sys

import pytest

from massivetext import allocator

AGAIN = """
import ctypes, resource, sys
from massivetext.allocator import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
size = 80 << 20  # more than any threshold that malloc adapts by itself

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_memory_used_again_costs_no_page_faults():
    def second(what):
        command = [sys.executable, "-c", AGAIN, what]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert second("keep") < 10 < second("leave")


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    allocator.keep_freed_memory()
