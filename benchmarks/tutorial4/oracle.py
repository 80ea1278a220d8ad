"""Maximum likelihood of the equations that made the data: what no discovery can beat. numpy and scipy only."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from benchmarks.tutorial4.simulate import INITIAL_VALUE, Choices, Truth

NAMES = (("alpha", "constant", "slope", "beta"), ("alpha", "beta"))
"""The parameters that the true equations of either participant have."""

_START = {"alpha": 0.5, "constant": 0.05, "slope": 0.9, "beta": 2.0}
_KEEP = {"constant": 0.0, "slope": 1.0}
_STEP = 1e-5


@dataclass(frozen=True)
class OracleFit:
    """Estimates and standard errors (inverse observed information) by name, and the mean NLL per choice."""

    estimate: dict[str, float]
    std_error: dict[str, float]
    nll: float


def likelihood(theta: np.ndarray, names: tuple[str, ...], data: Choices) -> tuple[float, np.ndarray]:
    """Sum of negative log-likelihoods and its gradient, by the recursion's forward derivatives."""
    values = {**_KEEP, **dict(zip(names, theta, strict=True))}
    place = {name: position for position, name in enumerate(names)}
    n_sessions, n_trials = data.choice.shape
    rows, total, gradient = np.arange(n_sessions), 0.0, np.zeros(len(names))
    value, slopes = np.full((n_sessions, 2), INITIAL_VALUE), np.zeros((n_sessions, 2, len(names)))
    for trial in range(n_trials):
        choice, reward = data.choice[:, trial], data.reward[:, trial]
        other = 1 - choice
        error, old = reward - value[rows, choice], value[rows, other]
        slopes[rows, choice] *= 1.0 - values["alpha"]
        slopes[rows, choice, place["alpha"]] += error
        slopes[rows, other] *= values["slope"]
        if "constant" in place:
            slopes[rows, other, place["constant"]] += 1.0
            slopes[rows, other, place["slope"]] += old
        value[rows, choice] += values["alpha"] * error
        value[rows, other] = values["constant"] + values["slope"] * old

        target = data.target[:, trial]
        ahead = value[rows, target] - value[rows, 1 - target]
        margin = values["beta"] * ahead
        total += np.logaddexp(0.0, -margin).sum()
        weight = -expit(-margin)
        gradient += (weight * values["beta"]) @ (slopes[rows, target] - slopes[rows, 1 - target])
        gradient[place["beta"]] += weight @ ahead
    return float(total), gradient


def fit_oracle(data: Choices, participant: int) -> OracleFit:
    """Fit the true equations of ``participant`` to its choices."""
    names = NAMES[participant]
    start = np.array([_START[name] for name in names])
    found = minimize(likelihood, start, args=(names, data), jac=True, method="BFGS", options={"gtol": 1e-4})
    size = float(np.abs(found.jac).max())
    if size > 1e-2:
        raise RuntimeError(f"the oracle's fit did not converge: gradient {size:g}")
    errors = np.sqrt(np.diag(np.linalg.inv(_information(found.x, names, data))))
    estimate, std_error = (dict(zip(names, part.tolist(), strict=True)) for part in (found.x, errors))
    return OracleFit(estimate, std_error, float(found.fun) / data.target.size)


def truth_nll(data: Choices, truth: Truth) -> float:
    """Mean negative log-likelihood per choice under the true parameters."""
    names = NAMES[0]
    theta = np.array([getattr(truth, name) for name in names])
    return likelihood(theta, names, data)[0] / data.target.size


def _information(theta: np.ndarray, names: tuple[str, ...], data: Choices) -> np.ndarray:
    """Observed information: central differences of the analytic gradient."""
    steps = np.eye(len(theta)) * _STEP
    rows = [likelihood(theta + step, names, data)[1] - likelihood(theta - step, names, data)[1] for step in steps]
    matrix = np.array(rows) / (2 * _STEP)
    return (matrix + matrix.T) / 2
