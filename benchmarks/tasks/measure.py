"""One call each for four real tasks: held-out choices, and the groups' question. measure.py results/tasks [TABLES]."""

import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from spicestat import HistoryFit, predict_choices, spice_fit, spice_group
from spicestat.errors import ConvergenceWarning, ExclusionWarning

DATA = Path("../shared/data")
_SHOWN = 4
"""Coefficients of the group model that are kept: those with the smallest p-values."""


@dataclass(frozen=True)
class Task:
    """One table.

    Attributes
    ----------
    roles : dict
        What `spice_fit` is told.
    held_out : callable
        Which rows are predicted and not fitted.
    split : str
        The same in words.
    question : str
        The formula of the group model.
    by_hand : float
        Loss of a mixed logit on states that somebody chose for this task, on the same rows, measured elsewhere.
    """

    roles: dict[str, Any]
    held_out: Callable[[pd.DataFrame], pd.Series]
    split: str
    question: str
    by_hand: float


def every_third_offer(frame: pd.DataFrame) -> pd.Series:
    """Every third offer of a person in a condition, commodity by commodity."""
    made = frame.dropna(subset=["choice"]).sort_values(["commodity", "trial"])
    number = made.groupby(["participant", "condition"]).cumcount()
    return number.reindex(frame.index).fillna(1) % 3 == 0


OFFERS = {
    "amount": {"sooner": "amount_sooner", "later": "amount_later"},
    "delay": {"sooner": "delay_sooner", "later": "delay_later"},
}
TASKS = {
    "cards4_many": Task(
        {"block": "block", "trial": "trial", "options": ["card_left", "card_right"]},
        lambda frame: frame["block"].isin([2, 4]),
        "blocks 2 and 4",
        "~ instructions",
        0.604,
    ),
    "rlwm_sz": Task(
        {"block": "block", "trial": "trial", "stimulus": "stimulus", "context": "set_size"},
        lambda frame: frame["block"] % 3 == 0,
        "every third block",
        "~ diagnosis",
        0.581,
    ),
    "gainloss_retest": Task(
        {
            "occasion": "session",
            "block": "half",
            "trial": "trial",
            "stimulus": "pair",
            "context": ["context", "feedback"],
            "reward": "outcome",
            "foregone": "outcome_unchosen",
        },
        lambda frame: frame["half"] == 2,
        "second half of each session",
        "~ anxiety + depression + session + (1 | participant)",
        0.459,
    ),
    "hunger_discounting": Task(
        {"occasion": "condition", "reward": None, "context": "commodity", "attributes": OFFERS},
        every_third_offer,
        "every third offer",
        "~ condition + (1 | participant)",
        0.414,
    ),
}


def measure(name: str) -> dict[str, Any]:
    """Fit without the held-out rows and predict them; fit all rows and ask the group model."""
    task, frame = TASKS[name], pd.read_csv(DATA / f"{name}.csv.gz")
    held = task.held_out(frame).to_numpy()
    started = time.process_time()
    fit = fitted(frame[~held], task)
    seconds = time.process_time() - started
    probability = predict_choices(fit, frame, unseen="population")["probability"].to_numpy()[held]
    probability = probability[np.isfinite(probability)]
    whole = fitted(frame, task)
    return {
        "people": int(frame["participant"].nunique()),
        "held_out": task.split,
        "n_choices": len(probability),
        "nll": float(-np.log(probability).mean()),
        "by_hand": task.by_hand,
        "least": float(probability.min()),
        "processor_seconds": seconds,
        "states": {
            "own": list(whole.pooled.names[: whole.pooled.n_own]),
            "shared": len(whole.states) - whole.pooled.n_own,
        },
        "question": task.question,
        "answer": answer(whole, task.question),
    }


def fitted(frame: pd.DataFrame, task: Task) -> HistoryFit:
    """Call `spice_fit` once."""
    with warnings.catch_warnings():
        for category in (ConvergenceWarning, ExclusionWarning):
            warnings.simplefilter("ignore", category)
        found = spice_fit(frame, **task.roles)
    assert isinstance(found, HistoryFit)
    return found


def answer(fit: HistoryFit, formula: str) -> list[dict[str, Any]]:
    """Return the coefficients that covariates say most about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        table = spice_group(fit, formula).tidy()
    table = table[table["term"] != "(Intercept)"].sort_values("p_value").head(_SHOWN)
    columns = ["sparse_term", "term", "estimate", "std_error", "p_value", "p_adjusted"]
    return json.loads(table[columns].to_json(orient="records"))


def table(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    lines = [
        "| table | people | held out | choices | one call of `spice_fit` | mixed logit by hand | least probability | "
        "processor time of the fit, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    asked = []
    for name, found in results.items():
        cells = [name, found["people"], found["held_out"], f"{found['n_choices']:,}", f"{found['nll']:.4f}"]
        cells += [f"{found['by_hand']:.3f}", f"{found['least']:.0e}", f"{found['processor_seconds']:.0f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        asked += [f"\n## {name}: `{found['question']}`\n", "| state | effect of | estimate | SE | p | adjusted |"]
        asked.append("|---|---|---|---|---|---|")
        for row in found["answer"]:
            numbers = [row["estimate"], row["std_error"], row["p_value"], row["p_adjusted"]]
            shown = ["withheld" if number is None else f"{number:.3g}" for number in numbers]
            asked.append(f"| `{row['sparse_term']}` | {row['term']} | " + " | ".join(shown) + " |")
    about = (
        "Mean negative log-likelihood of held-out choices in nats; nothing is clipped. Below, for each table the "
        "coefficients with the smallest p-values in a group model of all choices (Benjamini-Hochberg within the "
        "effect). `bash benchmarks/tasks/run.sh`"
    )
    return "\n".join(["# Tasks that show something\n", about + "\n", *lines, *asked]) + "\n"


def main(target: Path, wanted: list[str]) -> None:
    """Measure the wanted tables and keep the others' results."""
    file = target.with_suffix(".json")
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in wanted or TASKS:
        results[name] = measure(name)
        print(f"{name}: {results[name]['nll']:.4f}, by hand {results[name]['by_hand']:.3f}", flush=True)
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    target.with_suffix(".md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
