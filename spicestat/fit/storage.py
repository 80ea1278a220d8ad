"""Storage of fitted estimators: safetensors and JSON only, so that loading never executes code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from spicestat._files.atomic import DAMAGE, parse_json
from spicestat.errors import ConfigError, StorageError
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.model_files import equations_bytes, json_bytes, restore_equations, restore_rnn, rnn_bytes
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import PRECODED, DeclaredModel, ModelDeclaration

__all__ = ["is_programmed", "pack_estimator", "register_model", "unpack_estimator"]

_MANIFEST = "fit.json"
_WEIGHTS = "rnn.safetensors"
_EQUATIONS = "equations.json"
_DECLARED, _DECLARATION = "declared", "declaration"
_REGISTERED: dict[str, tuple[type[BaseRNN], SpiceConfig]] = {}
_NOT_STORED = ("rnn_class", "spice_config", "progress", "checkpoint", "save_path_rnn", "save_path_spice")


def pack_estimator(estimator: SpiceEstimator, extra: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Return the files of a fitted estimator: weights, equations and a manifest.

    Parameters
    ----------
    estimator : SpiceEstimator
        Fitted.
    extra : dict, optional
        JSON-serialisable values that the manifest keeps under ``extra``.

    Raises
    ------
    StorageError
        A setting is of a kind that JSON cannot hold.
    """
    params = {name: value for name, value in estimator.get_params().items() if name not in _NOT_STORED}
    manifest = {
        "model": _model_name(estimator.rnn_class, estimator.spice_config),
        **_declaration(estimator.rnn_class),
        "params": params,
        "extra": extra or {},
    }
    return {
        _MANIFEST: json_bytes(manifest, indent=2),
        _WEIGHTS: rnn_bytes(estimator.rnn_model_, estimator.training_),
        _EQUATIONS: equations_bytes(estimator.sparse_, estimator.refit_),
    }


def unpack_estimator(
    files: Mapping[str, bytes], rnn_class: type[BaseRNN] | None = None, spice_config: SpiceConfig | None = None
) -> tuple[SpiceEstimator, dict[str, Any]]:
    """Make the estimator of `pack_estimator`'s files.

    Parameters
    ----------
    files : mapping of str to bytes
    rnn_class, spice_config : optional
        Needed for a custom model; a precoded one is found by its name.

    Returns
    -------
    (SpiceEstimator, dict)
        The fitted estimator and the manifest's ``extra``.

    Raises
    ------
    StorageError
        A file is missing or damaged.
    ConfigError
        A custom model's class is not given.
    """
    absent = {_MANIFEST, _WEIGHTS, _EQUATIONS} - files.keys()
    if absent:
        raise StorageError(f"a saved fit lacks {', '.join(sorted(absent))}", do="save the fit again")
    manifest = parse_json(files[_MANIFEST], _MANIFEST)
    if rnn_class is None or spice_config is None:
        rnn_class, spice_config = _model_of(manifest)
    try:
        # where files are written is the business of whoever fits again, and not of the fit's author
        params = {name: value for name, value in manifest["params"].items() if name not in _NOT_STORED}
        estimator = SpiceEstimator(rnn_class, spice_config, **params)
        estimator.rnn_model_ = estimator.build_model().eval()
    except DAMAGE as error:
        raise StorageError(f"'{_MANIFEST}' is damaged: {error}", do="save the fit again") from error
    estimator.training_ = restore_rnn(files[_WEIGHTS], estimator.rnn_model_, _WEIGHTS)
    estimator.sparse_, estimator.refit_ = restore_equations(files[_EQUATIONS], _EQUATIONS)
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


def _model_of(manifest: Mapping[str, Any]) -> tuple[type[BaseRNN], SpiceConfig]:
    name = str(manifest.get("model"))
    if name == _DECLARED:
        stored = manifest.get(_DECLARATION)
        try:
            return ModelDeclaration.from_dict(stored if isinstance(stored, dict) else {}).build()
        except ConfigError as error:
            raise StorageError(f"'{_MANIFEST}' is damaged: {error}", do="save the fit again") from error
    known = {**_REGISTERED, **PRECODED}
    if name not in known:
        raise ConfigError(
            f"the fit used the model '{name}', which spicestat does not know",
            do="pass rnn_class and spice_config to the loading function, or call spicestat.fit.storage.register_model()",
        )
    return known[name]
