"""A whole config as one typed object, and the template that config files start from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from dragon_jax.baselines import REGISTRY
from dragon_jax.config import build, defaults, plain
from dragon_jax.data.load import DataConfig, data_config
from dragon_jax.data.negatives import NegativesConfig
from dragon_jax.data.sources import source_class
from dragon_jax.data.splits import SplitConfig
from dragon_jax.errors import InputError, listing, nearest
from dragon_jax.models.base import ModelConfig
from dragon_jax.models.registry import MODELS, model_config
from dragon_jax.sections import AugmentConfig, EvaluateConfig, LossConfig, OptimConfig, TrainConfig, WeightingConfig
from dragon_jax.training.deepbind_calibrated import DeepBindCalibratedConfig
from dragon_jax.training.trainer import TrainSpec
from dragon_jax.training.transfer.config import TransferConfig

# What fits itself. The last one trains networks to do so, and therefore lives a floor above the others.
BASELINES: dict[str, Any] = {**REGISTRY, "deepbind_calibrated": DeepBindCalibratedConfig}
NETWORK_SECTIONS = {
    "optim": OptimConfig,
    "loss": LossConfig,
    "weighting": WeightingConfig,
    "augment": AugmentConfig,
    "train": TrainConfig,
}
TRANSFER = ("init_from", "transfer")  # what a config says on the run that a network starts from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that decides a run.

    Attributes:
        data_section: typed `config.data`; None for an imported model that was given no data.
        model: config of a network or of a baseline.
        spec: how a network trains; None for baselines.
        init_from: run directory whose weights a network starts from, as written in the config; empty = none.
        transfer: how it uses them.
    """

    seed: int
    data_section: DataConfig | None
    model: Any
    evaluate: EvaluateConfig
    spec: TrainSpec | None
    init_from: str = ""
    transfer: TransferConfig = TransferConfig()

    @property
    def is_network(self) -> bool:
        return isinstance(self.model, ModelConfig)

    @property
    def data(self) -> DataConfig:
        """The data. Raises InputError where the model was imported without any."""
        if self.data_section is None:
            raise InputError(
                "this model was imported without data: there is nothing to evaluate. Import it again with --config=CONFIG, "
                "whose part 'data' is then its own, or score sequences with 'dragon predict'"
            )
        return self.data_section


def parse(config: Any, *, imported: bool = False) -> Settings:
    """Returns the typed view of a config (`ConfigDict` or plain dictionaries).

    Args:
        imported: the config of a run directory, which may lack data where its weights come from elsewhere.

    Raises:
        InputError: every unknown, missing, mistyped or impossible field, all reported together.
    """
    raw = plain(config)
    name = (raw.get("model") or {}).get("name")
    network = name in MODELS
    if not network and name not in BASELINES:
        known = [*MODELS, *BASELINES]
        raise InputError(f"model.name: expected one of {', '.join(known)}, found {name!r}{nearest(str(name), known)}")
    refuse_fields_of_another_model(raw)
    known_sections = {"seed", "data", "model", "evaluate", *((*NETWORK_SECTIONS, *TRANSFER) if network else ())}
    parts: dict[str, Any] = {}
    wrong = []
    elsewhere = imported or (not network and getattr(BASELINES[name], "TRAINED_ELSEWHERE", False))
    optional = {*TRANSFER, *(("data",) if elsewhere else ())}  # runs of an older release start from nothing
    for section in sorted(known_sections - optional - set(raw)):
        wrong.append(f"{section}: missing")
    for section in sorted(set(raw) - known_sections):
        wrong.append(f"{section}: no such field for model '{name}'{nearest(section, sorted(known_sections))}")
    seed = raw.get("seed", 0)
    if type(seed) is not int or not 0 <= seed < 2**31:
        wrong.append(f"seed: expected a whole number in 0..{2**31 - 1}, found {seed!r}")
    makers = {"data": data_config, "evaluate": lambda r: build(EvaluateConfig, r, "evaluate")}
    makers["model"] = model_config if network else lambda r: build(BASELINES[name], r, "model")
    if network:
        makers |= {k: (lambda r, k=k, c=c: build(c, r, k)) for k, c in NETWORK_SECTIONS.items()}
        makers["transfer"] = lambda r: build(TransferConfig, r, "transfer")
        if not isinstance(raw.get("init_from", ""), str):
            wrong.append(f"init_from: expected the path of a run directory, found {raw['init_from']!r}")
    for section, maker in makers.items():
        if isinstance(raw.get(section), Mapping):
            try:
                parts[section] = maker(raw[section])
            except InputError as e:
                wrong.extend(e.problems)
        elif section in raw:
            wrong.append(f"{section}: expected a section, found {raw[section]!r}")
    if wrong:
        raise InputError("; ".join(wrong) if len(wrong) == 1 else f"config: {len(wrong)} problems: " + "; ".join(wrong))
    spec = None
    if network:
        spec = TrainSpec(seed=seed, **{k: parts[k] for k in NETWORK_SECTIONS})
    init_from, transfer = raw.get("init_from", ""), parts.get("transfer", TransferConfig())
    if not init_from and (changed := [f for f, v in vars(transfer).items() if v != getattr(TransferConfig(), f)]):
        raise InputError(
            f"transfer.{changed[0]}: given, but init_from is empty: expected the run directory to start from. Set init_from"
        )
    return Settings(
        seed=seed,
        data_section=parts.get("data"),
        model=parts["model"],
        evaluate=parts["evaluate"],
        spec=spec,
        init_from=init_from,
        transfer=transfer,
    )


def refuse_fields_of_another_model(raw: Mapping[str, Any]) -> None:
    """Says in one sentence that only `model.name` was changed in a config made from another model's template.

    Raises:
        InputError: the fields of `model` are those of another model, and not all of them exist in the named one.
    """
    known = {**MODELS, **BASELINES}
    if not isinstance(raw["model"], Mapping):
        return
    fields = {m: {f.name for f in dataclasses.fields(cls) if f.init} - {"name"} for m, cls in known.items()}
    name, given = raw["model"]["name"], set(raw["model"]) - {"name"}
    old = next((m for m in known if m != name and fields[m] == given), None)
    if old is None or given <= fields[name]:
        return
    surplus = [s for s in TRANSFER if s in raw and name not in MODELS]
    surplus += [f"model.{f}" for f in sorted(given - fields[name])]
    surplus += [s for s in NETWORK_SECTIONS if s in raw and name not in MODELS]
    lacking = [s for s in NETWORK_SECTIONS if s not in raw and name in MODELS]
    raise InputError(
        f"model.name: '{name}' in a config with the fields of '{old}': expected the fields of '{name}'. Start the config "
        f"from dragon_jax.template(model='{name}', ...), or remove {listing(surplus, 40)}"
        + (f" and add {listing(lacking)}" if lacking else "")
    )


def template(model: str, source: str, **model_fields: Any):
    """Returns a complete, locked `ConfigDict` with every default, for a config file to change.

    Args:
        model: name of a network or baseline; `model_fields` replace its defaults.
        source: name of a data source (`simulation`, `grammar`, `table`, `fasta`, `arrays`, `genome`, `tfds`).

    Raises:
        InputError: unknown names.
    """
    from ml_collections import ConfigDict

    known = {**MODELS, **BASELINES}
    if model not in known:
        raise InputError(f"no model called {model!r} (there are {', '.join(known)}){nearest(model, list(known))}")
    config = ConfigDict({"seed": 0})
    config.data = data_defaults(source)
    config.model = defaults(known[model])
    config.model.name = model
    if model in MODELS:
        for section, cls in NETWORK_SECTIONS.items():
            config[section] = defaults(cls)
        config.init_from = ""
        config.transfer = defaults(TransferConfig)
    config.evaluate = defaults(EvaluateConfig)
    config.lock()
    for name, value in model_fields.items():
        config.model[name] = value
    return config


def data_defaults(source: str):
    """Returns the `data` section for a source; fields that every user must set are there, empty."""
    from ml_collections import ConfigDict

    config = ConfigDict()
    config.source = defaults(source_class(source))
    config.source.name = source
    config.split = defaults(SplitConfig)
    config.negatives = defaults(NegativesConfig)
    return config
