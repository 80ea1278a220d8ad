"""Do intervals of kernels at levels of a covariate hold the truth? groups.py results/group_kernels [cohorts]."""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

from benchmarks.kernels.coverage import BLOCKS, LAGS, MEAN, PEOPLE, SD, STATES, TRIALS, Bandit
from benchmarks.tables import as_table
from spicestat import spice_fit, spice_group
from spicestat.errors import SpicestatWarning
from spicestat.pooled.kernel_shape import derive
from spicestat.pooled.kernels import EVENTS, state_moves
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.play import play_states

SHIFT = np.array([0.0, -0.8, 0.6])
"""What the drug changes in the weights: less reward, more repetition."""
CROWD = 3000
WHO = ("no", "yes", "yes - no")
QUANTITIES = ("total", "half_life", "learning_rate")

CELLS = {
    "between": ("~ drug", None),
    "within": ("~ drug + (1 | participant)", "drug"),
}
"""Half of the people have the drug, or everybody has it in the second block."""


def simulate(n_people: int, cell: str, seed: int) -> tuple[np.ndarray, np.ndarray, Sessions]:
    """Everybody's weights without the drug, who has it in each block, and what they did."""
    rng = np.random.default_rng([seed, list(CELLS).index(cell)])
    weights = MEAN + SD * rng.standard_normal((n_people, len(STATES)))
    owner = np.repeat(np.arange(n_people), BLOCKS)
    drug = np.tile(np.arange(BLOCKS) == 1, n_people) if cell == "within" else owner % 2 == 1
    played = play_states(STATES, weights[owner] + drug[:, None] * SHIFT, Bandit(len(owner), rng), 2, TRIALS, rng)
    return weights, drug, pack_sessions(played.choice, played.rewards, owner, 2)


def truth(cell: str, crowd: int = CROWD) -> dict[str, dict[str, list[float]]]:
    """Return total, half-life and learning rate of each level and of the difference, from very many people."""
    weights, _, data = simulate(crowd, cell, 10_000_019)
    found = {}
    for event in EVENTS:
        moves = state_moves(data, STATES, event, crowd, LAGS, 60).mean
        kernels = [np.nanmean(np.einsum("nlk,nk->nl", moves, weights + there * SHIFT), axis=0) for there in (0, 1)]
        without, drug = (np.array([kernel.sum(), *derive(kernel, np.zeros(LAGS))]) for kernel in kernels)
        values = (without, drug, drug - without)
        found[event] = {who: value.tolist() for who, value in zip(WHO, values, strict=True)}
    return found


def one(seed: int, cell: str) -> dict[str, dict[str, list[list[float]]]]:
    """Estimate, standard error and limits of each quantity, by event and level."""
    formula, occasion = CELLS[cell]
    _, drug, data = simulate(PEOPLE, cell, seed)
    trials = as_table(data)
    has_it = drug.reshape(PEOPLE, BLOCKS)[trials["participant"], trials["block"]]
    trials["drug"] = np.where(has_it, "yes", "no")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpicestatWarning)
        fit = spice_fit(trials, block="block", occasion=occasion, covariates=None if occasion else ["drug"])
        table = spice_group(fit, formula).kernels("drug", lags=LAGS).tidy()
    table["who"] = table["level"].where(table["level"].notna(), table["contrast"])
    numbers = ["estimate", "std_error", "conf_low", "conf_high"]
    by = table[table["quantity"] != "kernel"].set_index(["event", "who", "quantity"])[numbers]
    return {
        event: {who: [by.loc[(event, who, name)].tolist() for name in QUANTITIES] for who in WHO} for event in EVENTS
    }


def rows(cell: str, cohorts: list[dict[str, dict[str, list[list[float]]]]]) -> list[list[str]]:
    """Summarise the cohorts of a cell."""
    true, lines = truth(cell), []
    for event in EVENTS:
        for who, values in true[event].items():
            for place, quantity in enumerate(QUANTITIES):
                numbers = np.array([cohort[event][who][place] for cohort in cohorts], dtype=float)
                there = np.isfinite(numbers[:, 2])
                # a line through the logarithm of a kernel that is no geometric series depends on its errors
                if quantity == "learning_rate" and event == "choice":
                    continue
                estimate, error, low, high = numbers[there].T
                holds = ((low <= values[place]) & (values[place] <= high)).mean()
                bias = (estimate.mean() - values[place]) / estimate.std()
                shares = [f"{holds:.3f}", f"{bias:.2f}", f"{error.mean() / estimate.std():.2f}"]
                lines.append([cell, event, who, quantity, f"{values[place]:.3f}", str(there.sum()), *shares])
    return lines


def main(target: Path, n_cohorts: int) -> None:
    """Take up where the results stop; seeds are 0, 1, ..."""
    file = target.with_suffix(".json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for cell in CELLS:
        done = results.setdefault(cell, [])
        for seed in range(len(done), n_cohorts):
            done.append(one(seed, cell))
            file.write_text(json.dumps(results), encoding="utf-8")
    names = ["cell", "event", "drug", "quantity", "truth", "cohorts", "coverage", "bias, SD", "mean SE / SD"]
    table = [row for cell, cohorts in results.items() for row in rows(cell, cohorts)]
    body = "\n".join("| " + " | ".join(row) + " |" for row in [names, ["---"] * len(names), *table])
    target.with_suffix(".md").write_text(
        "# Coverage of 95 % intervals of kernels by drug\n\n"
        f"{PEOPLE} people, {BLOCKS} x {TRIALS} trials, three states, which the search has to find, and which the group "
        "model takes as known. `between`: half of the people have the drug; `within`: everybody has it in the second "
        "block. `learning_rate` is that of reward, whose kernel is geometric. `bash benchmarks/kernels/run.sh`\n\n"
        f"{body}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100)
