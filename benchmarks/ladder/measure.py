"""Predictions of held-out blocks, rung by rung: measure.py results/ladder [table ...] writes .json and .md."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.ladder.tables import HELD_OUT, is_there, read_table
from spicestat import HistoryFit, predict_choices, read_trials, spice_fit
from spicestat.fit.held_out import Fold
from spicestat.fit.ladder_rungs import rungs_of
from spicestat.pooled.contrasts import make_design
from spicestat.pooled.em import fit_population
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.prediction import predict_at
from spicestat.pooled.state_library import ten_states
from spicestat.pooled.states import State, state, state_rows

COLUMNS = ["participant", "block", "trial", "choice", "reward"]


def packed(trials: pd.DataFrame, like: pd.DataFrame, size: float | None = None) -> Sessions:
    """Pack blocks of a table; codes of people and actions are those of ``like``."""
    people, actions = sorted(like["participant"].unique()), sorted(like["choice"].dropna().unique())
    frame = trials.sort_values(["participant", "block", "trial"], kind="stable")
    groups = frame.groupby(["participant", "block"])
    where = groups.ngroup().to_numpy(), groups.cumcount().to_numpy()
    shape = groups.ngroups, where[1].max() + 1
    choice, reward, who = np.full(shape, -1), np.full(shape, np.nan), np.zeros(shape[0], int)
    choice[where] = pd.Categorical(frame["choice"], actions).codes
    reward[where] = frame["reward"]
    who[where[0]] = pd.Categorical(frame["participant"], people).codes
    return pack_sessions(choice, reward, who, len(actions), size)


def mixed_logit(train: Sessions, test: Sessions, states: tuple[State, ...]) -> float:
    """Posterior modes of a normal population of weights of given states: what a reader writes in an afternoon."""
    design = make_design(state_rows(train, states), int(train.person.max()) + 1)
    modes = fit_population(design, prior=None, tolerance=0.1).posterior.mode / design.scale
    rows = state_rows(test, states)
    return loss(predict_at(rows, modes)[np.arange(len(rows.choice)), rows.choice])


def loss(probability: Any) -> float:
    """Mean negative log-likelihood, nats."""
    return float(-np.log(np.asarray(probability, dtype=float)).mean())


def ladder(name: str) -> dict[str, Any]:
    """Fit every rung on the training blocks and predict the others, but the first choice of each."""
    trials, held = read_table(name)
    out = trials["block"].isin(held)
    train, test = trials.loc[~out, COLUMNS], trials.loc[out, COLUMNS]
    a = packed(train, trials)
    b = packed(test, trials, a.reward_size)
    last = (state("last"), state(("rewarded", 0.0)), *ten_states(a.n_actions)[10:])
    started = time.process_time()
    fit = spice_fit(train, block="block", trial="trial", model="history")
    seconds = time.process_time() - started
    # a whole table, as people who always chose the same are left out of one, and unseen, as they may be of the fit
    found = predict_choices(fit, trials[COLUMNS], unseen="population").assign(row=trials.index)[out.to_numpy()]
    made = found["probability"].dropna()
    started = time.process_time()
    network = predict_choices(fit, trials[COLUMNS], by="rnn", unseen="population")[out.to_numpy()]
    network_seconds = time.process_time() - started
    actions = found[[f"p_{action}" for action in fit.trials.actions]].loc[made.index]
    result = {
        "held_out": list(held),
        "n_people": fit.trials.n_participants,
        "n_choices": len(made),
        "guessing": float(np.log(a.n_actions)),
        **product_rungs(trials, out.to_numpy(), fit),
        "last_choice_and_reward": mixed_logit(a, b, last),
        "ten_states": mixed_logit(a, b, ten_states(a.n_actions)),
        "history": loss(made),
        "network": loss(network["probability"].dropna()),
        "network_left_out": [fit.network.nll, fit.network.nll_equations],
        "network_seconds": network_seconds,
        "accuracy": float((made >= actions.max(axis=1)).mean()),
        "least": float(made.min()),
        "processor_seconds": seconds,
        "own": list(fit.pooled.names[: fit.pooled.n_own]),
        "shared": list(fit.pooled.names[fit.pooled.n_own :]),
    }
    if "probability" in trials:
        result["true_parameters"] = loss(trials.loc[found.loc[made.index, "row"], "probability"])
    return result


def product_rungs(trials: pd.DataFrame, out: np.ndarray, fit: HistoryFit) -> dict[str, float]:
    """Score the product's own rungs (`spice_ladder`) that know nothing of the fit, on the same blocks."""
    table = read_trials(trials[COLUMNS], block="block", trial="trial")
    held = out[table.rows]
    # the first choice of a block is not predicted
    frame = table.frame.assign(row=np.arange(len(table.frame)))[table.frame["choice"] >= 0]
    later = frame.loc[frame.groupby("block").cumcount() > 0, "row"].to_numpy()
    row = later[held[later]]
    fold = Fold(table.select(~held), table.select(held), (np.cumsum(held) - 1)[row], row)
    choice = table.frame["choice"].to_numpy()[row]
    found = {}
    for name, rung in rungs_of(fit, members=3).items():
        if name not in ("equations", "network"):
            started = time.process_time()
            found[name] = loss(rung(fold).probabilities[np.arange(len(row)), choice])
            print(f"  {name} {found[name]:.4f}, {time.process_time() - started:.1f} s", flush=True)
    return found


def table(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    rungs = {
        "shares": "shares",
        "last_choice_and_reward": "mixed logit, last choice and reward",
        "lags": "lags, ridge",
        "ten_states": "mixed logit, ten states",
        "mixed_logit": "mixed logit, library",
        "gru": "GRU, three members",
        "history": "history",
        "network": "network on top of it",
        "true_parameters": "true parameters",
    }
    head = ["table", "held-out blocks", "choices", *rungs.values()]
    head += [
        "accuracy of history",
        "least probability",
        "own / shared weights",
        "processor time of history, s",
        "of its network",
    ]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, found in results.items():
        cells = [name, ", ".join(map(str, found["held_out"])), f"{found['n_choices']:,}"]
        cells += [f"{found[rung]:.4f}" if rung in found else "" for rung in rungs]
        cells += [f"{found['accuracy']:.3f}", f"{found['least']:.1e}", f"{len(found['own'])} / {len(found['shared'])}"]
        lines.append(
            "| " + " | ".join([*cells, f"{found['processor_seconds']:.0f}", f"{found['network_seconds']:.0f}"]) + " |"
        )
    return (
        "# Held-out predictions\n\nMean negative log-likelihood of a choice in nats; the first choice of a block is "
        "not predicted, nothing is clipped. `bash benchmarks/ladder/run.sh`\n\n" + "\n".join(lines) + "\n"
    )


def main(target: Path, wanted: list[str]) -> None:
    """Measure the wanted tables and keep the others' results."""
    file = target.with_suffix(".json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in wanted or HELD_OUT:
        if not is_there(name):
            print(f"{name}: no such table here")
            continue
        results[name] = ladder(name)
        print(name, json.dumps(results[name]), flush=True)
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        target.with_suffix(".md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
