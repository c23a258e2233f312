"""Windows by rule and bits: the same rows as a list of all windows gives, in memory that does not grow with them."""

import tracemalloc

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.data import grid, labelled
from dragon_jax.data.genome_rows import GenomeRows
from dragon_jax.data.load import data_config
from dragon_jax.data.survey import survey
from dragon_jax.errors import InputError

SIZES = {"chr10": 9000, "chr2": 7000, "chr3": 5000, "chr4": 3001, "scrap": 40, "chr5": 4000}


def write_files(folder):
    """Genome, peaks of two tasks, signal, blacklist and regions; from a raw stream, which NumPy promises to keep."""
    stream = np.random.Philox(key=np.array([7, 0], np.uint64))
    bases = {name: (stream.random_raw(size) >> np.uint64(62)).astype(np.uint8) for name, size in SIZES.items()}
    bases["chr4"][500:900] = dna.reverse_complement(bases["chr10"][994:1394][None])[0]
    bases["chr5"][500:800] = bases["chr3"][2005:2305]
    bases["chr3"][100:700] = 4
    text = {name: dna.decode(codes) for name, codes in bases.items()}
    text["chr2"] = text["chr2"][:3000] + text["chr2"][3000:5000].lower() + text["chr2"][5000:]
    (folder / "genome.fa").write_text("".join(f">{name}\n{letters}\n" for name, letters in text.items()))
    places = {}
    for task, n in (("one", 80), ("two", 50), ("regions", 60)):
        lines = []
        for name in (*list(SIZES)[:4], "chr5"):
            starts = stream.random_raw(n // 5) % np.uint64(SIZES[name] - 200)
            lines += [f"{name}\t{s}\t{s + 40 + s % 90}\tp\t{s % 7}\t.\n" for s in starts.tolist()]
        places[task] = lines
        (folder / f"{task}.bed").write_text("".join(lines))
    (folder / "black.bed").write_text("chr10\t4000\t4600\nchr2\t10\t11\nchr5\t3990\t4000\n")
    spans = [(n, s, s + 50, int(v)) for n in ("chr10", "chr2", "chr3", "chr4", "chr5") for s, v in
             zip(range(0, SIZES[n] - 50, 60), (stream.random_raw(500) % np.uint64(9)).tolist(), strict=False)]  # fmt: skip
    (folder / "cuts.bedgraph").write_text("".join("\t".join(map(str, span)) + "\n" for span in spans))


def cases(folder):
    """The `data` parts of configs that between them go every way from a grid or list of windows to rows."""
    source = {"name": "genome", "genome": str(folder / "genome.fa"), "length": 60, "stride": 7, "label": {"core": 21}}
    source["files"] = {task: str(folder / f"{task}.bed") for task in ("one", "two")}
    by_name = {"name": "chromosome", "valid_values": ("chr3",), "test_values": ("chr4", "chr5"), "duplicates": "drop"}
    black = {"blacklist": (str(folder / "black.bed"),), "unknown": 0.2, "min_positives": 40}
    cuts = str(folder / "cuts.bedgraph")
    covered = {"files": {"cuts": cuts}, "kind": "real", "profiles": {"cuts": (cuts,)}}
    regions = {"windows": "regions", "regions": str(folder / "regions.bed"), "edge": "shift"}
    loci = {"name": "loci", "distance": 3, "overlaps": "drop", "gap": 40, "duplicates": "drop", "valid": 0.3}
    matched = {"name": "matched", "gc_tolerance": 0.2}
    return {
        "bins": {"source": source, "split": by_name},
        "bins off the blacklist": {"source": source | black, "split": by_name},
        "bins by folds": {
            "source": source | {"label": {"rule": "fraction", "ambiguous": 0.2}},
            "split": {"name": "chromosome_folds", "folds": 3, "duplicates": "drop"},
        },
        "signal": {"source": source | covered, "split": by_name},
        "bins by loci": {"source": source | {"stride": 80}, "split": loci | {"distance": 10, "gap": 12}},
        "regions by loci": {"source": source | regions, "split": loci},
        "matched from bins": {"source": source, "split": by_name, "negatives": matched},
        "matched from peaks": {
            "source": source | {"windows": "peaks", "stride": 11, "edge": "pad"},
            "split": by_name,
            "negatives": matched | {"match_repeats": True},
        },
        "matched by loci": {
            "source": source | {"windows": "peaks", "stride": 11},
            "split": loci | {"distance": 30, "gap": 9},
            "negatives": matched | {"gc_tolerance": 0.3},
        },
        "near copies": {"source": source | {"stride": 60}, "split": by_name | {"near_duplicates": "drop"}},
        "copies together": {"source": source, "split": by_name | {"duplicates": "group", "overlaps": "drop"}},
        "near copies together": {
            "source": source | {"stride": 60},
            "split": by_name | {"near_duplicates": "group", "overlaps": "drop"},
        },
    }  # fmt: skip


def found(raw):
    """Rows and row fingerprint of each split, and the notes."""
    opened = data_config(raw).open(3)
    surveys = {name: survey(rows) for name, rows in opened.parts.items()}
    return {name: (s.rows, s.row_fingerprint[:12]) for name, s in surveys.items()}, opened.notes


# Found with lists of all windows, before there were grids and bits.
ROWS = {
    "bins": {"train": (2221, "19ac12266b4e"), "valid": (587, "75e1911cb407"), "test": (984, "bbcf119ef01f")},
    "bins off the blacklist": {
        "train": (2124, "e6d2f65c965f"),
        "valid": (581, "d7d041069f5c"),
        "test": (983, "f9b1025226f0"),
    },
    "bins by folds": {"train": (1184, "6aa6278df4ff"), "valid": (1364, "44817da6f44d"), "test": (1278, "ed1f5f2f6aa0")},
    "signal": {"train": (2221, "24f850e1c5ea"), "valid": (587, "b57e08c050bd"), "test": (984, "0df74b16ec41")},
    "bins by loci": {"train": (201, "30815b8414da"), "valid": (97, "bcdcdb0ff331"), "test": (42, "2952b065ff21")},
    "regions by loci": {"train": (43, "a6d4c439db08"), "valid": (13, "f855eb22fc8f"), "test": (2, "7aecf43cbecd")},
    "matched from bins": {
        "train": (308, "548903b1c05f"),
        "valid": (136, "c768d7f17576"),
        "test": (266, "153acc1b06a4"),
    },
    "matched from peaks": {
        "train": (104, "32127d042cb1"),
        "valid": (46, "c7667c1e3ccb"),
        "test": (102, "b6ddc66ef42a"),
    },
    # (this one with negatives of two splits as far apart as loci are, which the code with lists had yet to learn)
    "matched by loci": {"train": (124, "734fcf9b3dad"), "valid": (96, "ea4181af9870"), "test": (32, "ccf09541afdf")},
    "near copies": {"train": (260, "fe90522787a0"), "valid": (69, "75b6f4d32e8e"), "test": (116, "a119cfc70534")},
    "copies together": {
        "train": (2205, "4eb6406271d2"),
        "valid": (571, "175ea69cb703"),
        "test": (1067, "f7b3c0575fa6"),
    },
    "near copies together": {
        "train": (260, "fe90522787a0"),
        "valid": (69, "75b6f4d32e8e"),
        "test": (126, "78f66c7c7ea3"),
    },
}
NOTES = {
    "bins": {
        "windows dropped with over 50 % unknown bases": 85,
        "copies dropped from valid": 34,
        "copies dropped from train": 49,
    },
    "bins off the blacklist": {
        "windows dropped that touch the blacklist": 98,
        "windows dropped with over 20 % unknown bases": 91,
        "copies dropped from valid": 34,
        "copies dropped from train": 49,
    },
    "bins by folds": {"windows dropped with over 50 % unknown bases": 85, "copies dropped from valid": 49},
    "signal": {
        "windows dropped with over 50 % unknown bases": 85,
        "copies dropped from valid": 34,
        "copies dropped from train": 49,
    },
    "bins by loci": {"windows dropped with over 50 % unknown bases": 8},
    "regions by loci": {"windows dropped from train that overlap valid": 2},
    "matched from bins": {"windows dropped with over 50 % unknown bases": 85},
    "matched from peaks": {"windows dropped with over 50 % unknown bases": 57},
    "near copies": {
        "windows dropped with over 50 % unknown bases": 10,
        "near-duplicates dropped from valid": 4,
        "near-duplicates dropped from train": 6,
    },
    "matched by loci": {"windows dropped with over 50 % unknown bases": 57},
    "copies together": {
        "windows dropped with over 50 % unknown bases": 85,
        "copies moved out of valid": 34,
        "copies moved out of train": 49,
        "windows dropped from valid that overlap test": 16,
        "windows dropped from train that overlap test": 16,
    },
    "near copies together": {
        "windows dropped with over 50 % unknown bases": 10,
        "near-duplicates moved out of valid": 4,
        "near-duplicates moved out of train": 6,
    },
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files, looked at in many small blocks that end inside contigs."""
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(grid, "BLOCK", 136)
    monkeypatch.setattr(labelled, "_READ", 2500)
    write_files(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", list(ROWS))
def test_rows_and_notes_are_those_of_a_list_of_all_windows(folder, name):
    rows, notes = found(cases(folder)[name])
    assert rows == ROWS[name]
    later = ("genome bases", "signal files")  # notes that the old code did not have
    assert {k: n for k, n in notes.items() if not k.startswith(later)} == NOTES[name]


def test_copies_move_without_a_list_of_windows(folder):
    parts = data_config(cases(folder)["copies together"]).open(3).parts
    assert all(isinstance(rows, GenomeRows) and isinstance(rows.windows.source, grid.Grid) for rows in parts.values())


@pytest.mark.parametrize("near", ["ignore", "report", "drop", "group"])
def test_a_split_that_is_all_copies_is_said_to_be_that(folder, near):
    codes = np.random.default_rng(0).integers(0, 4, (2, 2000)).astype(np.uint8)
    texts = {"a": codes[0], "b": codes[0, :400], "c": codes[1]}
    (folder / "genome.fa").write_text("".join(f">{name}\n{dna.decode(x)}\n" for name, x in texts.items()))
    for task in ("one", "two"):
        (folder / f"{task}.bed").write_text("a\t90\t200\nb\t90\t200\nc\t90\t200\n")
    raw = cases(folder)["copies together"]
    raw["source"] = raw["source"] | {"stride": 20}
    raw["split"] = raw["split"] | {"valid_values": ("b",), "test_values": ("a",), "near_duplicates": near}
    with pytest.raises(InputError, match="'valid' is empty: every window of it occurs in another split too"):
        found(raw)


def test_copies_and_neighbours_across_splits_are_refused_with_the_first(folder):
    raw = cases(folder)["bins"]
    raw["split"] = raw["split"] | {"duplicates": "refuse"}
    with pytest.raises(InputError, match=r"34 windows of 'valid' occur in .* \(first: chr3:2009-2069\)"):
        found(raw)
    raw = cases(folder)["regions by loci"]
    raw["split"] = raw["split"] | {"overlaps": "refuse"}
    with pytest.raises(
        InputError, match=r"2 windows of 'train' overlap or lie within 40 bases of 'valid' \(first: chr"
    ):
        found(raw)


@pytest.mark.parametrize("stride", [1, 7, 50])
def test_a_grid_is_the_list_that_it_stands_for(stride):
    contigs = {"a": 131, "short": 9, "b": 10, "c": 260}
    listed = [(i, s) for i, size in enumerate(contigs.values()) for s in range(0, size - 9, stride)]
    windows = grid.Grid(contigs, 10, stride)
    assert len(windows) == len(listed)
    everything = windows.take(slice(None))
    assert list(zip(everything.chrom.tolist(), everything.start.tolist(), strict=True)) == listed
    some = windows.take(np.array([len(listed) - 1, 0]))
    assert list(zip(some.chrom.tolist(), some.start.tolist(), strict=True)) == [listed[-1], listed[0]]
    assert len(grid.Grid({}, 10, 1)) == 0 == len(grid.Grid({"short": 9}, 10, 1))


@pytest.mark.parametrize("contigs", [{"a": 1000, "b": 9, "c": 777}, {"a": 13}, {"a": 5}])
def test_a_choice_is_the_list_of_its_windows(monkeypatch, contigs):
    monkeypatch.setattr(grid, "BLOCK", 64)
    source = grid.Grid(contigs, 10, 1)
    listed = source.take(slice(None))
    chosen = grid.Choice.every(source)
    assert len(chosen) == len(source)
    kept = np.random.default_rng(0).random(len(source)) < 0.3
    kept[128:192] = False  # a block without any
    chosen = chosen.where(lambda block, before: kept[before : before + len(block)])
    expected = listed.take(kept)
    again = chosen.where(lambda block, before: np.arange(before, before + len(block)) % 3 > 0)
    for choice, windows in ((chosen, expected), (again, expected.take(np.arange(len(expected)) % 3 > 0))):
        assert len(choice) == len(windows)
        assert choice.used().tolist() == np.unique(windows.chrom).tolist()
        n = len(windows)
        for part in (slice(None), slice(3, 4), slice(5, 200), slice(n - 1, n + 9), slice(7, 7), slice(n, None)):
            found, wanted = choice.take(part), windows.take(part)
            np.testing.assert_array_equal(found.start, wanted.start)
            np.testing.assert_array_equal(found.chrom, wanted.chrom)
        assert sum(len(block) for _, block in choice.blocks()) == n


def test_memory_does_not_grow_with_the_windows():
    """Ten times the windows cost their bits and no more, where a list of them would cost 12 bytes each."""
    peaks = []
    for windows in (200_000, 2_000_000):
        tracemalloc.start()
        chosen = grid.Choice.every(grid.Grid({"a": windows * 5, "b": windows * 5}, 200, 10))
        part = chosen.where(lambda block, _: (block.chrom == 1) & (block.start % 30 > 0))
        total = sum(int(part.take(slice(at, at + 20_000)).start.max()) for at in range(0, len(part), 20_000))
        assert total > 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1_800_000  # bytes, one for each further window
