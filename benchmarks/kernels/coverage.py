"""Do intervals of the population's kernels hold the truth? coverage.py results/kernels [WAY ...] [cohorts]."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

from benchmarks.tables import as_table
from spicestat import read_trials
from spicestat.errors import ConvergenceWarning, ExclusionWarning
from spicestat.fit.history import fit_history
from spicestat.fit.kernels import pooled_kernels
from spicestat.fit.packing import pack_table
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.kernels import state_moves
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.rivals import find_rivals
from spicestat.pooled.states import state

STATES = (state("last"), state(("rewarded", 0.5)), state(("choices", 0.8)))
MEAN, SD = np.array([0.4, 2.0, 1.0]), np.array([0.6, 0.8, 0.8])
PEOPLE, BLOCKS, TRIALS, LAGS = 40, 2, 100, 20
CROWD = 3000

WAYS = ("given", "searched", "averaged")
"""The true states; those that a search finds, taken as given; averages over structures, as `HistoryFit.kernels` has."""


class Bandit:
    """Two arms that pay 7 and 3 times in 10, and change places on every 25th trial."""

    def __init__(self, n_sessions: int, rng: np.random.Generator) -> None:
        self.good, self.trial, self.rng = rng.integers(0, 2, n_sessions), 0, rng

    def step(self, choice: np.ndarray) -> np.ndarray:
        """Pay the arm that was chosen."""
        self.trial += 1
        if self.trial % 25 == 0:
            self.good = 1 - self.good
        paid = (self.rng.random(len(choice)) < np.where(choice == self.good, 0.7, 0.3)).astype(float)
        return np.where(np.arange(2) == choice[:, None], paid[:, None], np.nan)


def simulate(n_people: int, seed: int) -> tuple[np.ndarray, Sessions]:
    """Everybody's true weights, and what they did."""
    rng = np.random.default_rng(seed)
    weights = MEAN + SD * rng.standard_normal((n_people, len(STATES)))
    owner = np.repeat(np.arange(n_people), BLOCKS)
    played = play_states(STATES, weights[owner], Bandit(len(owner), rng), 2, TRIALS, rng)
    return weights, pack_sessions(played.choice, played.rewards, owner, 2)


def truth(event: str) -> np.ndarray:
    """Return the population's kernel, from very many people."""
    weights, data = simulate(CROWD, 10_000_019)
    moves = state_moves(data, STATES, event, CROWD, LAGS, 60)
    return np.nanmean(np.einsum("nlk,nk->nl", moves.mean, weights), axis=0)


def one(seed: int, way: str) -> dict[str, list[list[float]]]:
    """Estimate and standard error of the kernel at every lag, then of the total, by event."""
    data, rivals = simulate(PEOPLE, seed)[1], None
    if way != "given":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", ExclusionWarning)
            table = read_trials(as_table(data), block="block")
            pooled = fit_history(table).pooled
        data = pack_table(table, pooled.reward_size)
        if way == "averaged":
            rivals = find_rivals(data, pooled.states, pooled.n_own)
    else:
        pooled = fit_pooled(data, STATES)
    found = {}
    for event in ("reward", "choice"):
        kernel = pooled_kernels(pooled, data, event, LAGS, 60, rivals)
        square = kernel.population_covariance
        estimate = [*kernel.population, kernel.population.sum()]
        error = np.sqrt([*np.diag(square), square.sum()])
        found[event] = [list(map(float, estimate)), list(map(float, error))]
    return found


def row(way: str, event: str, cohorts: list[dict[str, list[list[float]]]], kernel: np.ndarray) -> str:
    """Summarise one line of the table."""
    estimate, error = (np.array([cohort[event][k] for cohort in cohorts]) for k in (0, 1))
    true = np.append(kernel, kernel.sum())
    holds = (np.abs(estimate - true) <= 1.96 * error).mean(axis=0)
    bias = (estimate[:, -1].mean() - true[-1]) / estimate[:, -1].std()
    size = error[:, -1].mean() / estimate[:, -1].std()
    lags = f"{holds[:-1].min():.3f} to {holds[:-1].max():.3f}"
    return f"| {way} | {event} | {len(cohorts)} | {holds[-1]:.3f} | {lags} | {bias:.2f} | {size:.2f} |"


def main(target: Path, ways: list[str], n_cohorts: int) -> None:
    """Take up where the results stop; seeds are 0, 1, ..."""
    file = target.with_suffix(".json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for way in ways:
        done = results.setdefault(way, [])
        for seed in range(len(done), n_cohorts):
            done.append(one(seed, way))
            file.write_text(json.dumps(results), encoding="utf-8")
    kernels = {event: truth(event) for event in ("reward", "choice")}
    names = ["structure", "event", "cohorts", "total", "lags", "bias of the total, SD", "mean SE / SD"]
    head = "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|\n"
    lines = [row(way, event, cohorts, kernels[event]) for way, cohorts in results.items() for event in kernels]
    target.with_suffix(".md").write_text(
        "# Coverage of 95 % intervals of the population's kernels\n\n"
        f"{PEOPLE} people, {BLOCKS} x {TRIALS} trials, three states. `bash benchmarks/kernels/run.sh`\n\n"
        + head
        + "\n".join(lines)
        + "\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    wanted = [argument for argument in sys.argv[2:] if not argument.isdigit()]
    counts = [int(argument) for argument in sys.argv[2:] if argument.isdigit()]
    main(Path(sys.argv[1]), wanted or list(WAYS), counts[0] if counts else 200)
