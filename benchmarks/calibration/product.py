"""The product as it is called: spice_fit(trials), spice_group(fit, "~ x + z"), kernels("x") or the table of effects.

python -m benchmarks.calibration.product SECONDS [MODEL ...]
    goes on until so much processor time is used, and writes the table; MODEL is history, bandit or averaged

Replicate r of a cell always has the same seed; one line of JSON each in results/product.jsonl.
"""

import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.kernels.coverage import Bandit
from benchmarks.tables import as_table
from spicestat import spice_fit, spice_group
from spicestat.errors import SpicestatError, SpicestatWarning
from spicestat.group import GroupResult
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.states import state

RESULTS = Path("benchmarks/results/product")
STATES = (state("last"), state(("rewarded", 0.5)), state(("choices", 0.8)))
MEAN, SD = np.array([0.4, 2.0, 0.6]), np.array([0.6, 0.7, 0.6])
EFFECT, BLOCKS = 0.4, 2
CELLS = [(40, t, "normal") for t in (60, 100, 200)] + [
    (100, 100, "normal"),
    (40, 100, "skewed"),
    (40, 100, "10 % guess"),
    *[(100, t, "normal") for t in (60, 200)],
    *[(100, 100, kind) for kind in ("skewed", "10 % guess")],
]
"""People, trials of each, and how their weights are distributed."""
RATES = [(n, t, "normal") for n in (40, 100) for t in (60, 100, 200)] + [
    (n, 100, kind) for kind in ("skewed", "10 % guess") for n in (40, 100)
]
"""The same for learners by the delta rule."""
AVERAGED = [(40, 100, "normal")]
"""The same as `CELLS` for two groups of people, whose kernels are averaged over structures."""
RATE_MEAN, RATE_SD = np.array([-0.6, 1.2]), np.array([0.7, 0.4])
"""Of the logit of the learning rate and the log of the weight of values."""

_SHARED = 1e-9
# one reward moves the state by .5, .25, ..., in all 1
EFFECTS = {"x, reward": ("x", "reward", EFFECT), "z, reward": ("z", "reward", 0.0), "z, choice": ("z", "choice", 0.0)}
RATE_EFFECTS = {
    "x, rate": ("x", "alpha", EFFECT),
    "z, rate": ("z", "alpha", 0.0),
    "mean, rate": ("(Intercept)", "alpha", RATE_MEAN[0]),
    "x, value": ("x", "beta", 0.0),
    "z, value": ("z", "beta", EFFECT / 2.0),
    "mean, value": ("(Intercept)", "beta", RATE_MEAN[1]),
}
# of level and contrast; the kernel of reward is a geometric series that halves, with the sum of its weight
BY_GROUP = {
    ("total", "b - a"): EFFECT,
    ("half_life", "b - a"): 0.0,
    ("learning_rate", "b - a"): 0.0,
    ("total", "a"): MEAN[1],
    ("half_life", "a"): 1.0,
    ("learning_rate", "a"): 0.5,
}
WAYS = {"averaged": "", "given": "given_"}
TRUTH = {name: float(effect[2]) for name, effect in (EFFECTS | RATE_EFFECTS).items()}
_NUMBERS = ["estimate", "std_error", "conf_low", "conf_high"]


def away(kind: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """How far people are from the mean, in standard deviations."""
    return (rng.gamma(2.0, size=shape) - 2.0) / np.sqrt(2.0) if kind == "skewed" else rng.standard_normal(shape)


def weights_of(kind: str, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weights of people, the second of which goes up with x."""
    weights = MEAN + SD * away(kind, (len(x), 3), rng)
    weights[:, 1] += EFFECT * x
    if kind == "10 % guess":
        weights[rng.random(len(x)) < 0.1] = 0.0
    return weights


def learned(kind: str, people: pd.DataFrame, n_trials: int, rng: np.random.Generator) -> pd.DataFrame:
    """Trials of people who learn by the delta rule: the rate goes up with x, the weight of values with z."""
    n, everybody = len(people), np.arange(len(people))
    linked = RATE_MEAN + RATE_SD * away(kind, (n, 2), rng) + EFFECT * people[["x", "z"]].to_numpy() * [1.0, 0.5]
    rate, beta = expit(linked[:, 0]), np.exp(linked[:, 1])
    if kind == "10 % guess":
        beta = np.where(rng.random(n) < 0.1, 0.0, beta)
    task, value, tables = Bandit(n, rng), np.zeros((n, 2)), []
    for trial in range(n_trials):
        choice = (rng.random(n) < expit(beta * (value[:, 1] - value[:, 0]))).astype(int)
        reward = task.step(choice)[everybody, choice]
        value[everybody, choice] += rate * (reward - value[everybody, choice])
        tables.append(pd.DataFrame({"participant": everybody, "trial": trial, "choice": choice, "reward": reward}))
    return pd.concat(tables).sort_values(["participant", "trial"])


def one(model: str, cell: tuple[int, int, str], replicate: int) -> dict[str, Any]:
    """Simulate a study and analyse it as anybody would."""
    (n, n_trials, kind), rates = cell, model == "bandit"
    cells, key = KINDS[model]
    rng = np.random.default_rng([cells.index(cell), replicate, key])
    people = pd.DataFrame({"participant": np.arange(n), "x": rng.standard_normal(n), "z": rng.standard_normal(n)})
    if model == "averaged":
        people["x"] = np.arange(n) % 2
    if rates:
        trials = learned(kind, people, n_trials, rng)
    else:
        owner = np.repeat(np.arange(n), BLOCKS)
        weights = weights_of(kind, people["x"].to_numpy(), rng)
        played = play_states(STATES, weights[owner], Bandit(len(owner), rng), 2, n_trials // BLOCKS, rng)
        trials = as_table(pack_sessions(played.choice, played.rewards, owner, 2))
    if model == "averaged":
        people["x"] = np.where(people["x"], "b", "a")
    begun, record = time.process_time(), {"cell": list(cell), "replicate": replicate, "model": model}
    columns: dict[str, Any] = {"trial": "trial"} if rates else {"block": "block"}
    try:
        fitted = spice_fit(trials, model="bandit" if rates else "history", people=people, **columns)
        group = spice_group(fitted, "~ x + z")
    except SpicestatError as error:
        return record | {"error": str(error)}
    record |= {"seconds": time.process_time() - begun, "withheld": bool(group.glance()["withheld"].any())}
    if model == "averaged":
        return record | _both_ways(group)
    for name, row in _effects(group, model):
        record[name] = [float(number) if np.isfinite(number) else None for number in row[_NUMBERS]]
    return record


def _both_ways(group: GroupResult) -> dict[str, Any]:
    """Averages over structures, what one structure says, and the processor time that averages take."""
    begun = time.process_time()
    table = group.kernels("x", events=["reward"], average=True).tidy()
    spent, found = time.process_time() - begun, dict[str, Any]()
    table["who"] = table["level"].where(table["level"].notna(), table["contrast"])
    rows = table.set_index(["quantity", "who"])
    for effect in BY_GROUP:
        for way, prefix in WAYS.items():
            numbers = rows.loc[effect, [prefix + name for name in _NUMBERS]]
            found[", ".join((*effect, way))] = [float(x) if np.isfinite(x) else None for x in numbers]
    return found | {"seconds of averages": spent, "n_structures": int(table["n_structures"].iloc[0])}


def averages(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per quantity and way."""
    own = [r for r in records if r.get("model") == "averaged" and "error" not in r]
    rows = []
    for effect, truth in BY_GROUP.items():
        for way in WAYS:
            each = [record[", ".join((*effect, way))] for record in own]
            found = [numbers for numbers in each if numbers[2] is not None and (numbers[1] or 0.0) > _SHARED]
            estimate, error, low, high = np.array(found, dtype=float).T
            rows.append(
                {
                    "quantity": effect[0],
                    "group": effect[1],
                    "structures": way,
                    "truth": round(float(truth), 3),
                    "studies": len(own),
                    "missing": len(own) - len(found),
                    "bias": round(float(estimate.mean() - truth), 3),
                    "SD": round(float(estimate.std(ddof=1)), 3),
                    "mean SE / SD": round(float(error.mean() / estimate.std(ddof=1)), 2),
                    "covered": round(float(np.mean((low <= truth) & (truth <= high))), 3),
                }
            )
    return pd.DataFrame(rows)


def _effects(group: GroupResult, model: str) -> Iterator[tuple[str, pd.Series]]:
    """Yield the row of each effect."""
    if model == "bandit":
        table = group.tidy().set_index(["term", "sparse_term"])
        yield from ((name, table.loc[effect[:2]]) for name, effect in RATE_EFFECTS.items())
        return
    for name, (covariate, event, _) in EFFECTS.items():
        table = group.kernels(covariate, events=[event]).tidy()
        yield name, table[(table["quantity"] == "total") & table["contrast"].notna()].iloc[0]


def summary(model: str, records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per cell and effect."""
    rows = []
    for cell in RATES if model == "bandit" else CELLS:
        own = [r for r in records if tuple(r["cell"]) == cell and r.get("model", "history") == model]
        for name in RATE_EFFECTS if model == "bandit" else EFFECTS:
            truth = TRUTH[name]
            # of weights that everybody shares nothing is known, and the product says so
            there = [record[name] for record in own if name in record and (record[name][1] or 0.0) > _SHARED]
            found = [numbers for numbers in there if numbers[2] is not None]
            if len(found) < 2:
                continue
            estimate, error, low, high = np.array(found, dtype=float).T
            rows.append(
                {
                    "people": cell[2],
                    "N": cell[0],
                    "T": cell[1],
                    "effect": name,
                    "studies": len(own),
                    "no result": sum("error" in record for record in own),
                    "all shared": sum(name in record for record in own) - len(there),
                    "withheld": sum(record.get("withheld", False) for record in own),
                    "bias": round(float(estimate.mean() - truth), 3),
                    "mean SE / SD": round(float(error.mean() / estimate.std(ddof=1)), 2),
                    "covered": round(float(np.mean((low <= truth) & (truth <= high))), 3),
                    "significant": round(float(np.mean((low > 0) | (high < 0))), 3),
                    "seconds": round(float(np.median([record["seconds"] for record in own if "seconds" in record])), 1),
                }
            )
    return pd.DataFrame(rows)


KINDS = {"history": (CELLS, 16), "bandit": (RATES, 17), "averaged": (AVERAGED, 18)}
"""Cells of each kind of study, and what its seeds end with."""


def main(seconds: float, models: Sequence[str]) -> None:
    """Run the replicates that are missing, in turn, while there is time; then write the tables."""
    warnings.simplefilter("ignore", SpicestatWarning)
    file = RESULTS.with_suffix(".jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(r.get("model", "history"), tuple(r["cell"]), r["replicate"]) for r in records}
    cells = [(model, cell) for model in models for cell in KINDS[model][0]]
    replicate = 0
    with file.open("a") as out:
        while time.process_time() < seconds:
            for model, cell in cells:
                if (model, cell, replicate) not in done and time.process_time() < seconds:
                    records.append(one(model, cell, replicate))
                    out.write(json.dumps(records[-1]) + "\n")
                    out.flush()
            replicate += 1
    RESULTS.with_suffix(".md").write_text(page(records), encoding="utf-8")


def page(records: list[dict[str, Any]]) -> str:
    """Write the tables of all cells that have results."""
    return "\n".join(
        [
            "# The product as it is called\n",
            "Nothing is given but choices, rewards and covariates. 95 % intervals; with 100 studies, 95 % of shares "
            "lie within .90 and .98 where .95 is right, and with 200 within .92 and .98. "
            "`benchmarks/calibration/run.sh product`.\n",
            *_section(
                "Kernels of the default model",
                "Slopes of the total influence of one reward, or one choice, on covariates: `spice_fit(trials)`, "
                '`spice_group(fit, "~ x + z")`, `kernels("x")`. x raises the weight of rewards by .4, z does nothing. '
                "`all shared`: studies in which the search found no differences between people in what the event "
                "changes, so that there is no slope.",
                summary("history", records),
            ),
            *_section(
                "Learning rates",
                '`spice_fit(trials, model="bandit")`, `spice_group(fit, "~ x + z")`: effects on the logit of the '
                "learning rate and on the log of the weight of values, and their means.",
                summary("bandit", records),
            ),
            *_section_of_averages(records),
        ]
    )


def _section(title: str, text: str, table: pd.DataFrame) -> list[str]:
    return [] if table.empty else [f"## {title}\n", f"{text}\n", _markdown(table)]


def _section_of_averages(records: list[dict[str, Any]]) -> list[str]:
    own = [r for r in records if r.get("model") == "averaged" and "error" not in r]
    if len(own) < 2:
        return []
    once, more = (np.median([record[name] for record in own]) for name in ("seconds", "seconds of averages"))
    return _section(
        "Averages over structures",
        "Kernels of reward in two groups of 20 people with 100 trials each, whose weights of rewards differ by .4: "
        '`kernels("x", average=True)`, and with the states that the search found taken as given. '
        f"Fit and group model take {once:.1f} s of processor time, averages {more:.1f} s more (medians).",
        averages(records),
    )


def _markdown(table: pd.DataFrame) -> str:
    head = "| " + " | ".join(table.columns) + " |\n" + "|---" * table.shape[1] + "|\n"
    return head + "".join("| " + " | ".join(map(str, row)) + " |\n" for row in table.itertuples(index=False))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 3600.0, sys.argv[2:] or list(KINDS))
