"""Cohorts of people whose weights of choice history are known, on one occasion or on two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from spicestat.fit.history import HistoryFit, lay_out_weights, pack_table
from spicestat.fit.table import fit_info
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.play import play_states
from spicestat.pooled.states import State, state
from spicestat.trials.reading import read_trials

__all__ = ["CELLS", "STATES", "Cell", "cohort", "truths"]

STATES: tuple[State, ...] = (state(("rewarded", 0.5)), state("last"), state(("choices", 0.8)))
MEAN = np.array([1.2, 0.4, 0.6])
SPREAD = np.array([[0.49, -0.1, 0.0], [-0.1, 0.36, -0.1], [0.0, -0.1, 0.36]])
N_SITES, N_BLOCKS = 8, 2


@dataclass(frozen=True)
class Cell:
    """What is simulated; effects are on the first weight."""

    n_people: int
    n_trials: int
    formula: str
    drug: float = 0.0
    anxiety: float = 0.0
    both: float = 0.0
    occasions: int = 1
    guessing: float = 0.0


PARTS = " + (drug | participant) + (1 | site)"
CELLS = {
    "people": Cell(40, 100, "~ anxiety", anxiety=0.4),
    "people, no effect": Cell(40, 100, "~ anxiety"),
    "people, few trials": Cell(40, 60, "~ anxiety", anxiety=0.4),
    "people, 10 % guess": Cell(40, 100, "~ anxiety", anxiety=0.4, guessing=0.1),
    "occasions": Cell(40, 100, "~ drug * anxiety" + PARTS, 0.5, 0.4, -0.3, 2),
    "occasions, no effect": Cell(40, 100, "~ drug * anxiety" + PARTS, occasions=2),
    "occasions, intercepts": Cell(40, 100, "~ drug * anxiety + (1 | participant) + (1 | site)", 0.5, 0.4, -0.3, 2),
}


class Bandit:
    """Two arms that pay with probabilities which wander between 0 and 1."""

    def __init__(self, n_sessions: int, rng: np.random.Generator) -> None:
        self.rng, self.chance = rng, rng.uniform(0.2, 0.8, (n_sessions, 2))

    def step(self, choice: np.ndarray) -> np.ndarray:
        """Pay what the chosen arm gives, and let both wander."""
        paid = (self.rng.random(len(choice)) < self.chance[np.arange(len(choice)), choice]).astype(float)
        reward = np.full((len(choice), 2), np.nan)
        reward[np.arange(len(choice)), choice] = paid
        moved = self.chance + self.rng.normal(0, 0.1, self.chance.shape)
        self.chance = np.abs(1 - np.abs(1 - moved))
        return reward


def truths(cell: Cell) -> dict[tuple[str, str], float]:
    """Fixed effects by (state, term)."""
    effects = {"drugactive": cell.drug, "anxiety": cell.anxiety, "drugactive:anxiety": cell.both}
    terms = list(effects) if cell.occasions > 1 else ["anxiety"]
    found = {}
    for k, declared in enumerate(STATES):
        found[declared.name, "(Intercept)"] = float(MEAN[k])
        found |= {(declared.name, term): effects[term] if k == 0 else 0.0 for term in terms}
    return found


def cohort(cell: Cell, seed: int, states: Sequence[State] = STATES) -> tuple[HistoryFit, pd.DataFrame]:
    """Simulate a study, and fit the weights of the states that were simulated, or of others."""
    rng = np.random.default_rng([seed, 16])
    n, occasions = cell.n_people, cell.occasions
    person = np.repeat(np.arange(n), occasions)
    drug, anxiety, site = np.tile(np.arange(occasions), n), rng.normal(size=n), np.arange(n) % N_SITES
    root = np.linalg.cholesky(SPREAD)
    weights = MEAN + (rng.normal(size=(n, 3)) @ root.T)[person]
    if occasions > 1:
        weights += rng.normal(0, 0.2, (N_SITES, 3))[site[person]] + drug[:, None] * rng.normal(0, 0.3, (n, 3))[person]
        if "(drug |" not in cell.formula:
            weights += rng.normal(0, 0.3, weights.shape)
    weights[:, 0] += cell.drug * drug + (cell.anxiety + cell.both * drug) * anxiety[person]
    weights[rng.random(len(weights)) < cell.guessing] = 0.0
    rows = len(weights) * N_BLOCKS
    row = np.repeat(np.arange(len(weights)), N_BLOCKS)
    played = play_states(STATES, weights[row], Bandit(rows, rng), 2, cell.n_trials // N_BLOCKS, rng)
    n_trials = played.choice.shape[1]
    frame = pd.DataFrame(
        {
            "participant": np.repeat(person[row], n_trials),
            "block": np.repeat(np.tile(np.arange(N_BLOCKS), len(weights)) + N_BLOCKS * drug[row], n_trials),
            "trial": np.tile(np.arange(n_trials), rows),
            "choice": played.choice.ravel(),
            "reward": np.take_along_axis(played.rewards, played.choice[..., None], axis=2).ravel(),
        }
    )
    options = {}
    if occasions > 1:
        frame["drug"] = pd.Categorical(
            np.array(["placebo", "active"])[np.repeat(drug[row], n_trials)], ["placebo", "active"]
        )
        options = {"occasion": "drug"}
    people = pd.DataFrame({"participant": np.arange(n), "anxiety": anxiety, "site": [f"site {s}" for s in site]})
    table = read_trials(frame, block="block", trial="trial", people=people, **options)
    pooled = fit_pooled(pack_table(table), states, len(states))
    scores = pd.DataFrame({"model": [], "nll": [], "n_trials": []})
    info = fit_info(table, "history", 0, "population")
    return HistoryFit(table, pooled, lay_out_weights(table, pooled, info), scores), people
