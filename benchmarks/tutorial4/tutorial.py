"""The seed tutorial on spicestat: its code as printed, after ``import spicestat.compat``.

``python -m benchmarks.tutorial4.tutorial data SEED DATA.npz`` runs the blocks that make the data and saves them.
``python -m benchmarks.tutorial4.tutorial fit SEED DATA.npz OUT.json`` runs all blocks in one namespace, with figures
drawn by Agg and kept beside OUT.json, and saves what was found.
Only the tutorial's two ``seed(42)`` become SEED.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tutorial4.blocks import data_blocks, tutorial_blocks
from benchmarks.tutorial4.results import fingerprint, load_data, save_data, write_json
from benchmarks.tutorial4.simulate import features, fresh_sessions

MODELS = {"precoded": "spice_estimator_participant_embedding", "custom": "spice_estimator_custom"}
"""The tutorial's two estimators with individual differences, by the names that the table gives them."""


def run_blocks(blocks: list[str], figures: Path | None = None) -> tuple[dict[str, Any], list[dict[str, float]]]:
    """Execute the blocks in one namespace; return it and the seconds that each block took."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    import spicestat.compat  # noqa: F401 (makes `from spice... import` ours)

    space: dict[str, Any] = {"__name__": "__main__"}
    clocks = []
    for position, block in enumerate(blocks):
        started, cpu = time.perf_counter(), time.process_time()
        exec(compile(block, f"<tutorial 4, block {position}>", "exec"), space)
        clocks.append({"seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu})
        if figures and plt.get_fignums():
            plt.savefig(figures / f"block_{position}.png")
        plt.close("all")
    return space, clocks


def arrays(space: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the tutorial's data from its namespace."""
    return space["dataset"].xs.numpy(), space["dataset"].ys.numpy()


def describe(estimator: Any, seed: int, n_sessions: int = 4000) -> dict[str, Any]:
    """What an estimator found, per participant, and how its network and equations do on fresh data."""
    equations, refit = estimator.equations_, estimator.refit_
    fresh = [fresh_sessions(seed, code, n_sessions) for code in range(2)]
    predicted = estimator.predict(np.concatenate([features(data, code) for code, data in enumerate(fresh)]))
    people = []
    for code, data in enumerate(fresh):
        rows = slice(code * n_sessions, (code + 1) * n_sessions)
        rnn, spice = (_nll(probabilities[rows], data.target) for probabilities in predicted)
        errors = np.sqrt(np.diag(refit.covariance[code]))
        terms = [
            {
                "module": module,
                "term": term,
                "status": int(equations.status[code, position]),
                "estimate": float(equations.coefficients[code, position]),
                "std_error": None if np.isnan(errors[position]) else float(errors[position]),
            }
            for position, (module, term) in enumerate(equations.terms)
        ]
        people.append(
            {
                "terms": terms,
                "converged": bool(refit.converged[code]),
                "log_likelihood": float(refit.log_likelihood[code]),
                "n_trials": int(refit.n_trials[code]),
                "rnn_nll_fresh": rnn,
                "spice_nll_fresh": spice,
            }
        )
    return {"participants": people}


def _nll(probabilities: np.ndarray, target: np.ndarray) -> float:
    return float(-np.log(np.take_along_axis(probabilities, target[..., None], axis=-1)).mean())


def make_data(seed: int, data: Path) -> None:
    """Save the data of the tutorial."""
    space, _ = run_blocks(data_blocks(tutorial_blocks(seed)))
    save_data(data, *arrays(space))


def fit(seed: int, data: Path, out: Path) -> None:
    """Run the whole tutorial and save what it found."""
    import torch

    figures = out.with_suffix("")
    figures.mkdir(parents=True, exist_ok=True)
    blocks = tutorial_blocks(seed)
    space, clocks = run_blocks(blocks, figures)
    if fingerprint(*arrays(space)) != fingerprint(*load_data(data)):
        raise SystemExit(f"the tutorial made other data than {data} holds: remove that file and {out.parent.parent}")
    models = {}
    for name, variable in MODELS.items():
        clock = next(clock for block, clock in zip(blocks, clocks, strict=True) if f"{variable}.fit(" in block)
        models[name] = {**clock, **describe(space[variable], seed)}
    content = {
        "seed": seed,
        "data": fingerprint(*arrays(space)),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "models": models,
    }
    write_json(out, content)


if __name__ == "__main__":
    if sys.argv[1] == "data":
        make_data(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        fit(int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]))
