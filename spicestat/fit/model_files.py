"""Networks and equations as single files of safetensors and JSON; loading never executes code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from spicestat._files.atomic import DAMAGE, parse_json, write_file
from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT, EquationSet
from spicestat.equations.structure.library import ModuleLibrary
from spicestat.errors import StorageError
from spicestat.models.base import BaseRNN
from spicestat.training.identity import digest
from spicestat.training.result import TrainingResult

__all__ = [
    "equations_bytes",
    "json_bytes",
    "load_equations",
    "load_rnn",
    "restore_equations",
    "restore_rnn",
    "rnn_bytes",
    "save_equations",
    "save_rnn",
]

_RNN_FORMAT = "spicestat rnn 2"
_EQUATIONS_FORMAT = "spicestat equations 2"
_PICKLES = (b"\x80", b"PK\x03\x04")
_LARGEST_POWER = 20


def save_rnn(path: str | Path, model: BaseRNN, training: TrainingResult) -> Path:
    """Write a model's weights and the history of its training into one safetensors file.

    The file gets exactly this name, whatever its ending; an older file is replaced all or nothing.

    Parameters
    ----------
    path : path
        Name of the file; folders above it are made.
    model : BaseRNN
        On any device.
    training : TrainingResult
        What its training did.

    Returns
    -------
    Path
        The file's absolute path.

    Raises
    ------
    StorageError
        The file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from spicestat.models.precoded import RescorlaWagnerRNN
    >>> training = TrainingResult((0.7, 0.6), (), "epochs", 2)
    >>> with TemporaryDirectory() as folder:
    ...     path = save_rnn(Path(folder) / "rnn.pkl", RescorlaWagnerRNN(n_actions=2, n_participants=3), training)
    ...     load_rnn(path, RescorlaWagnerRNN(n_actions=2, n_participants=3)) == training
    True
    """
    return write_file(path, rnn_bytes(model, training))


def rnn_bytes(model: BaseRNN, training: TrainingResult) -> bytes:
    """Return what `save_rnn` writes."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    history = json.dumps(_plain(asdict(training)))
    return save(weights, {"format": _RNN_FORMAT, "training": history, "digest": digest(weights, history)})


def load_rnn(path: str | Path, model: BaseRNN) -> TrainingResult:
    """Read what `save_rnn` wrote: weights into the model, in place, and the history of its training.

    Parameters
    ----------
    path : path
        A file of `save_rnn`.
    model : BaseRNN
        Built like the saved one; after an error it is as it was.

    Returns
    -------
    TrainingResult

    Raises
    ------
    StorageError
        The file is missing, damaged, of another kind (a pickle is never loaded) or of another model.
    """
    return restore_rnn(_read(path), model, path)


def restore_rnn(content: bytes, model: BaseRNN, name: str | Path) -> TrainingResult:
    """Like `load_rnn`, of a file's content."""
    weights, metadata = _weights(content, name)
    if metadata.get("format") != _RNN_FORMAT:
        raise StorageError(
            f"'{name}' holds no network with its training history",
            got=metadata.get("format"),
            allowed=_RNN_FORMAT,
            do="pass a file of save_rnn() or save_spice(), or load a fit folder with load_fit()",
        )
    try:
        history = metadata["training"]
        training = _restore_training(json.loads(history))
    except DAMAGE as error:
        raise StorageError(f"'{name}' is damaged: {error}", do="save the model again") from error
    if metadata.get("digest") != digest(weights, history):
        raise _changed(name)
    _put(weights, model, name)
    return training


def save_equations(path: str | Path, sparse: EquationSet, refit: RefitResult) -> Path:
    """Write equations, their estimates and covariances into one JSON file; numbers come back to the last bit.

    Parameters
    ----------
    path : path
        Name of the file, with any ending; folders above it are made, an older file is replaced.
    sparse : EquationSet
        What the sparse regression found.
    refit : RefitResult
        Its selected structure with maximum-likelihood estimates.

    Returns
    -------
    Path
        The file's absolute path.

    Raises
    ------
    StorageError
        The file cannot be written.
    """
    return write_file(path, equations_bytes(sparse, refit))


def equations_bytes(sparse: EquationSet, refit: RefitResult) -> bytes:
    """Return what `save_equations` writes."""
    equations = refit.equations
    content = {
        "format": _EQUATIONS_FORMAT,
        "libraries": [asdict(library) for library in equations.libraries],
        "states": list(equations.states),
        "status": equations.status.tolist(),
        "coefficients": equations.coefficients.tolist(),
        "sparse_status": sparse.status.tolist(),
        "sparse_coefficients": sparse.coefficients.tolist(),
        "log_likelihood": refit.log_likelihood.tolist(),
        "n_trials": refit.n_trials.tolist(),
        "converged": refit.converged.tolist(),
        "at_bound": refit.at_bound.tolist(),
        "covariance": refit.covariance.tolist(),
    }
    plain = json_bytes(content)
    return json_bytes({**content, "digest": hashlib.sha256(plain).hexdigest()})


def load_equations(path: str | Path) -> tuple[EquationSet, RefitResult]:
    """Read what `save_equations` wrote.

    Parameters
    ----------
    path : path
        A file of `save_equations`, or ``equations.json`` of a fit folder.

    Returns
    -------
    (EquationSet, RefitResult)
        The sparse regression's equations, and the refit with the selected ones.

    Raises
    ------
    StorageError
        The file is missing, damaged or of another kind (a pickle is never loaded).
    """
    return restore_equations(_read(path), path)


def restore_equations(content: bytes, name: str | Path) -> tuple[EquationSet, RefitResult]:
    """Like `load_equations`, of a file's content."""
    try:
        stored = parse_json(content, name)
    except StorageError as error:
        raise StorageError(f"cannot read '{name}': {error.what}", do=_advice(content)) from error
    if stored.get("format") != _EQUATIONS_FORMAT:
        raise StorageError(f"'{name}' has an unknown format", got=stored.get("format"), allowed=_EQUATIONS_FORMAT)
    digest_ = stored.pop("digest", None)
    try:
        restored = _restore_equations(stored)
    except DAMAGE as error:
        raise StorageError(f"'{name}' is damaged: {error!r}", do="save the equations again") from error
    if digest_ != hashlib.sha256(json_bytes(stored)).hexdigest():
        raise _changed(name)
    return restored


def _changed(name: str | Path) -> StorageError:
    return StorageError(f"'{name}' is damaged: its content has changed since it was written", do="save it again")


def _restore_training(stored: Mapping[str, Any]) -> TrainingResult:
    """Make a TrainingResult of its JSON form; anything in `DAMAGE` may be raised."""
    return TrainingResult(
        tuple(_number(loss) for loss in stored["train_nll"]),
        tuple((int(epoch), _number(loss)) for epoch, loss in stored["validation_nll"]),
        str(stored["stopped"]),
        int(stored["best_epoch"]),
    )


def json_bytes(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    """Return a JSON object as text; NumPy's numbers become Python's, NaN and infinities null, paths text.

    Raises
    ------
    StorageError
        A value is of another kind.
    """
    try:
        return json.dumps(_plain(dict(value)), indent=indent, allow_nan=False).encode()
    except TypeError as error:
        raise StorageError(
            f"this cannot be saved: {error}", allowed="numbers, texts, lists and dicts of them as settings"
        ) from error


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise StorageError(f"cannot read '{path}': {error}", do="check the path") from error


def _advice(content: bytes) -> str:
    """Say what to do about a file that cannot be read."""
    if content.startswith(_PICKLES):
        return "this looks like a pickle or torch file, which could run code and is never loaded; save it by spicestat"
    if content.startswith(b"{"):
        return "this looks like a file of equations: is it path_spice, and not path_rnn?"
    return "check that path_rnn and path_spice are not exchanged, or save it again"


def _weights(content: bytes, name: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        weights = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return weights, dict(header.get("__metadata__", {}))
    except (*DAMAGE, SafetensorError) as error:
        raise StorageError(f"cannot read '{name}': {error}", do=_advice(content)) from error


def _put(weights: Mapping[str, Tensor], model: BaseRNN, path: str | Path) -> None:
    """Load weights; names and shapes are compared first, as PyTorch would load those that fit before it raises."""
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in weights.items()}
    differing = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
    if differing:
        raise StorageError(
            f"'{path}' is damaged or holds the weights of another model",
            got=[f"{name}: {given.get(name)}" for name in differing[:4]],
            allowed=[f"{name}: {own.get(name)}" for name in differing[:4]],
            do="build the model with the saved one's settings (class, n_participants, hidden_size, n_members, ...)",
        )
    model.load_state_dict(dict(weights))


def _restore_equations(stored: Mapping[str, Any]) -> tuple[EquationSet, RefitResult]:
    libraries = tuple(_restore_library(part) for part in stored["libraries"])
    states = tuple(str(state) for state in stored["states"])
    n_terms = sum(len(library.powers) for library in libraries) + len(states)
    n_participants = len(stored["n_trials"])

    def array(name: str, dtype: str, *shape: int) -> np.ndarray:
        values = np.array(stored[name], dtype=dtype)
        if values.shape != shape:
            raise ValueError(f"'{name}' has the shape {values.shape} and not {shape}")
        return values

    def equations(prefix: str) -> EquationSet:
        coefficients = array(f"{prefix}coefficients", "float64", n_participants, n_terms)
        status = array(f"{prefix}status", "int8", n_participants, n_terms)
        if not np.isin(status, (EXCLUDED, FREE, KEPT)).all():
            raise ValueError(f"'{prefix}status' holds other numbers than {EXCLUDED}, {FREE} and {KEPT}")
        return EquationSet(libraries, states, coefficients, status)

    refit = RefitResult(
        equations=equations(""),
        covariance=array("covariance", "float64", n_participants, n_terms, n_terms),
        log_likelihood=array("log_likelihood", "float64", n_participants),
        n_trials=array("n_trials", "int64", n_participants),
        converged=array("converged", "bool", n_participants),
        at_bound=array("at_bound", "bool", n_participants, n_terms),
    )
    return equations("sparse_"), refit


def _restore_library(part: Mapping[str, Any]) -> ModuleLibrary:
    variables = tuple(str(name) for name in part["variables"])
    powers = tuple(tuple(int(power) for power in term) for term in part["powers"])
    if any(len(term) != len(variables) or not 0 <= min(term) <= max(term) <= _LARGEST_POWER for term in powers):
        raise ValueError(f"the terms of '{part['module']}' do not fit its variables")
    return ModuleLibrary(str(part["module"]), variables, powers)


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _plain(value: Any) -> Any:
    """Return what JSON can hold: Python numbers for NumPy's, None for NaN and infinities."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value
