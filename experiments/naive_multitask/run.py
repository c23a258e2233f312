"""Trains a network for each of ten tracks, one for all 109 under several weightings, and fine-tunes the heads; writes the tables.

    python experiments/naive_multitask/run.py --workdir=runs/naive_multitask [--seeds=0,1] [--weightings=equal,famo]

Finished runs are kept, so the same command goes on where it stopped. All runs share the network, its settings and the folds of
configs/naive_multitask.py; nothing is chosen by a test label. `--tables` trains nothing and writes the tables of what is there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from report import write_tables

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.runs.directory import RunDir

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent.parent / "configs" / "naive_multitask.py"
# Every eleventh of the 109 tracks in the order of their prevalence on chr10, from 1 to 53 %.
TRACKS = (
    "MCF-7|TCF12 HepG2|HNF4A HepG2|TEAD4 A549|MYC IMR-90|CEBPB HeLa-S3|MYC HepG2|YY1 HCT116|EGR1 H1-hESC|MAX K562|CTCF"
).split()
WEIGHTINGS = {
    "equal": (),
    "null": (),
    "uncertainty": (),
    "famo": (),
    "gradnorm": (),
    "nash": ("--config.weighting.update_every=10",),
}


def plan(seeds: list[int], weightings: list[str]) -> list[tuple[str, str, int]]:
    """Every run: kind (`single`, `joint`, `finetuned`), track or weighting, seed; a seed is whole before the next begins."""
    result = []
    for seed in seeds:
        result += [("joint", name, seed) for name in weightings]
        result += [("finetuned", name, seed) for name in weightings if name == "equal"]
        result += [("single", track, seed) for track in TRACKS]
    return result


def folder_of(workdir: Path, kind: str, name: str, seed: int) -> Path:
    return workdir / kind / name.replace("|", "_") / f"seed{seed}"


def train(workdir: Path, kind: str, name: str, seed: int) -> None:
    """Trains a run, or finds it trained, and opens its test fold if that has not been done."""
    folder = folder_of(workdir, kind, name, seed)
    if kind == "finetuned":
        if not folder.exists():
            dragon_jax.finetune(folder_of(workdir, "joint", name, seed), folder, shifts=(-1, 0, 1))
        run = RunDir(folder)
    else:
        argument = name if kind == "single" else "joint"
        more = [] if kind == "single" else [f"--config.weighting.name={name}", *WEIGHTINGS[name]]
        run = dragon_jax.train(
            load_config(f"{CONFIG}:{argument}", [f"--config.seed={seed}", *more]), folder, quiet=True
        )
    if "test" not in run.results:
        dragon_jax.evaluate(folder, "test")


def finished(workdir: Path, run: tuple[str, str, int]) -> bool:
    folder = folder_of(workdir, *run)
    return (folder / "results.json").exists() and "test" in RunDir(folder).results


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/naive_multitask"))
    parser.add_argument("--seeds", default="0,1,2,3,4,5")
    parser.add_argument("--weightings", default=",".join(WEIGHTINGS))
    parser.add_argument("--tables", action="store_true", help="train nothing, write the tables of the finished runs")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    planned = plan([int(s) for s in args.seeds.split(",")], args.weightings.split(","))
    failed = []
    for one in planned if not args.tables else []:
        try:
            train(args.workdir, *one)
        except dragon_jax.errors.RunError as e:  # counted, and the others go on
            failed.append((*one, str(e)))
            print(f"failed: {one}: {e}", flush=True)
            continue
        result = RunDir(folder_of(args.workdir, *one)).results["test"]["mean"]
        print(f"{one}: test auROC {result['auroc']:.4f}, auPRC {result['auprc']:.4f}", flush=True)
    done = [one for one in planned if finished(args.workdir, one)]
    if not done:
        parser.exit(1, f"{args.workdir} holds no finished run of those asked for\n")
    folders = {one: folder_of(args.workdir, *one) for one in done}
    print(write_tables(folders, TRACKS, len(planned), failed, args.out))


if __name__ == "__main__":
    main()
