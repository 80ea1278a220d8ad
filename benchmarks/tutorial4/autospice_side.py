"""The tutorial on autospice 0.2.0, run with that package's own Python environment (see run.sh).

``python -m benchmarks.tutorial4.autospice_side SEED DATA.npz OUT.json`` fits the tutorial's custom model, its class
as printed, to the data of the spicestat side: with the columns block and experiment that 0.2.0 reads, and -1 for
rewards that were not shown. ``... verbatim OUT.json`` runs every block of the tutorial as it stands, with
`VERBATIM_EPOCHS` epochs, and notes which of them fail.
"""

import json
import os
import random
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tutorial4.blocks import custom_model_block, tutorial_blocks
from benchmarks.tutorial4.equations import Equations, run
from benchmarks.tutorial4.results import fingerprint, load_data, write_json
from benchmarks.tutorial4.simulate import features, fresh_sessions, from_features

EPOCHS = 1024
VERBATIM_EPOCHS = 2
N_CHECKED = 5
"""Sessions whose slow predictions are compared with those of our stepping through the equations."""


def with_ids(xs: np.ndarray) -> np.ndarray:
    """Features (S, T, 7) as 0.2.0 reads them, from the tutorial's (S, T, 5)."""
    zeros = np.zeros((*xs.shape[:2], 2), dtype=xs.dtype)
    return np.concatenate([np.nan_to_num(xs[..., :4], nan=-1.0), zeros, xs[..., 4:]], axis=-1)


def equations_of(estimator: Any, participant: int) -> Equations:
    """Read a participant's coefficients from the fitted pysindy models and its network's inverse temperature."""
    import torch

    modules: dict[str, dict[str, float]] = {}
    for name, models in estimator.spice_agent.get_modules().items():
        model = models[participant]
        terms = zip(model.get_feature_names(), model.coefficients()[0].tolist(), strict=True)
        modules[name] = {term: value for term, value in terms if value}
    network = estimator.spice_agent._model
    with torch.no_grad():
        embedding = network.participant_embedding(torch.tensor(participant).int())
        beta = network.betas["x_value_reward"](embedding).item()
    return Equations(modules, beta)


def rnn_nll(network: Any, xs: np.ndarray, ys: np.ndarray) -> float:
    """Mean negative log-likelihood of the trained network."""
    import torch

    network.eval()
    with torch.no_grad():
        logits = network(torch.from_numpy(with_ids(xs)), batch_first=True)[0]
    return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(ys).flatten()))


def fit(seed: int, data: Path) -> dict[str, Any]:
    """Fit the tutorial's custom model and return what the table needs."""
    import torch

    xs, ys = load_data(data)
    np.random.seed(seed)  # noqa: NPY002 (0.2.0 draws from the global states)
    torch.manual_seed(seed)
    random.seed(seed)
    space: dict[str, Any] = {"torch": torch, "np": np}
    exec(custom_model_block(tutorial_blocks()), space)
    from spice.estimator import SpiceEstimator

    features7 = torch.from_numpy(with_ids(xs))
    started, cpu = time.perf_counter(), time.process_time()
    estimator = SpiceEstimator(
        rnn_class=space["CustomRNN"],
        spice_config=space["CUSTOM_RNN_CONFIG"],
        learning_rate=1e-2,
        epochs=EPOCHS,
        n_participants=2,
    )
    estimator.fit(features7, torch.from_numpy(ys))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    people = [participant(estimator, seed, code, (xs, ys)) for code in range(2)]
    return {
        "seed": seed,
        "data": fingerprint(xs, ys),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "models": {"custom": {"seconds": seconds, "cpu_seconds": cpu_seconds, "participants": people}},
    }


def participant(estimator: Any, seed: int, code: int, arrays: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    """One participant's equations, and how network and equations do on old and new data."""
    equations, network = equations_of(estimator, code), estimator.rnn_agent._model
    old, new = from_features(*arrays)[code], fresh_sessions(seed, code)
    few = type(old)(*(part[:N_CHECKED] for part in (old.choice, old.reward, old.target)))
    import torch

    slow = estimator.predict(torch.from_numpy(with_ids(features(few, code))))[1]
    return {
        "modules": equations.modules,
        "beta": equations.beta,
        "rnn_nll_train": rnn_nll(network, features(old, code), old.target),
        "rnn_nll_fresh": rnn_nll(network, features(new, code), new.target),
        "largest_difference_to_predict": float(np.abs(slow[..., 0] - run(equations, few).first).max()),
    }


def verbatim() -> dict[str, Any]:
    """Run every block of the tutorial in one namespace and note the exceptions."""
    import matplotlib

    matplotlib.use("Agg")
    space: dict[str, Any] = {}
    failures = []
    for position, block in enumerate(tutorial_blocks()):
        try:
            exec(block.replace("epochs=1024", f"epochs={VERBATIM_EPOCHS}"), space)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            first = next(line for line in block.splitlines() if line.strip())
            failures.append(
                {
                    "block": position,
                    "starts": first,
                    "error": f"{type(error).__name__}: {error}",
                    "raised_in": f"{Path(where.filename).name}:{where.lineno}",
                }
            )
    return {"blocks": len(tutorial_blocks()), "epochs": VERBATIM_EPOCHS, "failures": failures}


if __name__ == "__main__":
    if sys.argv[1] == "verbatim":
        outcome = verbatim()
        print(json.dumps(outcome, indent=2))
    else:
        outcome = fit(int(sys.argv[1]), Path(sys.argv[2]))
    write_json(Path(sys.argv[-1]), outcome)
