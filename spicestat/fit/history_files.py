"""Pooled weights as safetensors and JSON, so that loading never executes code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from spicestat._files.atomic import DAMAGE, parse_json
from spicestat.errors import StorageError
from spicestat.pooled.fit import PooledFit
from spicestat.pooled.people import OwnEstimates
from spicestat.pooled.prediction import Kind
from spicestat.pooled.states import State
from spicestat.training.state_network import StateNetwork, restore_members

__all__ = ["MANIFEST", "pack_network", "pack_pooled", "unpack_network", "unpack_pooled"]

MANIFEST = "history.json"
"""A fit folder that has it holds a `HistoryFit`."""

_WEIGHTS = "history.safetensors"
_NETWORK, _NETWORK_WEIGHTS = "network.json", "network.safetensors"
_SCALE = "scale"
_PLAIN = ("n_own", "reward_size", "converged")
_NESTED = ("states", "kinds", "own")
_ARRAYS = tuple(field.name for field in fields(PooledFit) if field.name not in (*_PLAIN, *_NESTED))
_OWN = tuple(field.name for field in fields(OwnEstimates))


def pack_pooled(pooled: PooledFit, scores: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of pooled weights: arrays, and a manifest with states and scores."""
    manifest = {
        "states": [declared.as_dict() for declared in pooled.states],
        **{name: getattr(pooled, name) for name in _PLAIN},
        "kinds": [{"share": kind.share, "guesses": kind.guesses} for kind in pooled.kinds],
        "scores": dict(scores),
    }
    arrays = {name: getattr(pooled, name) for name in _ARRAYS}
    arrays |= {f"own/{name}": getattr(pooled.own, name) for name in _OWN}
    for place, kind in enumerate(pooled.kinds):
        arrays |= {f"kind{place}/mean": kind.mean, f"kind{place}/covariance": kind.covariance}
    # numpy floats of results are floats of JSON
    text = json.dumps(manifest, indent=1, default=lambda value: value.item())
    return {MANIFEST: text.encode(), _WEIGHTS: save({name: np.ascontiguousarray(a) for name, a in arrays.items()})}


def unpack_pooled(files: Mapping[str, bytes]) -> tuple[PooledFit, dict[str, Any]]:
    """Make pooled weights and scores of `pack_pooled`'s files.

    Raises
    ------
    StorageError
        A file is missing or damaged.
    """
    absent = {MANIFEST, _WEIGHTS} - files.keys()
    if absent:
        raise StorageError(f"a saved fit lacks {', '.join(sorted(absent))}", do="save the fit again")
    manifest = parse_json(files[MANIFEST], MANIFEST)
    try:
        arrays = load(files[_WEIGHTS])
        pooled = PooledFit(
            states=tuple(State.from_dict(plain) for plain in manifest["states"]),
            kinds=tuple(
                Kind(float(plain["share"]), arrays[f"kind{i}/mean"], arrays[f"kind{i}/covariance"], plain["guesses"])
                for i, plain in enumerate(manifest["kinds"])
            ),
            own=OwnEstimates(**{name: arrays[f"own/{name}"] for name in _OWN}),
            n_own=int(manifest["n_own"]),
            reward_size=float(manifest["reward_size"]),
            converged=bool(manifest["converged"]),
            **{name: arrays[name] for name in _ARRAYS},
        )
        _check_shapes(pooled)
        return pooled, dict(manifest["scores"])
    except (SafetensorError, *DAMAGE) as error:
        raise StorageError(f"a saved fit is damaged: {error!r}", do="save the fit again") from error


def pack_network(network: StateNetwork) -> dict[str, bytes]:
    """Return the files of a network on top of equations."""
    plain = {name: getattr(network, name) for name in ("n_people", "nll", "nll_equations")}
    manifest = {"states": [declared.as_dict() for declared in network.states], **plain}
    arrays = {_SCALE: network.scale} | network.arrays()
    weights = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return {_NETWORK: json.dumps(manifest, indent=1).encode(), _NETWORK_WEIGHTS: weights}


def unpack_network(files: Mapping[str, bytes]) -> StateNetwork | None:
    """Make the network of `pack_network`'s files; None where there are none.

    Raises
    ------
    StorageError
        A file is missing or damaged.
    """
    there = {_NETWORK, _NETWORK_WEIGHTS} & files.keys()
    if not there:
        return None
    if len(there) == 1:
        raise StorageError("a saved fit lacks a file of its network", got=sorted(there), do="save the fit again")
    manifest = parse_json(files[_NETWORK], _NETWORK)
    try:
        arrays = load(files[_NETWORK_WEIGHTS])
        scale, n_people = arrays.pop(_SCALE), int(manifest["n_people"])
        states = tuple(State.from_dict(plain) for plain in manifest["states"])
        members = restore_members(arrays, len(states), n_people)
        if scale.shape != (len(states),):
            raise ValueError(f"the scale of {len(states)} states has shape {scale.shape}")
        nll, nll_equations = float(manifest["nll"]), float(manifest["nll_equations"])
        return StateNetwork(members, states, scale, n_people, nll, nll_equations)
    except (SafetensorError, *DAMAGE) as error:
        raise StorageError(f"a saved fit is damaged: {error!r}", do="save the fit again") from error


def _check_shapes(pooled: PooledFit) -> None:
    """Raise `ValueError` where arrays do not belong together."""
    n_people, n_states, n_own = len(pooled.n_choices), len(pooled.states), pooled.n_own
    found = (
        pooled.mean.shape,
        pooled.mean_covariance.shape,
        pooled.pooled.shape,
        pooled.pooled_covariance.shape,
        pooled.own.estimate.shape,
        pooled.belongs.shape,
    )
    wanted = (
        (n_states,),
        (n_states, n_states),
        (n_people, n_states),
        (n_people, n_own, n_own),
        (n_people, n_own),
        (n_people, len(pooled.kinds)),
    )
    if found != wanted or not np.isfinite(pooled.pooled).all() or not pooled.reward_size > 0:
        raise ValueError(f"weights of {n_people} people and {n_states} states have shapes {found}")
