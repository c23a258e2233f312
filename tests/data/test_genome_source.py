"""Source `genome`, from files to splits: a small genome whose peaks and repeats are known."""

import numpy as np
import pytest

from dragon_jax import dna
from dragon_jax.data.load import data_config
from dragon_jax.data.rows import chunks, gathered
from dragon_jax.errors import InputError
from dragon_jax.genome.algebra import overlap_bases
from dragon_jax.genome.intervals import Intervals

SIZES = {"chrI": 6000, "chrII": 5000, "chrIII": 4000, "chrIV": 3000}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A genome in Roman numbers with peaks in Arabic ones; chrII:1000-1200 and chrIV:500-700 are copies."""
    monkeypatch.setenv("DRAGON_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    bases = {name: rng.integers(0, 4, size).astype(np.uint8) for name, size in SIZES.items()}
    bases["chrIV"][500:700] = dna.reverse_complement(bases["chrII"][1000:1200])
    bases["chrIII"][:150] = 4
    genome = tmp_path / "genome.fa"
    genome.write_text("".join(f">{name}\n{dna.decode(codes)}\n" for name, codes in bases.items()))
    peaks = {}
    for task, n in (("reb1", 60), ("abf1", 40)):
        chrom = rng.integers(1, 5, n)
        start = rng.integers(200, 2800, n)
        peaks[task] = [(f"chr{c}", int(s), int(s) + 1) for c, s in zip(chrom, start, strict=True)]
        (tmp_path / f"{task}_CX.bed").write_text("".join(f"{c}\t{s}\t{e}\tp\t{7}\t.\n" for c, s, e in peaks[task]))
    return tmp_path, bases, peaks


def config(folder, negatives=None, split=None, **source):
    fields = {
        "name": "genome",
        "genome": str(folder / "genome.fa"),
        "peaks": str(folder / "{task}_CX.bed"),
        "contigs": "roman",
        "length": 100,
        "stride": 50,
        "label": {"core": 50},
        **source,
    }
    split = {"name": "chromosome", "valid_values": ("chrIII",), "test_values": ("chrIV",), **(split or {})}
    return data_config({"source": fields, "split": {"duplicates": "drop", **split}, "negatives": negatives or {}})


def test_bins_carry_the_bases_and_labels_of_their_place(files):
    folder, bases, peaks = files
    loaded = config(folder).load(0, ("train", "valid", "test"))
    assert [t.name for t in loaded.parts["train"].tasks] == ["abf1", "reb1"]
    roman = dict(zip(("chr1", "chr2", "chr3", "chr4"), SIZES, strict=True))
    seen = 0
    for split, names in (("train", {"chrI", "chrII"}), ("valid", {"chrIII"}), ("test", {"chrIV"})):
        data = loaded.parts[split]
        assert set(data.regions.chrom.tolist()) == names
        for row, (chrom, start, end) in enumerate(
            zip(data.regions.chrom, data.regions.start, data.regions.end, strict=True)
        ):
            assert end - start == 100
            np.testing.assert_array_equal(data.codes[row], bases[chrom][start:end])
            for column, task in enumerate(("abf1", "reb1")):
                hit = any(roman[c] == chrom and start + 25 <= s < start + 75 for c, s, _ in peaks[task])
                assert data.targets[row, column] == hit
            seen += 1
    assert seen > 300
    assert "windows dropped with over 50 % unknown bases" in loaded.notes


def test_a_copy_on_another_chromosome_leaves_the_less_protected_split(files):
    folder, _, _ = files
    loaded = config(folder).load(0, ("train", "test"))
    test, train = ({bytes(c) for c in dna.canonical(loaded.parts[s].codes)} for s in ("test", "train"))
    assert not test & train
    assert loaded.notes["copies dropped from train"] == 3  # chrII:1000-1200 holds three windows of the grid
    with pytest.raises(InputError, match=r"3 windows of 'train' occur in a more protected split too.*chrII:1000-1100"):
        config(folder, split={"duplicates": "refuse"}).load(0)


def test_a_copy_moves_to_the_most_protected_split_that_has_one(files):
    folder, _, _ = files
    dropped = config(folder).load(0, ("train", "valid", "test")).parts
    fields = {"duplicates": "group", "overlaps": "drop"}
    loaded = config(folder, split=fields).load(0, ("train", "valid", "test"))
    parts = loaded.parts
    moved = {"chrII:1000-1100", "chrII:1050-1150", "chrII:1100-1200"}
    assert set(parts["test"].ids.tolist()) == set(dropped["test"].ids.tolist()) | moved
    assert loaded.notes["copies moved out of train"] == 3
    beside = {"chrII:950-1050", "chrII:1150-1250"}  # they share bases with windows that are test now
    assert set(dropped["train"].ids.tolist()) - set(parts["train"].ids.tolist()) == beside
    assert loaded.notes["windows dropped from train that overlap test"] == 2
    assert parts["valid"].ids.tolist() == dropped["valid"].ids.tolist()
    with pytest.raises(InputError, match=r"2 windows of 'train' overlap 'test' \(first: chrII:950-1050\)"):
        config(folder, split={"duplicates": "group"}).load(0)


def test_families_that_move_take_no_overlaps_along(files):
    folder, bases, _ = files
    near = bases["chrI"][1980:2080].copy()
    near[np.arange(5, 100, 20)] = 4
    bases["chrIV"][990:1090] = near
    (folder / "genome.fa").write_text("".join(f">{name}\n{dna.decode(codes)}\n" for name, codes in bases.items()))
    split = {"near_duplicates": "group", "similarity": 0.9, "overlaps": "drop"}
    parts = config(folder, split=split, stride=90).load(0, ("train", "valid", "test")).parts
    assert "chrI:1980-2080" in parts["test"].ids
    spans = [
        Intervals(d.regions.chrom.astype(str), d.regions.start.astype(np.int64), d.regions.end.astype(np.int64))
        for d in parts.values()
    ]
    for i, one in enumerate(spans):
        for other in spans[i + 1 :]:
            assert not overlap_bases(one, other).any()


@pytest.mark.parametrize("gap", [0, 30])
def test_matched_negatives_go_with_the_loci_around_them(files, gap):
    folder, _, peaks = files
    split = {
        "name": "loci",
        "valid_values": (),
        "test_values": (),
        "valid": 0.3,
        "test": 0.3,
        "gap": gap,
        "distance": 50,
    }
    negatives = {"name": "matched", "gc_tolerance": 0.3}
    opened = config(folder, negatives, split, windows="peaks", stride=10).open(0)
    parts = {name: gathered(rows) for name, rows in opened.parts.items()}
    assert set(parts) == {"train", "valid", "test"} and not any("overlap" in note for note in opened.notes)
    rows = [
        (c, s, e, n)
        for n, d in parts.items()
        for c, s, e in zip(d.regions.chrom, d.regions.start, d.regions.end, strict=True)
    ]
    for a in rows:
        for b in rows:
            if a[3] != b[3] and a[0] == b[0]:
                assert a[2] + gap <= b[1] or b[2] + gap <= a[1]
    for data in parts.values():
        assert 0.9 <= (data.targets.max(1) == 1).mean() * 2 <= 1.1


def test_rows_are_the_same_in_any_chunks(files):
    folder, _, _ = files
    opened = config(folder).open(0)
    rows = opened.parts["train"]
    whole = gathered(rows)
    for size in (1000, 37):
        parts = list(chunks(rows, size))
        np.testing.assert_array_equal(np.concatenate([p.codes for p in parts]), whole.codes)
        np.testing.assert_array_equal(np.concatenate([p.targets for p in parts]), whole.targets)
        assert np.concatenate([p.ids for p in parts]).tolist() == whole.ids.tolist()
    assert whole.ids[0] == "chrI:0-100"
    assert sorted(opened.files) == sorted(str(folder / f) for f in ("genome.fa", "abf1_CX.bed", "reb1_CX.bed"))


def test_matched_negatives_avoid_every_peak_and_match_gc(files):
    folder, _, peaks = files
    negatives = {"name": "matched", "per_positive": 1, "gc_tolerance": 0.1}
    setup = config(folder, negatives, windows="peaks", stride=10)
    opened = setup.open(0)
    assert len(opened.matching) == 3 and "negatives for" in opened.matching[0]
    roman = dict(zip(("chr1", "chr2", "chr3", "chr4"), SIZES, strict=True))
    every = [(roman[c], s) for task in peaks.values() for c, s, _ in task]
    everywhere = Intervals(
        np.array([c for c, _ in every]), np.array([s for _, s in every], np.int64), np.array([s + 1 for _, s in every])
    )
    for rows in opened.parts.values():
        data = gathered(rows)
        positive = (data.targets == 1).any(1)
        assert 0.45 < positive.mean() <= 0.55
        regions = data.regions.take(~positive)
        assert not overlap_bases(Intervals(regions.chrom, regions.start, regions.end), everywhere).any()
        assert len(set(data.ids.tolist())) == len(data)
        gap = abs(dna.gc_content(data.codes[positive]).mean() - dna.gc_content(data.codes[~positive]).mean())
        assert gap < 0.04
    again, other = config(folder, negatives, windows="peaks", stride=10).open(0), setup.open(1)
    ids = [gathered(o.parts["train"]).ids.tolist() for o in (opened, again, other)]
    assert ids[0] == ids[1] != ids[2]


def test_negatives_that_the_pool_does_not_hold_are_refused_with_numbers(files):
    folder, _, _ = files
    with pytest.raises(InputError, match=r"expected .* found"):
        config(folder, {"name": "matched", "per_positive": 50}, windows="peaks").open(0)


def test_blacklisted_windows_are_gone_and_counted(files):
    folder, _, _ = files
    (folder / "black.bed").write_text("chr1\t1000\t2000\n")
    loaded = config(folder, blacklist=(str(folder / "black.bed"),)).load(0)
    regions = loaded.parts["train"].regions
    inside = (regions.chrom == "chrI") & (regions.end > 1000) & (regions.start < 2000)
    assert not inside.any()
    assert loaded.notes["windows dropped that touch the blacklist"] == 21


def test_profiles_and_signal_tasks_come_from_the_same_place(files):
    folder, _, _ = files
    rng = np.random.default_rng(3)
    signal = {name: rng.integers(0, 5, size) for name, size in SIZES.items()}
    lines = [f"{n}\t{i}\t{i + 1}\t{v}\n" for n, values in signal.items() for i, v in enumerate(values)]
    (folder / "cuts.bedgraph").write_text("".join(lines))
    track = str(folder / "cuts.bedgraph")
    loaded = config(folder, peaks="", files={"cuts": track}, kind="real", profiles={"cuts": (track,)}).load(0)
    data = loaded.parts["valid"]
    for row in range(0, len(data), 7):
        start = int(data.regions.start[row])
        np.testing.assert_allclose(data.inputs["cuts"][row, :, 0], signal["chrIII"][start : start + 100])
        np.testing.assert_allclose(data.targets[row, 0], signal["chrIII"][start + 25 : start + 75].mean(), rtol=1e-6)


def test_profiles_whose_logarithm_is_no_number_are_refused(files):
    folder, _, _ = files
    (folder / "x.bedgraph").write_text("chrIII\t0\t700\t3\nchrIII\t700\t701\t-2\n")
    fields = {"profiles": {"x": (str(folder / "x.bedgraph"),)}}
    assert config(folder, **fields).load(0).parts["valid"].inputs["x"].min() == -2
    with pytest.raises(
        InputError, match=r"x.bedgraph, window chrIII:650-750: expected more than -1 for log\(1 \+ x\), found -2"
    ):
        config(folder, **fields, profile_log1p=True).load(0)


def test_a_table_of_tracks_names_kinds_and_paths_beside_itself(files):
    folder, _, _ = files
    (folder / "tracks.tsv").write_text("task\tpath\tkind\tcell\nA\tabf1_CX.bed\treal\tyeast\nR\treb1_CX.bed\t\t\n")
    loaded = config(folder, peaks="", tracks=str(folder / "tracks.tsv")).load(0)
    assert [(t.name, t.kind) for t in loaded.parts["train"].tasks] == [("A", "real"), ("R", "binary")]
    assert set(np.unique(loaded.parts["train"].targets[:, 0])) == {0.0, 7.0}


def test_rare_tasks_are_left_out_by_their_train_windows(files):
    folder, _, _ = files
    (folder / "rare_CX.bed").write_text("chr3\t1000\t1001\nchr1\t500\t501\n")
    loaded = config(folder, min_positives=3, label={"core": 50, "absent": "zero"}).load(0)
    assert [t.name for t in loaded.parts["train"].tasks] == ["abf1", "reb1"]
    assert loaded.notes["tasks left out with fewer than 3 positive windows in train"] == 1
    with pytest.raises(InputError, match="no task has 3,000 positive windows in train"):
        config(folder, min_positives=3000).load(0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"contigs": "exact"}, r"chr1.*chrI.*no name in common"),
        ({"exclude": ("chrV",)}, r"data.source.exclude: contig 'chrV' is not in .*; did you mean chr"),
        ({"peaks": "peaks.bed"}, r"data.source.peaks: expected a path with \{task\} once, found 'peaks.bed'"),
        ({"peaks": "nowhere/{task}.bed"}, r"data.source.peaks: no file fits 'nowhere/\{task\}.bed'"),
        ({"length": 9000}, r"no window is left"),
    ],
)
def test_what_cannot_work_is_refused(files, fields, said):
    with pytest.raises(InputError, match=said):
        config(files[0], **fields).load(0)


def test_splits_that_need_sequences_and_overlaps_between_splits_are_refused(files):
    folder, _, _ = files
    with pytest.raises(InputError, match=r"data.split.name: 'hash' divides sequences, found a genome"):
        data_config(
            {"source": {"name": "genome", "genome": str(folder / "genome.fa"), "peaks": str(folder / "{task}_CX.bed"),
                        "contigs": "roman"}, "split": {"name": "hash"}}
        ).load(0)  # fmt: skip


def test_matched_negatives_need_a_genome():
    with pytest.raises(InputError, match="data.negatives.name: 'matched' needs the source 'genome'"):
        data_config({"source": {"name": "simulation"}, "negatives": {"name": "matched"}}).load(0)


def test_near_copies_on_another_chromosome_are_found(files):
    folder, bases, _ = files
    rng = np.random.default_rng(5)
    near = bases["chrI"][2000:2200].copy()
    near[rng.choice(200, 6, replace=False)] = 4
    bases["chrIV"][1000:1200] = near
    (folder / "genome.fa").write_text("".join(f">{name}\n{dna.decode(codes)}\n" for name, codes in bases.items()))
    split = {"near_duplicates": "drop", "similarity": 0.9}
    loaded = config(folder, split=split).load(0)
    plain = config(folder).load(0)
    gone = set(plain.parts["train"].ids.tolist()) - set(loaded.parts["train"].ids.tolist())
    assert {"chrI:2000-2100", "chrI:2050-2150", "chrI:2100-2200"} <= gone
    places = [(chrom, int(start.split("-")[0])) for chrom, start in (name.split(":") for name in gone)]
    assert all((c == "chrI" and 1900 < s < 2200) or (c == "chrII" and 900 < s < 1200) for c, s in places)


@pytest.mark.parametrize(
    "split", [{"name": "chromosome_folds", "folds": 3, "fold": 1}, {"name": "loci", "distance": 0, "overlaps": "drop"}]
)
def test_other_divisions_by_position(files, split):
    folder, _, _ = files
    fields = {"valid_values": (), "test_values": (), **split}
    negatives = {"name": "matched", "gc_tolerance": 0.2} if split["name"] != "loci" else {"name": "dinucleotide"}
    loaded = config(folder, negatives, fields, windows="peaks", stride=10).load(0, ("train", "valid", "test"))
    parts = loaded.parts
    assert sum(map(len, parts.values())) > 80
    if split["name"] == "chromosome_folds":
        chroms = [set(data.regions.chrom.tolist()) for data in parts.values()]
        assert set.union(*chroms) == set(SIZES) and sum(map(len, chroms)) == 4


def test_the_check_page_shows_how_negatives_match(files):
    from dragon_jax.data.checkup import check_config
    from dragon_jax.reports.checkup_page import checkup_page

    folder, _, _ = files
    source = {"name": "genome", "genome": str(folder / "genome.fa"), "peaks": str(folder / "{task}_CX.bed")}
    source |= {"contigs": "roman", "length": 100, "stride": 10, "windows": "peaks", "label": {"core": 50}}
    split = {"name": "chromosome", "valid_values": ("chrIII",), "test_values": ("chrIV",), "duplicates": "drop"}
    negatives = {"name": "matched", "gc_tolerance": 0.1}
    found = check_config({"data": {"source": source, "split": split, "negatives": negatives}}, "small")
    assert set(found.matching) == {"train", "valid"}  # how many positives test has is among its labels
    assert not any(line.startswith("test: ") for line in found.audit)
    for report in found.matching.values():
        assert sum(report["gc"]["chosen"]) == report["chosen"] == sum(report["gc"]["positives"])
    page = checkup_page(found)
    assert "Matched negatives" in page and "Distance (KS) from the positives" in page
    del source["windows"], negatives["name"]
    bare = checkup_page(check_config({"data": {"source": source, "split": split, "negatives": negatives}}, "small"))
    assert "Matched negatives" not in bare
