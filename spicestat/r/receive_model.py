"""Models as R sends them: a name, a declaration as nested lists, or a Python class with its config."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from spicestat.errors import ConfigError
from spicestat.r.torch_symbols import load_torch

__all__ = ["as_model"]


def as_model(sent: Any) -> Any:
    """Return what `spicestat.spice_fit` takes as a model.

    Parameters
    ----------
    sent : str or mapping
        A name; a mapping with ``modules`` and ``states``, as `ModelDeclaration.from_dict` takes; or one with ``class``,
        a subclass of BaseRNN, and ``config``, a SpiceConfig or a mapping of its arguments. A class is remembered, so
        that fits of it can be loaded in this session.

    Examples
    --------
    >>> as_model("choice")
    'choice'
    >>> modules = [{"name": "x_value", "target": "x_value", "inputs": ["c_reward"], "cells": "chosen"}]
    >>> as_model({"modules": modules, "states": [["x_value", 0.0]], "betas": []}).visible
    ('x_value',)
    """
    if isinstance(sent, str):
        return sent
    load_torch()
    if isinstance(sent, Mapping) and "class" in sent:
        return _programmed(sent["class"], sent.get("config"))
    if isinstance(sent, Mapping):
        declaration = importlib.import_module("spicestat.models.precoded.declared").ModelDeclaration
        return declaration.from_dict(sent)
    raise ConfigError("unknown model", got=type(sent).__name__, allowed="a name, spice_model() or spice_python_model()")


def _programmed(rnn_class: Any, config: Any) -> tuple[Any, Any]:
    settings = importlib.import_module("spicestat.models.config").SpiceConfig
    if isinstance(config, Mapping):
        try:
            config = settings(**config)
        except TypeError as error:
            raise ConfigError(f"the config of the model cannot be read: {error}") from error
    importlib.import_module("spicestat.fit.storage").register_model(rnn_class, config)
    return rnn_class, config
