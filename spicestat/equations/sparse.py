"""Sparse regression with pysindy (its only import), and a batched version for all participants at once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning as SklearnConvergenceWarning

from spicestat.equations.structure.library import ModuleLibrary
from spicestat.equations.trajectories import Trajectory
from spicestat.errors import ConfigError

if TYPE_CHECKING:  # imported where it is used: it takes seconds, and a fit that is loaded does not need it
    import pysindy

__all__ = [
    "OPTIMIZERS",
    "SparseFit",
    "check_optimizer",
    "fit_with_pysindy",
    "group_threshold",
    "independent_terms",
    "polynomial_library",
    "sparse_regression",
    "sr3",
    "stlsq",
]

OPTIMIZERS = ("STLSQ", "SR3_L1", "SR3_weighted_l1")
"""Optimizers known by name; any pysindy optimizer object will do, too."""

_SR3_ITERATIONS = 1000


@dataclass(frozen=True, eq=False)
class SparseFit:
    """Sparse coefficients of one module.

    Attributes
    ----------
    coefficients : ndarray of shape (P, K)
        0 where a term is not selected, NaN for participants without a row.
    selected : bool ndarray of shape (P, K)
    """

    coefficients: np.ndarray
    selected: np.ndarray


@dataclass(frozen=True, eq=False)
class _Moments:
    """Normal equations per participant: gram (P, K, K), cross (P, K), rows (P,)."""

    gram: np.ndarray
    cross: np.ndarray
    rows: np.ndarray


def polynomial_library(module: str, signals: Sequence[str], degree: int = 1) -> ModuleLibrary:
    """All monomials up to a degree, from ``pysindy.PolynomialLibrary``.

    Parameters
    ----------
    module : str
        Module name.
    signals : sequence of str
        Names of its control signals.
    degree : int
        Largest total degree, 1 or more.

    Raises
    ------
    ConfigError
        The degree is below 1.

    Examples
    --------
    >>> polynomial_library("x_value", ["c_reward"], degree=2).terms
    ('1', 'x_value', 'c_reward', 'x_value^2', 'x_value c_reward', 'c_reward^2')
    """
    if degree < 1:
        raise ConfigError("the polynomial degree must be 1 or more", got=degree)
    import pysindy

    variables = (module, *signals)
    polynomials = pysindy.PolynomialLibrary(degree=degree, include_bias=True)
    polynomials.fit(np.zeros((1, len(variables))))
    powers = tuple(tuple(int(power) for power in term) for term in polynomials.powers_)
    return ModuleLibrary(module, variables, powers)


def stlsq(
    trajectory: Trajectory,
    library: ModuleLibrary,
    n_participants: int,
    threshold: float = 0.05,
    alpha: float = 0.1,
    max_iter: int = 20,
    candidates: np.ndarray | None = None,
) -> SparseFit:
    """Sequentially thresholded ridge regression for all participants at once.

    Equals ``pysindy.STLSQ(threshold, alpha, max_iter)`` run for each participant (to 1e-6 on
    designs of full rank). Brunton, Proctor & Kutz (2016), doi:10.1073/pnas.1517384113.

    Parameters
    ----------
    trajectory : Trajectory
        N rows.
    library : ModuleLibrary
        K candidate terms.
    n_participants : int
        P.
    threshold : float
        Terms with a smaller absolute coefficient are dropped, 0 or more.
    alpha : float
        Ridge penalty while selecting, 0 or more; the returned coefficients are not penalised.
    max_iter : int
        Largest number of rounds.
    candidates : bool ndarray of shape (K,), optional
        Terms to choose from; default: all.

    Raises
    ------
    ConfigError
        A setting is out of range.
    """
    _check(threshold, alpha, max_iter)
    moments = _moments(trajectory, library, n_participants)
    n_terms = len(library.terms)
    every_term = np.ones(n_terms, dtype=bool) if candidates is None else candidates
    selected = np.tile(every_term, (n_participants, 1))
    for _ in range(max_iter):
        coefficients = _ridge(moments, selected, alpha)
        kept = selected & (np.abs(coefficients) >= threshold)
        if (kept == selected).all():
            break
        selected = kept
    return _unbiased(moments, selected)


def group_threshold(
    trajectory: Trajectory,
    library: ModuleLibrary,
    n_participants: int,
    threshold: float = 0.05,
    alpha: float = 0.1,
    max_iter: int = 20,
    candidates: np.ndarray | None = None,
) -> SparseFit:
    """Like `stlsq`, with one structure for the population.

    A term stays while the root mean square of its coefficients over participants reaches the
    threshold (group sparsity).
    """
    _check(threshold, alpha, max_iter)
    moments = _moments(trajectory, library, n_participants)
    present = moments.rows > 0
    kept = np.ones(len(library.terms), dtype=bool) if candidates is None else candidates.copy()
    for _ in range(max_iter):
        coefficients = _ridge(moments, np.broadcast_to(kept, (n_participants, len(kept))), alpha)
        # a module may have been called for nobody
        size = np.sqrt(np.sum(coefficients[present] ** 2, axis=0) / max(present.sum(), 1))
        smaller = kept & (size >= threshold)
        if (smaller == kept).all():
            break
        kept = smaller
    return _unbiased(moments, np.tile(kept, (n_participants, 1)))


def independent_terms(trajectory: Trajectory, library: ModuleLibrary, tolerance: float = 1e-8) -> np.ndarray:
    """Say which terms are no linear combination of simpler ones on these rows (bool ndarray of shape (K,)).

    With rewards of 0 and 1, for example, ``c_reward^2`` equals ``c_reward`` and is not a candidate.
    """
    moments = _moments(replace(trajectory, participant=np.zeros_like(trajectory.participant)), library, 1)
    gram = moments.gram[0]
    kept: list[int] = []
    for position, size in enumerate(np.diag(gram)):
        if size <= 0:
            continue
        along = gram[kept, position]
        explained = along @ np.linalg.pinv(gram[np.ix_(kept, kept)], hermitian=True) @ along if kept else 0.0
        if size - explained > tolerance * size:
            kept.append(position)
    return np.isin(np.arange(len(gram)), kept)


def check_optimizer(optimizer: object) -> None:
    """Raise `ConfigError` unless it is a name in `OPTIMIZERS` or a pysindy optimizer."""
    if optimizer in OPTIMIZERS:
        return
    import pysindy

    if not isinstance(optimizer, pysindy.BaseOptimizer):
        raise ConfigError(
            "unknown optimizer", got=optimizer, allowed=f"{', '.join(OPTIMIZERS)}, or a pysindy optimizer object"
        )


def sparse_regression(
    trajectory: Trajectory,
    library: ModuleLibrary,
    n_participants: int,
    optimizer: str | pysindy.BaseOptimizer = "STLSQ",
    threshold: float = 0.05,
    alpha: float = 0.1,
    candidates: np.ndarray | None = None,
    *,
    shared: bool = False,
) -> SparseFit:
    """Regress updates on candidate terms with an optimizer of one's choice.

    Parameters
    ----------
    trajectory, library, n_participants, threshold, alpha, candidates
        As in `stlsq`; ``alpha`` is the relaxation nu of SR3. An optimizer object has its own settings.
    optimizer : {"STLSQ", "SR3_L1", "SR3_weighted_l1"} or pysindy optimizer
        "STLSQ" runs for all participants at once; the others one participant after the other.
    shared : bool, default False
        One structure for the population: a term stays if the root mean square of its coefficients over
        participants reaches the threshold (for an optimizer object: if half of the participants have it).

    Returns
    -------
    SparseFit
        With least-squares coefficients of the selected terms.
    """
    if isinstance(optimizer, str) and optimizer == "STLSQ":
        search = group_threshold if shared else stlsq
        return search(trajectory, library, n_participants, threshold, alpha, candidates=candidates)
    check_optimizer(optimizer)
    terms = np.ones(len(library.terms), dtype=bool) if candidates is None else candidates
    reduced = replace(library, powers=tuple(np.array(library.powers, dtype=object)[terms].tolist()))
    solver = (
        sr3(reduced, threshold, alpha, weighted=optimizer == "SR3_weighted_l1")
        if isinstance(optimizer, str)
        else optimizer
    )
    found = fit_with_pysindy(trajectory, reduced, n_participants, solver)
    selected = np.zeros((n_participants, len(terms)), dtype=bool)
    selected[:, terms] = (
        _everybodys(found, threshold if isinstance(optimizer, str) else None) if shared else found.selected
    )
    return _unbiased(_moments(trajectory, library, n_participants), selected)


def _everybodys(found: SparseFit, threshold: float | None) -> np.ndarray:
    """Give everybody the terms that matter in the population, (P, K)."""
    present = ~np.isnan(found.coefficients).any(axis=1)
    if not present.any():
        # a module may have been called for nobody
        return found.selected
    if threshold is None:
        kept = found.selected[present].mean(axis=0) >= 0.5
    else:
        kept = np.sqrt((found.coefficients[present] ** 2).mean(axis=0)) >= threshold
    return np.broadcast_to(kept, found.selected.shape)


def sr3(library: ModuleLibrary, threshold: float, nu: float, *, weighted: bool = False) -> pysindy.SR3:
    """Sparse relaxed regularized regression with an L1 penalty that shrinks by ``threshold``.

    Zheng et al. (2019), doi:10.1109/ACCESS.2018.2886528.

    Parameters
    ----------
    library : ModuleLibrary
        K terms.
    threshold : float
        Soft threshold of the relaxed coefficients, 0 or more.
    nu : float
        Relaxation, above 0.
    weighted : bool
        Multiply the threshold by each term's degree, so that simpler terms enter first and the constant
        is free.
    """
    if threshold < 0 or nu <= 0:
        raise ConfigError("threshold must be 0 or more and alpha above 0", got={"threshold": threshold, "alpha": nu})
    import pysindy

    weight = threshold / nu
    if not weighted:
        return pysindy.SR3(reg_weight_lam=weight, regularizer="L1", relax_coeff_nu=nu, max_iter=_SR3_ITERATIONS)
    weights = weight * np.array([[float(sum(powers)) for powers in library.powers]])
    return pysindy.SR3(reg_weight_lam=weights, regularizer="weighted_L1", relax_coeff_nu=nu, max_iter=_SR3_ITERATIONS)


def fit_with_pysindy(
    trajectory: Trajectory, library: ModuleLibrary, n_participants: int, optimizer: pysindy.BaseOptimizer
) -> SparseFit:
    """Fit every participant with any pysindy optimizer object, one after the other.

    Parameters
    ----------
    trajectory, library, n_participants
        As in `stlsq`.
    optimizer : pysindy optimizer
        For example ``pysindy.STLSQ(threshold=.05)`` or ``pysindy.SR3()``; it is left as it is.
    """
    coefficients = np.full((n_participants, len(library.terms)), np.nan)
    for code in np.unique(trajectory.participant):
        rows = trajectory.participant == code
        # fitting leaves its traces on the object; sklearn's clone() does not know how to copy a weighted SR3
        solver = copy.deepcopy(optimizer)
        with warnings.catch_warnings():
            # an empty equation and an unfinished iteration show in the result itself
            warnings.filterwarnings("ignore", message="Sparsity parameter is too big")
            warnings.filterwarnings("ignore", category=SklearnConvergenceWarning)
            solver.fit(library.evaluate(trajectory.variables[rows]), trajectory.target[rows].reshape(-1, 1))
        coefficients[code] = np.asarray(solver.coef_).reshape(-1)
    return SparseFit(coefficients, np.nan_to_num(coefficients) != 0)


def _check(threshold: float, alpha: float, max_iter: int) -> None:
    if threshold < 0 or alpha < 0 or max_iter < 1:
        raise ConfigError(
            "threshold and alpha must be 0 or more and max_iter 1 or more",
            got={"threshold": threshold, "alpha": alpha, "max_iter": max_iter},
        )


def _moments(trajectory: Trajectory, library: ModuleLibrary, n_participants: int) -> _Moments:
    terms = library.evaluate(trajectory.variables)
    who, n_terms = trajectory.participant, terms.shape[1]
    gram = np.empty((n_participants, n_terms, n_terms))
    cross = np.empty((n_participants, n_terms))
    for row in range(n_terms):
        cross[:, row] = np.bincount(who, terms[:, row] * trajectory.target, minlength=n_participants)
        for column in range(row + 1):
            products = np.bincount(who, terms[:, row] * terms[:, column], minlength=n_participants)
            gram[:, row, column] = gram[:, column, row] = products
    return _Moments(gram, cross, np.bincount(who, minlength=n_participants))


def _ridge(moments: _Moments, selected: np.ndarray, alpha: float) -> np.ndarray:
    """Ridge coefficients (P, K) on each participant's own support; zero elsewhere."""
    both = selected[:, :, None] & selected[:, None, :]
    gram = np.where(both, moments.gram, 0.0)
    index = np.arange(selected.shape[1])
    gram[:, index, index] += np.where(selected, alpha, 1.0)
    return _solve(gram, np.where(selected, moments.cross, 0.0))


def _solve(gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Solve symmetric systems with columns scaled to one, by minimum norm where they are singular."""
    scale = np.sqrt(np.maximum(np.einsum("pkk->pk", gram), np.finfo(float).tiny))
    scaled = gram / (scale[:, :, None] * scale[:, None, :])
    inverse = np.linalg.pinv(scaled, rcond=1e-10, hermitian=True)
    solution: np.ndarray = np.einsum("pkl,pl->pk", inverse, cross / scale) / scale
    return solution


def _unbiased(moments: _Moments, selected: np.ndarray) -> SparseFit:
    coefficients = _ridge(moments, selected, 0.0)
    coefficients[moments.rows == 0] = np.nan
    return SparseFit(coefficients, selected & (moments.rows > 0)[:, None])
