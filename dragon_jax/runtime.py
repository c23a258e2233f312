"""Process-wide settings of JAX that every command wants: a persistent compilation cache."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path


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
