"""Let a chosen system call of this process fail: a small C library that is loaded before all others (LD_PRELOAD).

It reaches the calls that SQLite makes, which Python cannot intercept. Needs Linux and a C compiler.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.errors import DeviceError

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long at = 0, count = 0;
static int error = 0;
static char folder[4096];

void fault_arm(long number, int reason, const char *name) {
    at = number; count = 0; error = reason;
    snprintf(folder, sizeof folder, "%s", name);
}
long fault_count(void) { return count; }

static int fails(const char *path) {
    if (!folder[0] || strncmp(path, folder, strlen(folder))) return 0;
    count++;
    if (count != at) return 0;
    errno = error;
    return 1;
}
static int fails_on(int file) {
    char link[64], path[4096];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return fails(path);
}
#define CALL(type, name, where, params, args) \
    type name params { \
        if (where) return -1; \
        return ((type (*) params) dlsym(RTLD_NEXT, #name)) args; \
    }

CALL(ssize_t, write, fails_on(f), (int f, const void *b, size_t n), (f, b, n))
CALL(ssize_t, pwrite, fails_on(f), (int f, const void *b, size_t n, off_t o), (f, b, n, o))
CALL(ssize_t, pwrite64, fails_on(f), (int f, const void *b, size_t n, off64_t o), (f, b, n, o))
CALL(int, fsync, fails_on(f), (int f), (f))
CALL(int, fdatasync, fails_on(f), (int f), (f))
CALL(int, ftruncate, fails_on(f), (int f, off_t n), (f, n))
CALL(int, ftruncate64, fails_on(f), (int f, off64_t n), (f, n))
CALL(int, rename, fails(b), (const char *a, const char *b), (a, b))
CALL(int, unlink, fails(a), (const char *a), (a))
"""


def run_under_shim(words: Sequence[str], folder: Path) -> int:
    """Run `python words...` with the library loaded, and return its exit status. The library is compiled into `folder`.

    Raises DeviceError without a C compiler.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise DeviceError("failing system calls need Linux and a C compiler; install gcc")
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SOURCE)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-w", source, "-o", library, "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library)}
    return subprocess.run([sys.executable, *words], env=environment).returncode


def is_loaded() -> bool:
    """Return whether the library is loaded into this process."""
    return hasattr(ctypes.CDLL(None), "fault_arm")


def arm(at: int, reason: int, folder: Path | None) -> None:
    """Let call number `at` on a file in `folder` fail with the errno `reason`. `folder` None counts no calls."""
    name = b"" if folder is None else os.fsencode(folder.resolve())
    ctypes.CDLL(None).fault_arm(ctypes.c_long(at), ctypes.c_int(reason), ctypes.c_char_p(name))


def calls() -> int:
    """Return how many calls were counted since `arm`."""
    return int(ctypes.CDLL(None).fault_count())
