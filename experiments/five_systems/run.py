"""Trains the primer's five systems and their neighbours on the same folds, opens each test fold once, writes the tables.

    python experiments/five_systems/run.py --workdir=runs/five [--data=nanog,encode,yeast] [--systems=...] [--seeds=0,1,2]

Finished runs are kept, so the same command goes on where it stopped, and two processes may share a work directory as long
as they are given different systems. `--tables` trains nothing and writes the tables of what is there; `--add` keeps, of the
runs.tsv and systems.tsv already in `--out`, the rows of runs and models that this work directory lacks (column `code` says
which code a run was made with). Nothing is chosen by a test label: checkpoints, motifs, C and penalties go by valid, and the
settings of configs/five_systems.py were chosen on valid of fold 0.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import pandas as pd
from report import write_tables
from timing import prediction_times

import dragon_jax
from dragon_jax.config_flags import load_config
from dragon_jax.models.summary import parameter_count
from dragon_jax.runs.directory import RunDir
from dragon_jax.runs.predictor import BaselinePredictor, load

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parent.parent / "configs" / "five_systems.py"
FIXED = ("pwm", "gkmsvm", "kmer")  # nothing in them is drawn at random: one seed says all
PLAN = {
    "nanog": (
        ("pwm", "deepbind", "gkmsvm", "deepsea", "factornet", "kmer", "hybrid", "dilated", "transformer"),
        (0, 1, 2, 3, 4),
    ),
    "encode": (
        ("pwm", "deepbind", "gkmsvm", "deepsea", "factornet", "kmer", "hybrid", "dilated", "transformer"),
        (0,),
    ),
    "yeast": (("factornet", "factornet_atac", "kmer"), (0,)),
}
METRICS = ("auroc", "auprc")


def runs(data: str, systems: tuple[str, ...], seeds: list[int]) -> list[tuple[str, str, int, int]]:
    """Every run of a data set: data, system, fold, seed; folds turn fastest, so that a part is soon a whole."""
    names, folds = PLAN[data]
    chosen = [s for s in names if not systems or s in systems]
    grid = itertools.product(seeds, chosen, folds)
    return [(data, system, fold, seed) for seed, system, fold in grid if not (seed and system in FIXED)]


def folder_of(workdir: Path, data: str, system: str, fold: int, seed: int) -> Path:
    return workdir / data / system / f"fold{fold}_seed{seed}"


def train(workdir: Path, data: str, system: str, fold: int, seed: int) -> None:
    """Trains a run, or finds it trained, and opens its test fold if that has not been done."""
    folder = folder_of(workdir, data, system, fold, seed)
    run = dragon_jax.train(load_config(f"{CONFIG}:{system},{data},{fold}", [f"--config.seed={seed}"]), folder)
    if "test" not in run.results:
        dragon_jax.evaluate(folder, "test")


def row(workdir: Path, data: str, system: str, fold: int, seed: int) -> dict[str, Any] | None:
    """What the tables need of a run; None where it is not finished."""
    folder = folder_of(workdir, data, system, fold, seed)
    if not (folder / "results.json").exists() or "test" not in RunDir(folder).results:
        return None
    run = RunDir(folder)
    result: dict[str, Any] = {"data": data, "system": system, "fold": fold, "seed": seed, "state": run.status["state"]}
    for split, metric in itertools.product(("valid", "test"), METRICS):
        value = run.results[split]
        low, high = value["mean_ci"][metric]
        result |= {f"{split}_{metric}": value["mean"][metric], f"{split}_{metric}_half": (high - low) / 2}
    return result | {
        "tasks": len(run.results["test"]["per_task"]),
        "n_test": run.results["test"]["n"],
        "times_opened": run.results["test"]["times_opened"],
        "seconds": round(run.provenance["seconds"]["all"], 1),
        "code": run.provenance["code"],
    }


def describe(folder: Path) -> dict[str, Any]:
    """Numbers a model consists of, their bytes, the length and the time of a prediction."""
    predictor = load(RunDir(folder))
    if isinstance(predictor, BaselinePredictor):
        state = predictor.model.state()
        count, size = sum(v.size for v in state.values()), sum(v.nbytes for v in state.values())
    else:
        count = parameter_count(predictor.variables["params"])
        size = 4 * parameter_count(predictor.variables)
    return {"parameters": count, "bytes": size, "length": predictor.length} | prediction_times(folder)


def written(path: Path, rows: pd.DataFrame, keys: list[str], add: bool) -> pd.DataFrame:
    """Writes a table sorted as planned; with `add`, of the file's earlier rows those with other keys stay."""
    if add and path.exists():
        rows = pd.concat([pd.read_csv(path, sep="\t"), rows]).drop_duplicates(keys, keep="last")
    systems = [system for names, _ in PLAN.values() for system in names]
    places = {"data": list(PLAN), "system": list(dict.fromkeys(systems))}
    order = rows.sort_values(keys, key=lambda c: c.map(places[c.name].index) if c.name in places else c, kind="stable")
    order.to_csv(path, sep="\t", index=False, float_format="%.6f")
    return order


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("runs/five"))
    parser.add_argument("--data", default=",".join(PLAN))
    parser.add_argument("--systems", default="", help="only these, by name, separated by commas")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--tables", action="store_true", help="train nothing, write the tables of the finished runs")
    parser.add_argument("--add", action="store_true", help="keep the earlier rows of runs that are not in --workdir")
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    systems = tuple(filter(None, args.systems.split(",")))
    seeds = [int(seed) for seed in args.seeds.split(",")]
    planned = [r for data in args.data.split(",") for r in runs(data, systems, seeds)]
    failed = []
    for one in planned if not args.tables else []:
        try:
            train(args.workdir, *one)
        except dragon_jax.errors.RunError as e:  # counted, and the others go on
            failed.append((*one, str(e)))
            print(f"failed: {one}: {e}", flush=True)
            continue
        found = row(args.workdir, *one)
        assert found is not None
        print(f"{one}: valid auROC {found['valid_auroc']:.4f}, test {found['test_auroc']:.4f}", flush=True)
    rows = pd.DataFrame([r for one in planned if (r := row(args.workdir, *one)) is not None])
    if rows.empty:
        parser.exit(1, f"{args.workdir} holds no finished run of those asked for\n")
    about = [
        {"data": r.data, "system": r.system} | describe(folder_of(args.workdir, r.data, r.system, r.fold, r.seed))
        for r in rows.drop_duplicates(["data", "system"]).itertuples()
    ]
    frame = written(args.out / "runs.tsv", rows, ["data", "system", "fold", "seed"], args.add)
    models = written(args.out / "systems.tsv", pd.DataFrame(about), ["data", "system"], args.add)
    total = len(set(planned) | set(frame[["data", "system", "fold", "seed"]].itertuples(index=False, name=None)))
    print(write_tables(frame, models, failed, total, args.out))


if __name__ == "__main__":
    main()
