"""Choice probabilities of discovered equations, in plain numpy, the same for both libraries' coefficients."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from benchmarks.tutorial4.simulate import INITIAL_VALUE, Choices

RATE, NOT_CHOSEN = "x_learning_rate_reward", "x_value_reward_not_chosen"
VALUE, REWARD = "c_value_reward", "c_reward"
_LIMIT = 10.0


@dataclass(frozen=True)
class Equations:
    """One participant's coefficients: {module: {term: coefficient}} without zeros, and the inverse temperature."""

    modules: dict[str, dict[str, float]]
    beta: float


@dataclass(frozen=True)
class Run:
    """What the equations predict for given choices: mean NLL, P(arm 0) next (S, T), and their mean learning rate."""

    nll: float
    first: np.ndarray
    mean_rate: float


def run(equations: Equations, data: Choices) -> Run:
    """Step through the choices; the reward prediction error is hard-coded, as in the tutorial's model."""
    n_sessions, n_trials = data.choice.shape
    rows = np.arange(n_sessions)
    value, rate = np.full((n_sessions, 2), INITIAL_VALUE), np.zeros((n_sessions, 2))
    ahead, rates = np.empty((n_sessions, n_trials)), np.empty((n_sessions, n_trials))
    for trial in range(n_trials):
        choice, reward = data.choice[:, trial], data.reward[:, trial]
        other, chosen = 1 - choice, value[rows, choice]
        signals = {RATE: rate[rows, choice], REWARD: reward, VALUE: chosen}
        new_rate = _polynomial(equations.modules.get(RATE, {}), signals, n_sessions)
        kept = _polynomial(equations.modules.get(NOT_CHOSEN, {}), {NOT_CHOSEN: value[rows, other]}, n_sessions)
        value[rows, choice] = np.clip(chosen + new_rate * (reward - chosen), -_LIMIT, _LIMIT)
        value[rows, other] = kept
        rate = np.zeros_like(rate)
        rate[rows, choice] = new_rate
        ahead[:, trial], rates[:, trial] = value[:, 0] - value[:, 1], new_rate
    margin = equations.beta * ahead
    nll = np.logaddexp(0.0, np.where(data.target == 0, -margin, margin)).mean()
    return Run(float(nll), expit(margin), float(rates.mean()))


def _polynomial(terms: dict[str, float], signals: dict[str, np.ndarray], n_sessions: int) -> np.ndarray:
    total = np.zeros(n_sessions)
    for term, coefficient in terms.items():
        product = np.ones(n_sessions)
        for factor in [] if term == "1" else term.split():
            name, _, power = factor.partition("^")
            product = product * signals[name] ** int(power or 1)
        total += coefficient * product
    return np.clip(total, -_LIMIT, _LIMIT)
