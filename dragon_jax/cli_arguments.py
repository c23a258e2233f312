"""The words of the command line: verbs, their arguments and help. Light: nothing is imported that takes time."""

from __future__ import annotations

import argparse

WITH_CONFIG = ("train", "simulate", "prepare", "check", "import")
EPILOG = """\
Any field of a config can be changed on the command line: --config.optim.learning_rate=3e-4. A config is a Python file
and is executed: run only configs that you trust. A run directory holds plain values and executes nothing.
"""


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of `dragon`."""
    parser = argparse.ArgumentParser(
        prog="dragon", description="Deep learning on regulatory DNA, in JAX.", epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="store_true", help="print versions and leave")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        epilog = EPILOG if name in WITH_CONFIG else None
        sub = verbs.add_parser(name, help=text, description=text, allow_abbrev=False, epilog=epilog)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return sub

    p = verb("train", "Train the model of a config in a run directory, or go on where it stopped.")
    p.add_argument("--config", required=True, help="config file, with an argument after a colon where it takes one")
    p.add_argument("--workdir", required=True, help="run directory: new, or that of the same config")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")

    p = verb("evaluate", "Evaluate a run on a split; opening the test split is recorded.")
    p.add_argument("run", help="run directory")
    p.add_argument("--split", default="valid", choices=("train", "valid", "test"))

    p = verb("predict", "Score sequences or regions with a run: a TSV with one row for each, in input order.")
    p.add_argument("run", help="run directory")
    p.add_argument(
        "sequences",
        help="FASTA, TSV or CSV with sequences, plain or gz (- reads standard input), or a BED file with regions",
    )
    p.add_argument("--out", default="-", help="TSV to write; - (default) is standard output")
    p.add_argument("--profiles", help="NPY to write as well: reads that model bpnet expects at each base")
    p.add_argument("--raw", action="store_true", help="logit, value or log rate instead of probability, value or rate")
    p.add_argument("--tasks", help="comma-separated names of the tasks wanted (default: all)")
    p.add_argument(
        "--format", choices=("fasta", "tsv", "csv", "lines", "bed"), help="format of the input, where it cannot be told"
    )
    p.add_argument("--sequence-column", help="name of the column with sequences in a table")
    p.add_argument("--id-column", help="name of the column with names in a table")
    p.add_argument(
        "--fit", default="refuse", help="what to do with other lengths: refuse, or crop and pad, e.g. fit_centre"
    )
    p.add_argument(
        "--inputs", help="with sequences: NPZ or HDF5 file with the signal and metadata that the model reads"
    )
    p.add_argument("--genome", help="with regions: FASTA of the genome (default: that of the run)")
    p.add_argument(
        "--signal", action="append", default=[], metavar="NAME=FILE,...",
        help="with regions: files of a signal, one for each track (default: those of the run); may be repeated",
    )  # fmt: skip
    p.add_argument(
        "--annotation", action="append", default=[], metavar="NAME=FILE",
        help="with regions: BED file of a column of 'metadata' (default: that of the run); may be repeated",
    )  # fmt: skip
    p.add_argument(
        "--metadata", action="append", default=[], metavar="NAME=NUMBER",
        help="with regions: number of a column of 'metadata' (default: that of the run); may be repeated",
    )  # fmt: skip
    p.add_argument(
        "--core",
        type=positive,
        help="with regions: middle bases that annotations are looked up for (default: as in the run)",
    )
    p.add_argument("--step", type=int, help="use the checkpoint of this step instead of the best one")
    p.add_argument("--batch-size", type=positive, default=1024, help="sequences per step (default 1024)")

    p = verb("simulate", "Draw sequences with planted motifs; write them with labels and the truth about every site.")
    given = p.add_mutually_exclusive_group(required=True)
    given.add_argument("--config", help="config file with the source 'grammar'; --config.FIELD=VALUE changes it")
    given.add_argument("--recipe", help="name of a recipe, such as motif_density, with its defaults")
    p.add_argument("--out", required=True, help="folder to write: new, or with the same simulation")
    p.add_argument("--seed", type=int, help="seed of the draw, instead of that of the config (recipe: 0)")
    p.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="with --recipe: a field of the source, such as "
        "motifs=CTCF_known1, length=200 or parameters.spacing=2,5; may be repeated",
    )  # fmt: skip

    p = verb("prepare", "Write the data of a config as files that a run can stream: once, resumable, found again.")
    p.add_argument("--config", required=True, help="config file; its part 'data' and its seed are read")
    p.add_argument("--out", required=True, help="folder of data sets; this one lies in OUT/NAME_HASH/1.0.0")
    p.add_argument("--name", help="what its name begins with (default: that of the config file)")

    p = verb(
        "check", "Show a data set: sizes, labels of every task, GC, leaks, a few rows; labels of test stay closed."
    )
    p.add_argument("folder", nargs="?", help="folder of a data set made by 'dragon prepare', instead of --config")
    p.add_argument("--config", help="config file; its part 'data' and its seed are read")
    p.add_argument("--out", help="page to write, such as page.html")
    p.add_argument("--all", action="store_true", help="print all tasks, not only those with least to learn from")

    p = verb("download", "Fetch a public data set, checked by digest; goes on where it stopped.")
    p.add_argument("name", nargs="?", help="data set, see --list")
    p.add_argument("--out", default="$DRAGON_DATA", help="folder of data sets (default: $DRAGON_DATA)")
    p.add_argument("--list", action="store_true", help="show the data sets, or all files of one, and fetch nothing")

    p = verb("import", "Make a run of published weights: it predicts and evaluates like any other.")
    p.add_argument(
        "family", help="deepbind: parameter file of a released DeepBind model; lsgkm: model file of LS-GKM; factornet: folder or "
        "HDF5 file of a released FactorNet model; dragonn: weights of DragoNN; exported: folder of 'dragon export'"
    )  # fmt: skip
    p.add_argument("file", help="the weights: a file, or a folder")
    p.add_argument("--workdir", required=True, help="run directory, new")
    p.add_argument(
        "--window", default="whole", choices=("whole", "program", "kipoi"), help="deepbind, long sequences: one window (default), the "
        "best of many as in the DeepBind program, or as in Kipoi"
    )  # fmt: skip
    p.add_argument("--config", help="config file whose data the run shall have, to be evaluated on")
    p.add_argument("--task", help="name of the predictions (default: that of the file)")
    p.add_argument(
        "--kind", default="binary", choices=("binary", "real"), help="deepbind: binary: predict the sigmoid of the score; real: the "
        "score itself, as for PBM and RNAcompete models"
    )  # fmt: skip

    p = verb("finetune", "Train the heads of all tasks on the frozen network of a run, each on its own, all at once.")
    p.add_argument("run", help="run directory of a network with linear heads; its data are read again")
    p.add_argument("--workdir", required=True, help="run directory, new")
    p.add_argument(
        "--rates", default="1e-4,3e-4,1e-3,3e-3", help="learning rates, of which valid chooses for each task"
    )
    p.add_argument("--decays", default="0,0.03", help="weight decays, likewise")
    p.add_argument("--epochs", type=positive, default=30, help="at most (default 30)")
    p.add_argument("--patience", type=positive, default=4, help="epochs without a lower valid loss (default 4)")
    p.add_argument("--batch-size", type=positive, default=256, help="rows per step (default 256)")
    p.add_argument("--shifts", default="0", help="bases by which training rows are moved, such as -2,0,2: a look each")

    p = verb("export", "Write the weights of a run for use elsewhere; 'dragon import' reads them back.")
    p.add_argument("run", help="run directory")
    p.add_argument("--out", required=True, help="new folder (safetensors), or file (lsgkm, deepbind)")
    p.add_argument(
        "--format", default="safetensors", choices=("safetensors", "lsgkm", "deepbind"), help="safetensors: weights, and JSON "
        "of the architecture (default); lsgkm: model file of LS-GKM, of a gkmsvm; deepbind: released parameter file, of a deepbind"
    )  # fmt: skip
    p.add_argument("--task", help="lsgkm, deepbind: which task, where there are several")
    p.add_argument("--step", type=int, help="use the checkpoint of this step instead of the best one")

    p = verb("report", "Write the report of a run anew.")
    p.add_argument("run", help="run directory")

    p = verb("compare", "Compare runs on the same data: table, TSV and page.")
    p.add_argument("runs", nargs="+", help="run directories; differences refer to the first")
    p.add_argument("--split", default="valid", choices=("valid", "test"))
    p.add_argument("--out", help="folder for comparison.tsv and comparison.html")
    p.add_argument("--allow-different-data", action="store_true", help="compare although the examples differ")
    return parser


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {value}")
    return value
