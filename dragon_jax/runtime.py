"""Process-wide settings that every command wants: a persistent compilation cache, and memory that is used again."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import sys
from pathlib import Path

from dragon_jax.errors import InputError, show


def cache_folder() -> Path:
    """Returns the user's cache folder of this package: `$DRAGON_CACHE`, or `dragon_jax` in the usual place."""
    if own := os.environ.get("DRAGON_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dragon_jax"


def _processor() -> str:
    """A digest of what this processor can do: machine code compiled for one must not be run on a lesser one."""
    features = platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            features += next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        features += platform.processor()
    return hashlib.sha256(features.encode()).hexdigest()[:8]


def enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, so that the second start of the same network needs no compilation.

    `JAX_COMPILATION_CACHE_DIR` in the environment wins; an empty `DRAGON_CACHE` turns the cache off. A folder that
    cannot be written is no reason to stop: JAX then compiles as always.
    """
    import jax

    if os.environ.get("JAX_COMPILATION_CACHE_DIR") or os.environ.get("DRAGON_CACHE") == "":
        return
    folder = cache_folder() / f"jax-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def check_device() -> None:
    """Raises InputError where `JAX_PLATFORMS` asks for a platform that is not there, before anything is written.

    JAX finds out only when the first array is made, and then by an AssertionError or a RuntimeError. This starts XLA's
    threads, so memory is set up first.
    """
    import jax

    keep_freed_memory()
    try:
        jax.local_devices()
    except (AssertionError, RuntimeError) as e:
        asked = os.environ.get("JAX_PLATFORMS")
        if not asked:
            raise
        said = f" ({show(e, 150)})" if str(e) else ""
        raise InputError(
            f"JAX_PLATFORMS={show(asked)}: expected a platform that JAX finds here, found none of that name{said}. Unset "
            "JAX_PLATFORMS, or, for an NVIDIA GPU, run ./scripts/setup cuda once"
        ) from e


def keep_freed_memory() -> bool:
    """Makes the C library keep memory that is freed, for the next step to use, instead of giving it back each time.

    XLA on a CPU asks for the scratch memory of a program anew at every call. glibc maps blocks above 32 MiB from the
    system and unmaps them afterwards, so that each step of a network pays for clearing all its pages again: 15,000 page
    faults and 11 to 16 of 60 ms in a training step of the primer's network (128 x 1,000 bases, two cores).
    Blocks above 64 MiB need one more setting: threads other than the main one take memory from arenas of that size, and
    glibc maps what does not fit, whatever the limit on mappings; so all threads share the main arena. For the 53 million
    weights of DeepSEA that spared 115,000 page faults and 90 of 430 ms a step.

    Up to 2 GiB of freed memory then stay with the process. Returns whether it took effect; elsewhere than on glibc it
    does nothing, and a `MALLOC_...` variable in the environment is the user's own choice and is left alone.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX of malloc.h
    return all([mallopt(mmap_max, 0), mallopt(trim_threshold, 2**31 - 1), mallopt(arena_max, 1)])
