"""The plan of the house holds: floors, file sizes, light doors, configs that work."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from dragon_jax.config import plain
from dragon_jax.config_flags import load_config, load_module
from dragon_jax.runs.settings import parse

ROOT = Path(__file__).resolve().parent.parent
FLOORS = [
    ("errors", "dna", "config", "sections", "metrics", "ranking", "files", "runtime", "tensors"),
    ("genome", "motifs"),
    ("data",),
    ("models", "baselines"),
    ("training",),
    ("runs",),
    ("evaluation",),
    ("reports",),
    ("api", "cli", "cli_arguments", "config_flags", "profile_file", "scoring"),
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted((ROOT / "dragon_jax").rglob("*.py"))


def rooms_imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dragon_jax":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else [a.name for a in node.names]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_room_imports_from_its_floor_or_below_and_fits_on_the_page(path):
    parts = path.relative_to(ROOT / "dragon_jax").with_suffix("").parts
    assert len(path.read_text().splitlines()) <= 500
    if parts[0] == "__init__":
        return
    assert parts[0] in FLOOR, f"{parts[0]} has no floor"
    above = [room for room in rooms_imported(path) if FLOOR.get(room, 0) > FLOOR[parts[0]]]
    assert not above


CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_config_parses_and_its_sweeps_and_ablations_fit_it(path):
    """No data is needed: only the settings are read. Every override must name a field and keep its type."""
    config = load_config(str(path))
    parse(config)
    assert "dragon train" in path.read_text().split('"""')[1]
    module, _ = load_module(str(path))
    for generator in ("sweep", "ablations"):
        overrides = list(getattr(module, generator, lambda: [{}])())
        assert overrides
        for override in overrides:
            changed = load_config(str(path))
            changed.update_from_flattened_dict(override)
            parse(plain(changed))
    if hasattr(module, "ablations"):
        assert list(module.ablations())[0] == {}


def test_importing_the_package_is_light():
    code = "import sys, dragon_jax; print(sorted({'jax', 'numpy', 'flax', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
