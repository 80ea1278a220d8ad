"""Storage of fitted estimators: safetensors and JSON only, so that loading never executes code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeGuard

from spicestat.errors import ConfigError, StorageError
from spicestat.estimator import SpiceEstimator
from spicestat.files import DAMAGE
from spicestat.model_files import (
    load_equations,
    load_weights,
    read_json,
    restore_training,
    save_equations,
    save_rnn,
    write_json,
)
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.precoded import PRECODED, DeclaredModel, ModelDeclaration

__all__ = ["check_target", "is_programmed", "load_estimator", "register_model", "save_estimator", "write_folder"]

_FORMAT = 1
_MANIFEST = "fit.json"
_WEIGHTS = "rnn.safetensors"
_EQUATIONS = "equations.json"
_DECLARED, _DECLARATION = "declared", "declaration"
_REGISTERED: dict[str, tuple[type[BaseRNN], SpiceConfig]] = {}
_NOT_STORED = ("rnn_class", "spice_config", "progress", "checkpoint")


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
    except OSError as error:
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
        **_declaration(estimator.rnn_class),
        "params": params,
        "training": asdict(estimator.training_),
        "extra": extra or {},
    }
    save_rnn(folder / _WEIGHTS, estimator.rnn_model_, estimator.training_)
    save_equations(folder / _EQUATIONS, estimator.sparse_, estimator.refit_)
    write_json(folder / _MANIFEST, manifest, indent=2)


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
        rnn_class, spice_config = _model_of(manifest, source)
    try:
        estimator = SpiceEstimator(rnn_class, spice_config, **manifest["params"])
        estimator.rnn_model_ = estimator.build_model().eval()
        # folders of spicestat 0.1.0 keep the history here only
        estimator.training_ = restore_training(manifest["training"])
    except DAMAGE as error:
        raise StorageError(f"'{source}' is damaged: {error}", do="save the fit again") from error
    load_weights(source / _WEIGHTS, estimator.rnn_model_)
    estimator.sparse_, estimator.refit_ = load_equations(source / _EQUATIONS)
    estimator.equations_ = estimator.refit_.equations
    extra = manifest.get("extra")
    return estimator, extra if isinstance(extra, dict) else {}


def register_model(rnn_class: type[BaseRNN], spice_config: SpiceConfig) -> None:
    """Let fits of a programmed model be loaded by the name of its class, for the rest of the session.

    Raises
    ------
    ConfigError
        It is no subclass of BaseRNN, or has no SpiceConfig.
    """
    if not is_programmed((rnn_class, spice_config)):
        raise ConfigError("a model is a subclass of BaseRNN with a SpiceConfig", got=(rnn_class, spice_config))
    _REGISTERED[_model_name(rnn_class, spice_config)] = (rnn_class, spice_config)


def is_programmed(model: object) -> TypeGuard[tuple[type[BaseRNN], SpiceConfig]]:
    """Whether something is a programmed model: a subclass of BaseRNN with a SpiceConfig."""
    if not (isinstance(model, tuple) and len(model) == 2):
        return False
    rnn_class, config = model
    return isinstance(rnn_class, type) and issubclass(rnn_class, BaseRNN) and isinstance(config, SpiceConfig)


def _model_name(rnn_class: type[BaseRNN], config: SpiceConfig) -> str:
    for name, (known_class, known_config) in PRECODED.items():
        if rnn_class is known_class and config == known_config:
            return name
    return _DECLARED if issubclass(rnn_class, DeclaredModel) else f"custom:{rnn_class.__qualname__}"


def _declaration(rnn_class: type[BaseRNN]) -> dict[str, Any]:
    """Return what a declared model's manifest has besides: the declaration, as data."""
    return {_DECLARATION: rnn_class.declaration.to_dict()} if issubclass(rnn_class, DeclaredModel) else {}


def _model_of(manifest: dict[str, Any], source: Path) -> tuple[type[BaseRNN], SpiceConfig]:
    name = str(manifest.get("model"))
    if name == _DECLARED:
        stored = manifest.get(_DECLARATION)
        try:
            return ModelDeclaration.from_dict(stored if isinstance(stored, dict) else {}).build()
        except ConfigError as error:
            raise StorageError(f"'{source}' is damaged: {error}", do="save the fit again") from error
    known = {**_REGISTERED, **PRECODED}
    if name not in known:
        raise ConfigError(
            f"the fit used the model '{name}', which spicestat does not know",
            do="pass rnn_class and spice_config to the loading function, or call spicestat.storage.register_model()",
        )
    return known[name]
