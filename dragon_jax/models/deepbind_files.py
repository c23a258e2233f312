"""Parameter files of the released DeepBind models, read strictly and written back.

Text, `name = values separated by commas` on each line, after a first line `# deepbind 0.1`. Alipanahi, Delong, Weirauch,
Frey, Nat. Biotechnol. 33, 831-838 (2015), doi:10.1038/nbt.3300. With D detectors of m bases, H = D or 2 D pooled values
and K hidden units (0 = no hidden layer):

| name | values |
|---|---|
| reverse_complement, has_avg_pooling | 0 or 1 |
| num_detectors, detector_len, num_hidden | D, m, K |
| detectors | m x 4 x D, the detector runs fastest, then the base (A C G T), then the position |
| thresholds | D, added to the detector's sum |
| weights1 | H x max(1, K), the output runs fastest; with average pooling inputs are max_0, mean_0, max_1, mean_1, ... |
| biases1 | max(1, K) |
| weights2, biases2 | K and 1; empty without a hidden layer |
"""

from __future__ import annotations

import dataclasses
import os
import re

import numpy as np
from jaxtyping import Float32

from dragon_jax.errors import InputError, listing, nearest, show
from dragon_jax.files import TextFile, atomic_write, utf8

FORMAT = "deepbind 0.1"
CITATION = "Alipanahi, Delong, Weirauch, Frey. Nat. Biotechnol. 33, 831-838 (2015), doi:10.1038/nbt.3300"
_FLAGS = ("reverse_complement", "has_avg_pooling")
_SIZES = {"num_detectors": (1, 10_000), "detector_len": (1, 1_000), "num_hidden": (0, 10_000)}
_ARRAYS = ("detectors", "thresholds", "weights1", "biases1", "weights2", "biases2")
_ORDER = ("reverse_complement", "num_detectors", "detector_len", "has_avg_pooling", "num_hidden", *_ARRAYS)
_LINES = 100  # the format has 12


@dataclasses.dataclass(frozen=True, eq=False)
class DeepBindParameters:
    """The numbers of one model, in the shapes in which they are used.

    Attributes:
        reverse_complement: both strands are scored and the larger score counts (DNA); else only the given one (RNA).
        mean_pool: the mean over positions is pooled beside the maximum.
        detectors: float32 `[m, 4, D]`, kernel of a cross-correlation. thresholds: float32 `[D]`, added.
        weights1, biases1: float32 `[H, K]` and `[K]`, the hidden layer; K = 1 and the score itself where there is none.
        weights2, biases2: float32 `[K, 1]` and `[1]` after a hidden layer, else `[0, 1]` and `[0]`.
    """

    reverse_complement: bool
    mean_pool: bool
    detectors: Float32[np.ndarray, "m 4 D"]
    thresholds: Float32[np.ndarray, " D"]
    weights1: Float32[np.ndarray, "H K"]
    biases1: Float32[np.ndarray, " K"]
    weights2: Float32[np.ndarray, "Q 1"]
    biases2: Float32[np.ndarray, " R"]

    @property
    def width(self) -> int:
        """Bases of a detector, m."""
        return self.detectors.shape[0]

    @property
    def hidden(self) -> int:
        """Hidden units, 0 where there is no hidden layer."""
        return len(self.weights2)

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum(getattr(self, name).size for name in _ARRAYS)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays by name, as `from_arrays` takes them."""
        return {name: getattr(self, name) for name in _ARRAYS}


def shapes(detectors: int, width: int, mean_pool: bool, hidden: int) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every array of a model."""
    pooled = detectors * (2 if mean_pool else 1)
    return {
        "detectors": (width, 4, detectors),
        "thresholds": (detectors,),
        "weights1": (pooled, max(1, hidden)),
        "biases1": (max(1, hidden),),
        "weights2": (hidden, 1),
        "biases2": (1 if hidden else 0,),
    }


def read_deepbind(path: str | os.PathLike) -> DeepBindParameters:
    """Reads a parameter file, plain or gzip.

    Raises:
        InputError: another kind of file, a name that is unknown, missing or there twice, a value that is no number, or an
            array of the wrong size; file, line and name are said.
    """
    with TextFile(path) as file:
        fields = _fields(file)
    name = show(os.fspath(path), 300)
    if missing := [field for field in _ORDER if field not in fields]:
        raise InputError(
            f"{name} lacks {listing(missing)}: expected all {len(_ORDER)} fields of {FORMAT}. Is it cut off?"
        )
    flags = {field: bool(_whole(name, field, *fields[field], 0, 1)) for field in _FLAGS}
    sizes = {field: _whole(name, field, *fields[field], *bounds) for field, bounds in _SIZES.items()}
    expected = shapes(sizes["num_detectors"], sizes["detector_len"], flags["has_avg_pooling"], sizes["num_hidden"])
    arrays = {field: _array(name, field, *fields[field], expected[field]) for field in _ARRAYS}
    return DeepBindParameters(
        reverse_complement=flags["reverse_complement"], mean_pool=flags["has_avg_pooling"], **arrays
    )


def write_deepbind(path: str | os.PathLike, parameters: DeepBindParameters) -> None:
    """Writes a parameter file that reads back as the same float32 numbers; it appears whole or not at all."""
    p = parameters
    sizes = {
        "reverse_complement": int(p.reverse_complement),
        "num_detectors": len(p.thresholds),
        "detector_len": p.width,
        "has_avg_pooling": int(p.mean_pool),
        "num_hidden": p.hidden,
    }
    lines = [f"# {FORMAT}", *(f"{name} = {value}" for name, value in sizes.items())]
    lines += [f"{name} = {','.join(f'{x:.9e}' for x in array.ravel().tolist())}" for name, array in p.arrays().items()]
    with atomic_write(path) as out:
        out.write("\n".join(lines) + "\n")


def _fields(file: TextFile) -> dict[str, tuple[int, str]]:
    """Returns line number and text of every field."""
    fields: dict[str, tuple[int, str]] = {}
    raw = b"\n"
    for number, raw in enumerate(file, 1):
        where = f"{file.name}, line {number}"
        if number == 1 and not re.match(rb"#\s*deepbind\s", raw):
            raise InputError(
                f"{where}: expected '# {FORMAT}', found {show(repr(raw[:40].decode('latin-1').strip()))}. Is this a DeepBind "
                "parameter file?"
            )
        line = utf8(raw, where).strip()
        if number == 1 and line.lstrip("# \t") != FORMAT:
            raise InputError(f"{where}: expected version '{FORMAT}', found '{show(line)}'. Only that version is known")
        if not line or line.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or number > _LINES:
            raise InputError(f"{where}: expected 'name = values', found '{show(line)}'. Is this the right file?")
        if name not in _ORDER:
            raise InputError(
                f"{where}: no such field '{show(name)}'{nearest(name, _ORDER)}. Fields: {listing(_ORDER, 20)}"
            )
        if name in fields:
            raise InputError(f"{where}: field '{name}' twice, lines {fields[name][0]} and {number}: expected it once")
        fields[name] = (number, value)
    if fields and not raw.endswith(b"\n"):
        # A number that lost its last digits is still a number.
        raise InputError(
            f"{file.name}: expected a line end after the last value, found none. Is it cut off? Copy it again"
        )
    if not fields:
        raise InputError(f"no parameters in {file.name}: expected a file that begins with '# {FORMAT}'. Is it cut off?")
    return fields


def _whole(path: str, name: str, line: int, text: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise InputError(
            f"{path}, line {line}: expected {name} as a whole number in {low}..{high:,}, found '{show(text)}'. Was it edited?"
        )
    return int(text)


def _array(path: str, name: str, line: int, text: str, shape: tuple[int, ...]) -> np.ndarray:
    cells = text.split(",") if text else []
    size = int(np.prod(shape))
    if len(cells) != size:
        raise InputError(
            f"{path}, line {line}: expected {size:,} values of {name} ({' x '.join(map(str, shape))}), found {len(cells):,}. "
            "Is the file cut off, or a size wrong?"
        )
    try:
        with np.errstate(over="ignore"):
            values = np.array([float(cell) for cell in cells]).astype(np.float32)
    except ValueError as e:
        bad = next(i for i, cell in enumerate(cells) if not _is_number(cell))
        raise InputError(
            f"{path}, line {line}: expected numbers in {name}, found '{show(cells[bad])}' as value {bad + 1}. Was it edited?"
        ) from e
    if not np.isfinite(values).all():
        bad = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(
            f"{path}, line {line}: expected finite float32 numbers in {name}, found '{show(cells[bad])}' as value {bad + 1}"
        )
    return values.reshape(shape)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
        return True
    except ValueError:
        return False
