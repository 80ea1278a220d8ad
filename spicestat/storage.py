"""Storage of fitted estimators: safetensors and JSON only, so that loading never executes code."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from spicestat.equations.equation_set import EquationSet
from spicestat.equations.library import ModuleLibrary
from spicestat.equations.refit import RefitResult
from spicestat.errors import ConfigError, StorageError
from spicestat.estimator import SpiceEstimator
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.precoded import PRECODED
from spicestat.training.loop import TrainingResult

__all__ = ["check_target", "load_estimator", "read_json", "save_estimator", "write_folder"]

_FORMAT = 1
_MANIFEST = "fit.json"
_WEIGHTS = "rnn.safetensors"
_EQUATIONS = "equations.json"
_NOT_STORED = ("rnn_class", "spice_config", "progress")


def check_target(folder: str | Path) -> Path:
    """Return the absolute path of a folder that a fit may be written to: absent, empty or an older fit.

    Raises
    ------
    StorageError
        It holds something else.
    """
    target = Path(folder).resolve()
    if target.exists() and not (target / _MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"'{target}' exists and is no fit folder", do="choose another folder or empty it")
    return target


def write_folder(folder: str | Path, write: Callable[[Path], None]) -> Path:
    """Write a folder all or nothing: a full disk or an interrupt leaves what was there before.

    An existing folder is replaced only if it is empty or a fit folder.

    Raises
    ------
    StorageError
        The folder holds something else, or cannot be written.
    """
    target = check_target(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as workplace:
            new, old = Path(workplace) / "new", Path(workplace) / "old"
            new.mkdir()
            write(new)
            _exchange(new, target, old)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"cannot write '{target}': {error}", do="check rights and free space") from error
    return target


def _exchange(new: Path, target: Path, old: Path) -> None:
    """Put a new folder in the target's place; whatever goes wrong, the target is the old or the new one."""
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


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
        "spicestat": version("spicestat"),
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
        "covariance": estimator.refit_.covariance.tolist(),
    }
    save_file(estimator.rnn_model_.state_dict(), folder / _WEIGHTS)
    (folder / _EQUATIONS).write_text(json.dumps(_plain(equations), allow_nan=False), encoding="utf-8")
    (folder / _MANIFEST).write_text(json.dumps(_plain(manifest), indent=2, allow_nan=False), encoding="utf-8")


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
            tuple(_number(loss) for loss in training["train_nll"]),
            tuple((int(epoch), _number(loss)) for epoch, loss in training["validation_nll"]),
            training["stopped"],
            training["best_epoch"],
        )
        _restore_equations(estimator, read_json(source / _EQUATIONS))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise StorageError(f"'{source}' is damaged: {error}", do="save the fit again") from error
    extra = manifest.get("extra")
    return estimator, extra if isinstance(extra, dict) else {}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _restore_equations(estimator: SpiceEstimator, stored: dict[str, Any]) -> None:
    libraries = tuple(
        ModuleLibrary(part["module"], tuple(part["variables"]), tuple(tuple(powers) for powers in part["powers"]))
        for part in stored["libraries"]
    )
    states = tuple(stored["states"])

    n_terms = sum(len(library.powers) for library in libraries) + len(states)
    n_participants = len(stored["n_trials"])

    def array(name: str, dtype: str, *shape: int) -> np.ndarray:
        values = np.array(stored[name], dtype=dtype)
        if values.shape != shape:
            raise ValueError(f"'{name}' has the shape {values.shape} and not {shape}")
        return values

    def equations(prefix: str) -> EquationSet:
        coefficients = array(f"{prefix}coefficients", "float64", n_participants, n_terms)
        return EquationSet(libraries, states, coefficients, array(f"{prefix}status", "int8", n_participants, n_terms))

    estimator.sparse_, estimator.equations_ = equations("sparse_"), equations("")
    estimator.refit_ = RefitResult(
        equations=estimator.equations_,
        covariance=array("covariance", "float64", n_participants, n_terms, n_terms),
        log_likelihood=array("log_likelihood", "float64", n_participants),
        n_trials=array("n_trials", "int64", n_participants),
        converged=array("converged", "bool", n_participants),
        at_bound=array("at_bound", "bool", n_participants, n_terms),
    )


def _plain(value: Any) -> Any:
    """Return what JSON can hold: Python numbers for NumPy's, None for NaN and infinities."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
