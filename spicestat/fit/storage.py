"""Storing fitted models as safetensors and JSON, so that loading never executes code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from spicestat._files.atomic import DAMAGE, parse_json
from spicestat.coefficients import CoefficientTable, pack_coefficients, unpack_coefficients
from spicestat.errors import ConfigError, StorageError
from spicestat.fit.estimator import OF_ONE_RUN, SpiceEstimator
from spicestat.fit.fitted_model import Architecture, FittedModel
from spicestat.fit.model_files import equations_bytes, json_bytes, restore_equations, restore_rnn, rnn_bytes
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import PRECODED, DeclaredModel, ModelDeclaration
from spicestat.trials.table import TrialTable, pack_trials, unpack_trials

__all__ = ["is_programmed", "pack_model", "pack_tables", "register_model", "unpack_model", "unpack_tables"]

_MANIFEST = "fit.json"
_TRIALS = "trials/"
_WEIGHTS = "rnn.safetensors"
_EQUATIONS = "equations.json"
_DECLARED, _DECLARATION = "declared", "declaration"
_REGISTERED: dict[str, tuple[type[BaseRNN], SpiceConfig]] = {}
_SIZES = tuple(name for name in Architecture.__dataclass_fields__ if name not in ("rnn_class", "spice_config"))


def pack_tables(trials: TrialTable, coefficients: CoefficientTable) -> dict[str, bytes]:
    """Return the files that all kinds of fits have: those of the trials, and of the coefficients."""
    own = {f"{_TRIALS}{name}": content for name, content in pack_trials(trials).items()}
    return own | pack_coefficients(coefficients)


def unpack_tables(files: Mapping[str, bytes]) -> tuple[TrialTable, CoefficientTable]:
    """Make trials and coefficients of `pack_tables`' files.

    Raises
    ------
    StorageError
        A file is missing or damaged.
    """
    own = {name.removeprefix(_TRIALS): files[name] for name in files if name.startswith(_TRIALS)}
    return unpack_trials(own), unpack_coefficients(files)


def pack_model(model: FittedModel, extra: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Return the files of a fitted model: weights, equations and a manifest.

    Parameters
    ----------
    model : FittedModel
    extra : dict, optional
        JSON-serialisable values that the manifest keeps under ``extra``.

    Raises
    ------
    StorageError
        A setting is of a kind that JSON cannot hold.
    """
    architecture = model.architecture
    sizes = {name: getattr(architecture, name) for name in _SIZES}
    manifest = {
        "model": _model_name(architecture.rnn_class, architecture.spice_config),
        **_declaration(architecture.rnn_class),
        "architecture": sizes,
        "settings": dict(model.settings),
        "extra": extra or {},
    }
    return {
        _MANIFEST: json_bytes(manifest, indent=2),
        _WEIGHTS: rnn_bytes(model.network, model.training),
        _EQUATIONS: equations_bytes(model.sparse, model.refit),
    }


def unpack_model(
    files: Mapping[str, bytes], rnn_class: type[BaseRNN] | None = None, spice_config: SpiceConfig | None = None
) -> tuple[FittedModel, dict[str, Any]]:
    """Make the fitted model of `pack_model`'s files.

    Parameters
    ----------
    files : mapping of str to bytes
    rnn_class, spice_config : optional
        Needed for a custom model; a precoded one is found by its name.

    Returns
    -------
    (FittedModel, dict)
        The fitted model, without inclusion probabilities, and the manifest's ``extra``.

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
        sizes = {name: manifest["architecture"][name] for name in _SIZES}
        # where files are written is the business of whoever fits again, and not of the fit's author
        settings = {name: value for name, value in manifest["settings"].items() if name not in OF_ONE_RUN}
        architecture = Architecture(rnn_class, spice_config, **sizes)
        # a damaged setting is found here, where it can be named, and not when the fit is used
        SpiceEstimator(rnn_class, spice_config, **sizes, **settings)
        network = architecture.build().eval()
    except DAMAGE as error:
        raise StorageError(f"'{_MANIFEST}' is damaged: {error}", do="save the fit again") from error
    training = restore_rnn(files[_WEIGHTS], network, _WEIGHTS)
    sparse, refit = restore_equations(files[_EQUATIONS], _EQUATIONS)
    extra = manifest.get("extra")
    model = FittedModel(architecture, network, training, sparse, refit, settings=settings)
    return model, extra if isinstance(extra, dict) else {}


def register_model(rnn_class: type[BaseRNN], spice_config: SpiceConfig) -> None:
    """Let fits of a programmed model be loaded by the name of its class, for the rest of the session.

    Raises
    ------
    ConfigError
        The class is not a subclass of BaseRNN, or the config is not a SpiceConfig.
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
            do="pass rnn_class and spice_config to the loading function, or spicestat.register_model()",
        )
    return known[name]
