"""Cohorts whose coefficients can be told apart, and cohorts with a pair of coefficients that cannot."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np

from benchmarks.kernels.coverage import Bandit
from benchmarks.tables import as_table
from spicestat import HistoryFit, ModelDeclaration, ModuleDeclaration, SpiceFit, read_trials, spice_fit, spice_update
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT
from spicestat.errors import SpicestatWarning
from spicestat.fit.history import assemble_history
from spicestat.fit.packing import pack_table
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.states import State, state, state_rows

PEOPLE, BLOCKS, TRIALS = 40, 3, 50
"""Small: what is told apart here, larger studies tell apart, too."""

TRUE = (state("last"), state(("rewarded", 0.5)), state(("choices", 0.9)))
MEAN, SD = np.array([0.4, 1.6, 0.5]), np.array([0.6, 0.8, 0.4])


def _two_traces(keep: float) -> tuple[tuple[State, ...], frozenset[str]]:
    return (*TRUE, state(("rewarded", keep))), frozenset({f"beta:rewarded_0.5 ~ beta:rewarded_{keep:g}"})


STRUCTURES: dict[str, tuple[tuple[State, ...], frozenset[str]]] = {
    "clean": (TRUE, frozenset()),
    # a trace that keeps nothing is the last choice: the sum of both weights alone counts
    "sum": ((*TRUE, state(("choices", 0.0))), frozenset({"beta:last ~ beta:choices_0"})),
    # two traces of rewards that hardly differ, a little more, and so much that the choices tell them apart; `oracle`
    "near": _two_traces(0.6),
    "edge": _two_traces(0.65),
    "apart": ((*TRUE, state(("rewarded", 0.75))), frozenset()),
}
"""States that are fitted, and the pairs among them that cannot be told apart."""


def sessions(seed: int, n_people: int = PEOPLE) -> tuple[np.ndarray, Sessions]:
    """Everybody's true weights, and what they did in a bandit whose arms change places."""
    rng = np.random.default_rng(seed)
    weights = MEAN + SD * rng.standard_normal((n_people, len(TRUE)))
    owner = np.repeat(np.arange(n_people), BLOCKS)
    played = play_states(TRUE, weights[owner], Bandit(len(owner), rng), 2, TRIALS, rng)
    return weights, pack_sessions(played.choice, played.rewards, owner, 2)


def history(kind: str, seed: int) -> HistoryFit:
    """Fit given states to a cohort."""
    states, _ = STRUCTURES[kind]
    with warnings.catch_warnings():
        # somebody may have chosen one arm throughout
        warnings.simplefilter("ignore", SpicestatWarning)
        table = read_trials(as_table(sessions(seed)[1]), block="block")
    data = pack_table(table)
    return assemble_history(table, data, fit_pooled(data, states), math.nan, seed)


EQUATIONS: dict[str, tuple[tuple[tuple[str, str], ...], frozenset[str]]] = {
    "clean": ((("m_first", "c_reward"), ("m_second", "1")), frozenset()),
    # both states add up rewards of the chosen action, and their sum is what choices follow
    "sum": (
        (("m_first", "c_reward"), ("m_second", "c_reward"), ("m_second", "1")),
        frozenset({"m_first:c_reward ~ m_second:c_reward"}),
    ),
}
"""Terms that are estimated, and the pairs among them that cannot be told apart."""


def equations(kind: str) -> SpiceFit:
    """Make a fit whose equations have the terms of a kind; `spice_update` estimates them in a cohort."""
    modules = [
        ModuleDeclaration(f"m_{name}", f"x_{name}", inputs=["c_reward"], cells="chosen") for name in ("first", "second")
    ]
    model = ModelDeclaration(modules, states={"x_first": 0.0, "x_second": 0.0}, betas=[])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpicestatWarning)
        base = spice_fit(as_table(sessions(10_000_019, 12)[1]), block="block", model=model, epochs=2)
    own = base.model.equations
    free, _ = EQUATIONS[kind]
    status = np.full(own.status.shape, EXCLUDED, dtype="int8")
    status[:, own.own_state] = KEPT
    status[:, [own.terms.index(term) for term in free]] = FREE
    zeros = np.where(status == KEPT, 1.0, 0.0)
    planted = replace(base.model.refit, equations=own.with_status(status).with_coefficients(zeros))
    return replace(base, model=base.model.with_refit(planted))


def updated(base: SpiceFit, seed: int) -> SpiceFit:
    """Estimate the terms of `equations` in a cohort."""
    trials = as_table(sessions(seed)[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpicestatWarning)
        return spice_update(base, trials.assign(participant="new" + trials["participant"].astype(str)))


def oracle(kind: str) -> float:
    """Return the largest correlation of two weights in the choices of very many people, at their true weights."""
    states, _ = STRUCTURES[kind]
    weights, data = sessions(10_000_019, 1000)
    rows = state_rows(data, states)
    full = np.concatenate([weights, np.zeros((len(weights), len(states) - len(TRUE)))], axis=1)
    contrast = rows.values[:, 1] - rows.values[:, 0]
    p = 1.0 / (1.0 + np.exp(-np.einsum("rk,rk->r", contrast, full[rows.person])))
    sizes = []
    for person in range(len(weights)):
        mine = rows.person == person
        information = (contrast[mine] * (p * (1 - p))[mine, None]).T @ contrast[mine]
        inverse = np.linalg.inv(information + 1e-9 * np.trace(information) * np.eye(len(states)))
        sd = np.sqrt(np.diag(inverse))
        sizes.append(np.abs(inverse / np.outer(sd, sd) - np.eye(len(states))))
    return float(np.median(sizes, axis=0).max())
