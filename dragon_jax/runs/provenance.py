"""Where a number comes from: versions, device, code, command, times."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "ml-collections", "numpy", "grain", "tensorflow-datasets", "scikit-learn",
)  # fmt: skip


def now() -> str:
    """Returns the time as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def code_digest() -> str:
    """Returns a short digest of the package's source, so that edited code is never mistaken for a release."""
    digest = hashlib.sha256()
    root = Path(__file__).resolve().parent.parent
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in ("dragon_jax", *PACKAGES):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def cores() -> int:
    """Returns how many CPU cores this process may use; on CPU the bits of a result depend on it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def provenance(device: str, seed: int) -> dict[str, Any]:
    """Returns what `provenance.json` starts with."""
    return {
        "started": now(),
        "command": sys.argv,
        "directory": os.getcwd(),
        "code": code_digest(),
        "versions": versions(),
        "device": device,
        "cpu_cores": cores(),
        "platform": platform.platform(),
        "seed": seed,
    }
