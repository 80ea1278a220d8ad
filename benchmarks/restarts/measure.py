"""Does a restart drawn from the population beat a reported maximum? measure.py results/restarts [TABLE ...]."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import median_abs_deviation

from benchmarks.ladder.tables import dezfouli
from spicestat import SpiceFit, load_fit, spice_fit
from spicestat.equations.estimate.refit import refit
from spicestat.equations.structure.equation_set import FREE
from spicestat.simulate import simulate_cohort
from spicestat.trials.sequences import SequenceDataset

RESTARTS, BETTER = 20, 0.1


def fit_of(name: str) -> SpiceFit:
    """Fit Dezfouli's first forty people, or two hundred simulated ones; taken from the build folder when there."""
    folder = Path("build/restarts") / name
    if folder.exists():
        found = load_fit(folder)
        assert isinstance(found, SpiceFit)
        return found
    if name == "dezfouli":
        trials = dezfouli()
        first = sorted(trials["participant"].unique())[:40]
        trials = trials[trials["participant"].isin(first)]
    else:
        trials = simulate_cohort(200, 120, n_blocks=3, seed=20261128).trials
    fit = spice_fit(trials, block="block", trial="trial", model="choice")
    folder.parent.mkdir(parents=True, exist_ok=True)
    fit.save(folder)
    return fit


def drawn_starts(estimates: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Starts (P, K) drawn from a normal population with the estimates' medians and absolute deviations."""
    middle, spread = np.median(estimates, axis=0), 1.4826 * median_abs_deviation(estimates, axis=0)
    return [middle + spread * rng.standard_normal(estimates.shape) for _ in range(RESTARTS)]


def gains(fit: SpiceFit) -> tuple[np.ndarray, float]:
    """By how much the best restart of each person (P,) beats a refit, and the seconds that the refit took."""
    model, data = fit.model, SequenceDataset.from_trials(fit.trials)
    begun = time.process_time()
    reported = refit(model.network, data, model.equations)
    seconds = time.process_time() - begun
    estimates, free = reported.equations.coefficients, (model.equations.status == FREE).any(axis=0)
    best = np.full(len(estimates), -np.inf)
    for start in drawn_starts(estimates, np.random.default_rng(20261128)):
        begin = model.equations.with_coefficients(np.where(free, start, estimates))
        best = np.fmax(best, refit(model.network, data, begin, []).log_likelihood)
    return best - reported.log_likelihood, seconds


def main(target: Path, names: list[str]) -> None:
    """Write one row per table."""
    file = target.with_suffix(".json")
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    for name in names:
        gain, seconds = gains(fit_of(name))
        results[name] = {
            "people": len(gain),
            "beaten": int((gain > BETTER).sum()),
            "largest_gain": float(gain.max()),
            "refit_s": seconds,
        }
        file.write_text(json.dumps(results, indent=1), encoding="utf-8")
    rows = pd.DataFrame.from_dict(results, orient="index").rename_axis("table").reset_index()
    lines = ["| " + " | ".join(map(str, rows.columns)) + " |", "|---" * rows.shape[1] + "|"]
    lines += [
        "| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row) + " |" for row in rows.values
    ]
    head = f"# {RESTARTS} restarts per person, drawn from the population\n\n"
    about = f"Beaten: a restart is higher by more than {BETTER} nats. `bash benchmarks/restarts/run.sh`\n\n"
    target.with_suffix(".md").write_text(head + about + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or ["dezfouli", "simulated"])
