"""Time the likelihood of equations with its derivatives: recursions against automatic differentiation, in one run.

OMP_NUM_THREADS=1 .venv/bin/python benchmarks/refit_speed/speed.py

100 participants x 400 trials on a drifting two-armed bandit; seconds of processor time, the best of several runs.
"""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from spicestat.equations.estimate.refit import CoefficientLikelihood, refit
from spicestat.equations.sparse import polynomial_library
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, EquationSet
from spicestat.models.precoded import PRECODED
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

OUT = Path(__file__).parents[1] / "results"
P, T, NODES, FEW = 100, 400, 300, 6
RATE, NOT_CHOSEN, TRACE = "x_learning_rate_reward", "x_value_reward_not_chosen", "x_value_choice"
BETA = ("beta", "x_value_reward")
LEARNING = {(RATE, "1"): 0.3, (NOT_CHOSEN, NOT_CHOSEN): 0.8, BETA: 2.0}
MODELS = {
    "rate, forgetting, temperature (3)": ("learning_rate", LEARNING),
    "and a choice trace (5)": ("choice", LEARNING | {(TRACE, "c_action"): 0.5, (TRACE, TRACE): 0.4}),
}


def equations_of(name: str, values: dict[tuple[str, str], float]) -> EquationSet:
    _, config = PRECODED[name]
    libraries = tuple(polynomial_library(module, config.signals(module), 1) for module in config.rnn_modules)
    terms = [*((library.module, term) for library in libraries for term in library.terms), BETA]
    status = np.tile(np.array([FREE if term in values else EXCLUDED for term in terms], dtype="int8"), (P, 1))
    return EquationSet(
        libraries, ("x_value_reward",), np.tile([values.get(term, 0.0) for term in terms], (P, 1)), status
    )


def seconds(action, repeats: int) -> float:
    best = np.inf
    for _ in range(repeats):
        began = time.process_time()
        action()
        best = min(best, time.process_time() - began)
    return float(best)


def without_recursions(problem: CoefficientLikelihood) -> CoefficientLikelihood:
    problem.__dict__["affine"] = None
    return problem


def measure(name: str, values: dict[tuple[str, str], float], data: SequenceDataset) -> dict[str, float]:
    equations, model = equations_of(name, values), PRECODED[name][0](n_actions=2)
    fast = CoefficientLikelihood(model, data, equations)
    found = {"find the form": seconds(lambda: fast.affine, 1)}
    assert fast.affine is not None
    slow = without_recursions(CoefficientLikelihood(model, data, equations))
    everybody, at = torch.ones(P, dtype=torch.bool), torch.from_numpy(equations.coefficients)
    found["derivatives, recursions"] = seconds(lambda: fast.evaluate(at, everybody), 10)
    found["derivatives, autograd"] = seconds(lambda: slow.evaluate(at, everybody), 3)
    nodes = at.repeat(NODES, 1, 1)
    found["values per set, recursions"] = seconds(lambda: fast.values(nodes), 3) / NODES
    found["values per set, forward pass"] = seconds(lambda: slow.values(nodes[:FEW]), 2) / FEW
    one, other = fast.evaluate(at, everybody), slow.evaluate(at, everybody)
    found["largest difference of information"] = float((one.information - other.information).abs().max())
    found["refit, recursions"] = seconds(lambda: refit(model, data, equations), 1)
    return found


def main() -> None:
    torch.set_num_threads(1)
    data = SequenceDataset.from_trials(read_trials(simulate_cohort(P, T, n_blocks=1, seed=1).trials, block="block"))
    results = {label: measure(*model, data) for label, model in MODELS.items()}
    versions = {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()}
    (OUT / "refit_speed.json").write_text(json.dumps({"seconds": results, "versions": versions}, indent=1) + "\n")
    (OUT / "refit_speed.md").write_text(page(results, versions))


def page(results: dict[str, dict[str, float]], versions: dict[str, str]) -> str:
    rows = [
        ("value, gradient and Hessian", "derivatives, recursions", "derivatives, autograd"),
        ("values per set of coefficients", "values per set, recursions", "values per set, forward pass"),
    ]
    lines = [
        f"# Speed of the likelihood, {P} participants x {T} trials, one thread",
        "",
        f"Written by `benchmarks/refit_speed/speed.py`; torch {versions['torch']}, Python {versions['python']}. "
        "Processor time, both ways in one run, on a machine that was shared: the ratios count. Values are those of "
        f"{NODES} sets at once by recursions, and of {FEW} at once by the forward pass, divided by their number.",
        "",
        "| coefficients | what | by recursions | by the model's forward pass | ratio |",
        "|---|---|---|---|---|",
    ]
    for label, found in results.items():
        lines += [
            f"| {label} | {what} | {1e3 * found[fast]:.2f} ms | {1e3 * found[slow]:.0f} ms "
            f"| {found[slow] / found[fast]:.0f} |"
            for what, fast, slow in rows
        ]
        lines.append(f"| {label} | finding the recursions, once | {1e3 * found['find the form']:.0f} ms | | |")
        lines.append(f"| {label} | refit from two starts, all included | {found['refit, recursions']:.2f} s | | |")
    largest = max(found["largest difference of information"] for found in results.values())
    return "\n".join([*lines, "", f"Largest difference between the two Hessians: {largest:.1e}.", ""])


if __name__ == "__main__":
    main()
