"""The `dragon` command: flags in, one call, exit code out. Nothing heavy is imported before it is needed.

Exit codes: 0 done, 1 a bug of ours, 2 bad input, 3 the run failed, 130 and 143 stopped by Ctrl-C and SIGTERM (resumable).
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from dragon_jax.errors import InputError, RunError

EPILOG = """\
Any field of a config can be changed on the command line: --config.optim.learning_rate=3e-4. A config is a Python file
and is executed: run only configs that you trust. A run directory holds plain values and executes nothing.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dragon", description="Deep learning on regulatory DNA, in JAX.", epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="store_true", help="print versions and leave")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(
            name, help=text, description=text, allow_abbrev=False, epilog=EPILOG if name == "train" else None
        )
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return sub

    p = verb("train", "Train the model of a config in a run directory, or go on where it stopped.")
    p.add_argument("--config", required=True, help="config file, with an argument after a colon where it takes one")
    p.add_argument("--workdir", required=True, help="run directory: new, or that of the same config")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")

    p = verb("evaluate", "Evaluate a run on a split; opening the test split is recorded.")
    p.add_argument("run", help="run directory")
    p.add_argument("--split", default="valid", choices=("train", "valid", "test"))

    p = verb("predict", "Score sequences with a run: a TSV with one row per sequence, in input order.")
    p.add_argument("run", help="run directory")
    p.add_argument("sequences", help="FASTA, TSV or CSV with sequences, plain or gz; - reads standard input")
    p.add_argument("--out", default="-", help="TSV to write; - (default) is standard output")
    p.add_argument("--raw", action="store_true", help="logit, value or log rate instead of probability, value or rate")
    p.add_argument("--tasks", help="comma-separated names of the tasks wanted (default: all)")
    p.add_argument(
        "--format", choices=("fasta", "tsv", "csv", "text"), help="format of the input, where it cannot be told"
    )
    p.add_argument("--sequence-column", help="name of the column with sequences in a table")
    p.add_argument("--id-column", help="name of the column with names in a table")
    p.add_argument(
        "--fit", default="refuse", help="what to do with other lengths: refuse, or crop and pad, e.g. fit_centre"
    )
    p.add_argument("--step", type=int, help="use the checkpoint of this step instead of the best one")
    p.add_argument("--batch-size", type=positive, default=1024, help="sequences per step (default 1024)")

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


def _train(args: argparse.Namespace, overrides: list[str]) -> int:
    signals = Signals()
    with signals:
        from dragon_jax import api
        from dragon_jax.config_flags import load_config

        config = load_config(args.config, overrides)
        run = api.train(config, args.workdir, stop=signals.received, quiet=args.quiet)
    status = run.status
    if status["state"] == "failed":
        raise RunError(f"{run}: {status['reason']}")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from dragon_jax import api

    result = api.evaluate(args.run, args.split)
    print(api.headline(result, args.split))
    if args.split == "test":
        print(f"test split opened {result['times_opened']} time(s), recorded in {args.run}/provenance.json")
    print(f"results: {args.run}/results.json  report: {args.run}/report.html")
    return 0


def _predict(args: argparse.Namespace) -> int:
    from dragon_jax import api
    from dragon_jax.scoring import score_file

    predictor = api.load(args.run, args.step)
    count = score_file(
        predictor,
        args.sequences,
        args.out,
        raw=args.raw,
        tasks=args.tasks.split(",") if args.tasks else None,
        format=args.format,
        sequence_column=args.sequence_column,
        id_column=args.id_column,
        fit=args.fit,
        batch_size=args.batch_size,
    )
    if args.out != "-":
        print(f"{count:,} sequences scored: {args.out}", file=sys.stderr)
    return 0


def _report(args: argparse.Namespace) -> int:
    from dragon_jax import api

    print(api.report(args.run))
    return 0


def _compare(args: argparse.Namespace) -> int:
    from dragon_jax import api

    comparison = api.compare(args.runs, split=args.split, allow_different_data=args.allow_different_data, out=args.out)
    print(comparison)
    return 0


class Interrupted(KeyboardInterrupt):
    """A signal that came before training began: there is nothing to save."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Signals:
    """Turns Ctrl-C and SIGTERM into a wish that training sees after its step; before training they end the command.

    A second signal ends the process at once: the last checkpoint is on disk, and the same command goes on from it.
    """

    def __init__(self):
        self._number, self._polled = 0, False

    def received(self) -> int:
        """Returns the number of the signal received, or 0."""
        self._polled = True
        return self._number

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        if not self._polled:
            raise Interrupted(number)
        print(
            f"\n{signal.Signals(number).name}: saving after this step (once more ends at once)",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Signals:
        self._before = {n: signal.signal(n, self._handle) for n in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


VERBS = {"evaluate": _evaluate, "predict": _predict, "report": _report, "compare": _compare}


def _print_versions() -> None:
    from dragon_jax.runs.provenance import code_digest, versions

    for name, version in versions().items():
        print(f"{name} {version}")
    print(f"code {code_digest()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    args, rest = parser.parse_known_args(words)
    overrides = [w for w in rest if w.startswith("--config.")]
    if unknown := [w for w in rest if w not in overrides]:
        parser.error(f"unknown arguments: {' '.join(unknown)}")
    if overrides and args.verb != "train":
        parser.error("--config.FIELD=VALUE belongs to 'dragon train'")
    if args.version:
        _print_versions()
        return 0
    if args.verb is None:
        parser.print_help()
        return 2
    try:
        return _train(args, overrides) if args.verb == "train" else VERBS[args.verb](args)
    except (InputError, RunError) as e:
        if args.debug:
            raise
        print(f"dragon {args.verb}: {e}", file=sys.stderr)
        return 2 if isinstance(e, InputError) else 3
    except KeyboardInterrupt as e:
        number = getattr(e, "number", int(signal.SIGINT))
        name = signal.Signals(number).name
        print(
            f"dragon {args.verb}: stopped by {name}, nothing to save yet; the same command starts again",
            file=sys.stderr,
        )
        return 128 + number
    except BrokenPipeError:  # the reader of our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as e:
        if args.debug or e.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO):
            raise
        print(
            f"dragon {args.verb}: could not write: {e.strerror}. Make room and give the same command again",
            file=sys.stderr,
        )
        return 3
    except Exception as e:
        stopped = getattr(e, "signal", None)
        if type(e).__name__ == "Stopped" and stopped:
            print(
                f"dragon {args.verb}: stopped by {signal.Signals(stopped).name} at step {e.step:,}; saved, the same command goes on",  # type: ignore[attr-defined]
                file=sys.stderr,
            )
            return 128 + stopped
        raise


if __name__ == "__main__":
    sys.exit(main())
