"""The `dragon` command: flags in, one call, exit code out. Nothing heavy is imported before it is needed.

Exit codes: 0 done, 1 a bug of ours, 2 bad input, 3 the run failed, 130 and 143 stopped by Ctrl-C and SIGTERM (resumable).
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from dragon_jax.cli_arguments import WITH_CONFIG, make_parser
from dragon_jax.errors import InputError, RunError


def pairs(given: Sequence[str], flag: str) -> dict[str, str]:
    """NAME=VALUE by name. Raises InputError for anything else, and for a name that comes twice."""
    result: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals and value) or name in result:
            raise InputError(f"{flag} {text}: expected NAME=VALUE, each name once")
        result[name] = value
    return result


def number(text: str, flag: str) -> float:
    """A finite number. Raises InputError for anything else."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{flag}: expected a finite number, found '{text}'")
    return value


def _train(args: argparse.Namespace) -> int:
    from dragon_jax import api
    from dragon_jax.config_flags import load_config

    config = load_config(args.config, args.overrides)
    run = api.train(config, args.workdir, stop=args.signals.received, quiet=args.quiet)
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
    from dragon_jax.data.region_stream import is_regions
    from dragon_jax.scoring import score_file, score_regions

    of_regions = {f"--{k}": getattr(args, k) for k in ("genome", "signal", "annotation", "metadata", "core")}
    of_sequences = {"--inputs": args.inputs, "--sequence-column": args.sequence_column, "--id-column": args.id_column}
    of_sequences["--fit"] = "" if args.fit == "refuse" else args.fit
    bed = args.format == "bed" or (args.format is None and is_regions(args.sequences))
    if wrong := [flag for flag, value in (of_sequences if bed else of_regions).items() if value]:
        kind, other = ("regions", "sequences") if bed else ("sequences", "regions")
        raise InputError(
            f"{wrong[0]} belongs to {other}, found {kind} in {args.sequences}. Leave it out, or set --format"
        )
    predictor = api.load(args.run, args.step)
    common = {"raw": args.raw, "tasks": args.tasks.split(",") if args.tasks else None, "batch_size": args.batch_size}
    common["profiles"] = args.profiles
    if bed:
        from dragon_jax.runs.directory import RunDir
        from dragon_jax.runs.region_inputs import region_inputs

        made_of = region_inputs(
            RunDir(args.run),
            predictor.specs,
            predictor.length,
            genome=args.genome,
            signals={name: value.split(",") for name, value in pairs(args.signal, "--signal").items()},
            annotations=pairs(args.annotation, "--annotation"),
            core=args.core,
            metadata={k: number(v, f"--metadata {k}") for k, v in pairs(args.metadata, "--metadata").items()},
        )
        say = lambda line: print(line, file=sys.stderr)  # noqa: E731
        count = score_regions(predictor, args.sequences, args.out, made_of, say=say, **common)
    else:
        count = score_file(
            predictor,
            args.sequences,
            args.out,
            format=None if args.format == "bed" else args.format,
            sequence_column=args.sequence_column,
            id_column=args.id_column,
            fit=args.fit,
            inputs=args.inputs,
            **common,
        )
    if args.out != "-":
        print(f"{count:,} {'regions' if bed else 'sequences'} scored: {args.out}", file=sys.stderr)
    return 0


def _simulate(args: argparse.Namespace) -> int:
    from dragon_jax import api
    from dragon_jax.config_flags import load_config, nested

    if args.recipe and args.overrides:
        raise InputError(f"{args.overrides[0]} belongs to --config: with --recipe use --set FIELD=VALUE")
    if args.config and args.set:
        raise InputError(f"--set {args.set[0]} belongs to --recipe: with --config use --config.FIELD=VALUE")
    source = {"name": "grammar", "recipe": args.recipe} | nested(args.set, "--set")
    if isinstance(names := source.get("motifs"), str):
        source["motifs"] = names.split(",")
    config = load_config(args.config, args.overrides) if args.config else {"data": {"source": source}}
    written = api.simulate(config, args.out, seed=args.seed)
    count = f"{written.sequences:,} sequences, {written.sites:,} planted sites"
    print(f"{args.out}: {count}" + ("" if written.fresh else " (the same simulation lay there already)"))
    return 0


def _prepare(args: argparse.Namespace) -> int:
    from dragon_jax.config_flags import load_config
    from dragon_jax.data.prepare import prepare

    done = prepare(load_config(args.config, args.overrides), args.out, name=args.name or args.config)
    for line in done.summary:
        print(line)
    print(f"data set: {done.path}{'' if done.fresh else ' (was there already)'}")
    print('    c = dragon_jax.template(model="convnet", source="tfds")')
    print(f'    c.data.source.path, c.data.split.name = "{done.path}", "files"')
    return 0


def _check(args: argparse.Namespace) -> int:
    from dragon_jax.config_flags import load_config
    from dragon_jax.data.checkup import check_config, check_folder
    from dragon_jax.reports.checkup_text import checkup_text

    if (args.folder is None) == (args.config is None) or (args.overrides and args.folder):
        raise InputError("expected --config=FILE, or the folder of a data set, found both or neither")
    if args.folder:
        found = check_folder(args.folder)
    else:
        found = check_config(load_config(args.config, args.overrides), args.config)
    print(checkup_text(found, every=args.all))
    if args.out:
        from dragon_jax.reports.checkup_page import write_checkup

        print(f"\npage: {write_checkup(found, args.out)}")
    return 0


def _download(args: argparse.Namespace) -> int:
    from dragon_jax.data.catalogue import catalogue_lines
    from dragon_jax.data.download import download

    if args.list:
        print("\n".join(catalogue_lines(args.name)))
        return 0
    if args.name is None:
        raise InputError("expected the name of a data set, found none. 'dragon download --list' shows them")
    download(args.name, args.out)
    return 0


def _import(args: argparse.Namespace) -> int:
    from dragon_jax import api
    from dragon_jax.config_flags import load_config

    if args.overrides and not args.config:
        raise InputError(f"{args.overrides[0]} needs --config=FILE")
    config = load_config(args.config, args.overrides) if args.config else None
    fields = {"window": args.window, "task": args.task, "kind": args.kind}
    run = api.import_weights(args.family, args.file, args.workdir, config=config, **fields)
    print(f"run: {run}")
    return 0


def _finetune(args: argparse.Namespace) -> int:
    from dragon_jax import api

    values = {flag: [number(x, f"--{flag}") for x in getattr(args, flag).split(",")] for flag in ("rates", "decays")}
    shifts = [number(x, "--shifts") for x in args.shifts.split(",")]
    if odd := [x for x in shifts if x != int(x)]:
        raise InputError(f"--shifts: expected whole numbers of bases, found {odd[0]:g}")
    given: dict[str, Any] = {k: tuple(v) for k, v in values.items()} | {"shifts": tuple(map(int, shifts))}
    given |= {"epochs": args.epochs, "patience": args.patience, "batch_size": args.batch_size}
    run = api.finetune(args.run, args.workdir, **given)
    print(f"run: {run.path}")
    return 0


def _export(args: argparse.Namespace) -> int:
    from dragon_jax import api

    print(f"written: {api.export(args.run, args.out, args.format, step=args.step, task=args.task)}")
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


NOTHING = "nothing to save yet; the same command starts again"
KEPT = "what is whole is kept; the same command goes on"


class Interrupted(KeyboardInterrupt):
    """A signal that came before training began: there is nothing to save."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Signals:
    """Turns Ctrl-C and SIGTERM into a wish that training sees after its step; elsewhere they end the command.

    A second signal ends the process at once: the last checkpoint is on disk, and the same command goes on from it.
    """

    _again = 1.0  # seconds after which an exception that had no effect is raised again

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
            # Python drops exceptions that are raised inside callbacks of its garbage collector, of which jax has one
            signal.signal(signal.SIGALRM, lambda *_: self._handle(number, None))
            signal.setitimer(signal.ITIMER_REAL, self._again)
            raise Interrupted(number)
        print(
            f"\n{signal.Signals(number).name}: saving after this step (once more ends at once)",
            file=sys.stderr,
            flush=True,
        )

    def __enter__(self) -> Signals:
        numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
        self._before = {n: signal.signal(n, self._handle) for n in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)


VERBS = {
    "train": _train,
    "evaluate": _evaluate,
    "predict": _predict,
    "simulate": _simulate,
    "prepare": _prepare,
    "check": _check,
    "download": _download,
    "import": _import,
    "finetune": _finetune,
    "export": _export,
    "report": _report,
    "compare": _compare,
}


def _print_versions() -> None:
    from dragon_jax.runs.provenance import code_digest, versions

    for name, version in versions().items():
        print(f"{name} {version}")
    print(f"code {code_digest()}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    overrides = [w for w in words if w.startswith("--config.")]  # argparse takes one with a blank in it for a name
    args, unknown = parser.parse_known_args([w for w in words if w not in overrides])
    if unknown:
        parser.error(f"unknown arguments: {' '.join(unknown)}")
    if overrides and args.verb not in WITH_CONFIG:
        parser.error(f"--config.FIELD=VALUE belongs to {', '.join(f'dragon {verb}' for verb in WITH_CONFIG)}")
    args.overrides = overrides
    if args.version:
        _print_versions()
        return 0
    if args.verb is None:
        parser.print_help()
        return 2
    args.signals = Signals()
    try:
        with args.signals:
            return VERBS[args.verb](args)
    except (InputError, RunError) as e:
        if args.debug:
            raise
        print(f"dragon {args.verb}: {e}", file=sys.stderr)
        return 2 if isinstance(e, InputError) else 3
    except KeyboardInterrupt as e:
        number = getattr(e, "number", int(signal.SIGINT))
        name = signal.Signals(number).name
        print(
            f"dragon {args.verb}: stopped by {name}, {KEPT if args.verb in ('prepare', 'download') else NOTHING}",
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
