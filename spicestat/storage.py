"""Storage of fitted estimators: safetensors and JSON only, so that loading never executes code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

import spicestat
from spicestat.equations.equation_set import EquationSet
from spicestat.equations.library import ModuleLibrary
from spicestat.equations.refit import RefitResult
from spicestat.errors import ConfigError, StorageError
from spicestat.estimator import SpiceEstimator
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.precoded import PRECODED
from spicestat.training.loop import TrainingResult

__all__ = ["load_estimator", "read_json", "save_estimator", "write_folder"]

_FORMAT = 1
_MANIFEST = "fit.json"
_WEIGHTS = "rnn.safetensors"
_EQUATIONS = "equations.json"
_NOT_STORED = ("rnn_class", "spice_config", "progress")


def write_folder(folder: str | Path, write: Callable[[Path], None]) -> Path:
    """Write a folder all or nothing: a full disk or an interrupt leaves what was there before.

    An existing folder is replaced only if it is empty or a fit folder.

    Raises
    ------
    StorageError
        The folder holds something else, or cannot be written.
    """
    target = Path(folder)
    if target.exists() and not (target / _MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"'{target}' exists and is no fit folder", do="choose another folder or empty it")
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    except OSError as error:
        raise StorageError(f"cannot write '{target}': {error}", do="check rights and free space") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def save_estimator(estimator: SpiceEstimator, folder: Path, extra: dict[str, Any] | None = None) -> None:
    """Write a fitted estimator into an existing folder: weights, equations and a manifest.

    Parameters
    ----------
    estimator : SpiceEstimator
        Fitted.
    folder : Path
        Where to.
    extra : dict, optional
        JSON-serialisable values that the manifest keeps under ``extra``.
    """
    params = {name: value for name, value in estimator.get_params().items() if name not in _NOT_STORED}
    manifest = {
        "format": _FORMAT,
        "spicestat": spicestat.__version__,
        "model": _model_name(estimator.rnn_class, estimator.spice_config),
        "params": params,
        "training": asdict(estimator.training_),
        "extra": extra or {},
    }
    equations = {
        "libraries": [asdict(library) for library in estimator.equations_.libraries],
        "states": list(estimator.equations_.states),
        "status": estimator.equations_.status.tolist(),
        "coefficients": estimator.equations_.coefficients.tolist(),
        "sparse_status": estimator.sparse_.status.tolist(),
        "sparse_coefficients": estimator.sparse_.coefficients.tolist(),
        "log_likelihood": estimator.refit_.log_likelihood.tolist(),
        "n_trials": estimator.refit_.n_trials.tolist(),
        "converged": estimator.refit_.converged.tolist(),
        "at_bound": estimator.refit_.at_bound.tolist(),
        "covariance": _without_nan(estimator.refit_.covariance),
    }
    save_file(estimator.rnn_model_.state_dict(), folder / _WEIGHTS)
    (folder / _EQUATIONS).write_text(json.dumps(equations, allow_nan=False), encoding="utf-8")
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2, allow_nan=False), encoding="utf-8")


def load_estimator(
    folder: str | Path, rnn_class: type[BaseRNN] | None = None, spice_config: SpiceConfig | None = None
) -> tuple[SpiceEstimator, dict[str, Any]]:
    """Read what `save_estimator` wrote.

    Parameters
    ----------
    folder : path
        Fit folder.
    rnn_class, spice_config : optional
        Needed for a custom model; a precoded one is found by its name.

    Returns
    -------
    (SpiceEstimator, dict)
        The fitted estimator and the manifest's ``extra``.

    Raises
    ------
    StorageError
        A file is missing, damaged or of another format.
    ConfigError
        A custom model's class is not given.
    """
    source = Path(folder)
    manifest = read_json(source / _MANIFEST)
    if manifest.get("format") != _FORMAT:
        raise StorageError(f"'{source}' has an unknown format", got=manifest.get("format"), allowed=_FORMAT)
    if rnn_class is None or spice_config is None:
        rnn_class, spice_config = _model_of(str(manifest.get("model")))
    try:
        estimator = SpiceEstimator(rnn_class, spice_config, **manifest["params"])
        estimator.rnn_model_ = estimator.build_model().eval()
        estimator.rnn_model_.load_state_dict(load_file(source / _WEIGHTS))
        training = manifest["training"]
        estimator.training_ = TrainingResult(
            tuple(training["train_nll"]),
            tuple((int(epoch), float(loss)) for epoch, loss in training["validation_nll"]),
            training["stopped"],
            training["best_epoch"],
        )
        _restore_equations(estimator, read_json(source / _EQUATIONS))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise StorageError(f"'{source}' is damaged: {error}", do="save the fit again") from error
    return estimator, dict(manifest.get("extra", {}))


def _restore_equations(estimator: SpiceEstimator, stored: dict[str, Any]) -> None:
    libraries = tuple(
        ModuleLibrary(part["module"], tuple(part["variables"]), tuple(tuple(powers) for powers in part["powers"]))
        for part in stored["libraries"]
    )
    states = tuple(stored["states"])

    def equations(prefix: str) -> EquationSet:
        coefficients = np.array(stored[f"{prefix}coefficients"], dtype="float64")
        return EquationSet(libraries, states, coefficients, np.array(stored[f"{prefix}status"], dtype="int8"))

    estimator.sparse_, estimator.equations_ = equations("sparse_"), equations("")
    estimator.refit_ = RefitResult(
        equations=estimator.equations_,
        covariance=np.array(stored["covariance"], dtype="float64"),
        log_likelihood=np.array(stored["log_likelihood"], dtype="float64"),
        n_trials=np.array(stored["n_trials"], dtype="int64"),
        converged=np.array(stored["converged"], dtype=bool),
        at_bound=np.array(stored["at_bound"], dtype=bool),
    )


def _without_nan(values: np.ndarray) -> Any:
    """Return nested lists with None for NaN, which JSON does not know."""
    boxed = values.astype(object)
    boxed[~np.isfinite(values)] = None
    return boxed.tolist()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; raise `StorageError` where there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot read '{path}': {error}", do="pass a folder that a fit was saved to") from error
    if not isinstance(value, dict):
        raise StorageError(f"'{path}' holds no JSON object")
    return value


def _model_name(rnn_class: type[BaseRNN], config: SpiceConfig) -> str:
    for name, (known_class, known_config) in PRECODED.items():
        if rnn_class is known_class and config == known_config:
            return name
    return f"custom:{rnn_class.__qualname__}"


def _model_of(name: str) -> tuple[type[BaseRNN], SpiceConfig]:
    if name not in PRECODED:
        raise ConfigError(
            f"the fit used the model '{name}', which spicestat does not know",
            do="pass rnn_class and spice_config to the loading function",
        )
    return PRECODED[name]
