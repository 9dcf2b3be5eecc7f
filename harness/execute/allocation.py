"""Memory that a worker has been given and keeps, for a small model asks for the same few megabytes thousands of times a minute."""

from __future__ import annotations

import ctypes

SMALL = 5_000_000  # weights; a larger model computes long on every page, and what it leaves behind would be missed
# mallopt's parameters in glibc's malloc.h, in the order they are set: one heap for all threads, grown by steps of 64 MiB, never by a
# mapping of its own for a large block, and never given back.
HELD = {"M_ARENA_MAX": (-8, 1), "M_TOP_PAD": (-2, 64 << 20), "M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, (1 << 31) - 1)}


def keep(weights: int) -> bool:
    """Let this process keep what it allocates, where its model has few weights and its C library is glibc; whether it does.

    Otherwise glibc maps every large tensor anew and gives it back, so that the kernel clears its pages each time: an eighth of the CPU
    seconds of an SFT step in two threads and of an evaluation (docs/performance.md). No number depends on it.
    """
    if weights >= SMALL:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl, macOS, Windows
        return False
    return all(mallopt(parameter, value) for parameter, value in HELD.values())


def give_back() -> None:
    """Hand what is free within this process's memory to the system, where its C library can: between jobs, so that none inherits holes."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
