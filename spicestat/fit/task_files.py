"""Estimates of a task's model as safetensors and JSON, so that loading never executes code."""

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
from spicestat.tasks import TASKS
from spicestat.tasks.task import Task
from spicestat.tasks.task_estimates import TaskEstimates

__all__ = ["MANIFEST", "pack_estimates", "unpack_estimates"]

MANIFEST = "task.json"
"""A fit folder that has it holds a `TaskFit`."""

_WEIGHTS = "task.safetensors"
_PLAIN = ("log_marginal", "converged")
_ARRAYS = tuple(field.name for field in fields(TaskEstimates) if field.name not in _PLAIN)


def pack_estimates(name: str, estimates: TaskEstimates, scores: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the files of estimates: arrays, and a manifest with the task's name and scores."""
    manifest = {
        "task": name,
        "log_marginal": float(estimates.log_marginal),
        "converged": bool(estimates.converged),
        "scores": dict(scores),
    }
    arrays = {name: np.ascontiguousarray(getattr(estimates, name), dtype="float64") for name in _ARRAYS}
    return {MANIFEST: json.dumps(manifest, indent=1).encode(), _WEIGHTS: save(arrays)}


def unpack_estimates(files: Mapping[str, bytes]) -> tuple[Task, TaskEstimates, dict[str, Any]]:
    """Make task, estimates and scores of `pack_estimates`' files.

    Raises
    ------
    StorageError
        A file is missing or damaged, or of a task that is unknown.
    """
    absent = {MANIFEST, _WEIGHTS} - files.keys()
    if absent:
        raise StorageError(f"a saved fit lacks {', '.join(sorted(absent))}", do="save the fit again")
    manifest = parse_json(files[MANIFEST], MANIFEST)
    name = str(manifest.get("task"))
    if name not in TASKS:
        raise StorageError("the fit is of a task that spicestat does not know", got=name, allowed=", ".join(TASKS))
    try:
        arrays = load(files[_WEIGHTS])
        estimates = TaskEstimates(
            log_marginal=float(manifest["log_marginal"]),
            converged=bool(manifest["converged"]),
            **{field: arrays[field] for field in _ARRAYS},
        )
        _check_shapes(TASKS[name], estimates)
        return TASKS[name], estimates, dict(manifest["scores"])
    except (SafetensorError, *DAMAGE) as error:
        raise StorageError(f"a saved fit is damaged: {error!r}", do="save the fit again") from error


def _check_shapes(task: Task, estimates: TaskEstimates) -> None:
    """Raise `ValueError` where arrays do not belong together."""
    n_people, k = len(estimates.person_mean), len(task.parameters)
    wanted = {
        "mean": (k,),
        "covariance": (k, k),
        "person_mean": (n_people, k),
        "person_covariance": (n_people, k, k),
        "own": (n_people, k),
        "own_covariance": (n_people, k, k),
        "own_log_likelihood": (n_people,),
    }
    wrong = [name for name, shape in wanted.items() if getattr(estimates, name).shape != shape]
    if wrong or not np.isfinite(estimates.person_mean).all():
        raise ValueError(f"estimates of {n_people} people and {k} parameters have other shapes: {wrong}")
