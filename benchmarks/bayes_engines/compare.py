"""Compare PyMC and numpyro on the Bayesian group models; each run in a process of its own, so that it compiles.

python benchmarks/bayes_engines/compare.py            # all runs, writes benchmarks/results/bayes_engines.*
python benchmarks/bayes_engines/compare.py numpyro meta 40 2 0    # one run, as JSON
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parents[1] / "results"
ENGINES, MODELS, SIZES, COVARIATES, SEEDS = ("numpyro", "pymc"), ("meta", "choices"), (40, 100), (2,), (0,)


def cpu_seconds():
    return sum(
        use.ru_utime + use.ru_stime
        for use in (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def one_run(engine, model, n, n_covariates, seed):
    from benchmarks.bayes_engines import models
    from spicestat.group.methods.bayes import Settings
    from spicestat.group.posterior.engine import load_arviz

    az = load_arviz()
    settings = Settings(draws=1000, tune=500, chains=4, seed=seed)
    fit = getattr(models, f"{engine}_{model}")
    clock = []
    # the second data set of the same size shows what is left once everything is compiled
    for data_seed in (seed + 1000, seed):
        estimates = models.simulate(n, n_covariates, data_seed)
        extra = (models.mixture_of(estimates),) if model == "choices" else ()
        start, cpu = time.perf_counter(), cpu_seconds()
        found = fit(estimates, *extra, settings)
        clock.append((time.perf_counter() - start, cpu_seconds() - cpu))
    if engine == "numpyro":
        n_divergent = int(found.chains.diverging.sum())
        found = {"gamma": found.gamma, "sd": found.sd, "correlation": found.correlation}
    else:
        n_divergent = found.pop("n_divergent")
    rows, columns = np.tril_indices(3, -1)
    shape = found["gamma"].shape[:2]
    draws = np.concatenate(
        [found["gamma"].reshape(*shape, -1), found["sd"], found["correlation"][:, :, rows, columns]], axis=2
    )
    parameters = range(draws.shape[2])
    return {
        "engine": engine,
        "model": model,
        "n": n,
        "covariates": n_covariates,
        "seed": seed,
        "seconds": clock[0][0],
        "cpu_seconds": clock[0][1],
        "seconds_again": clock[1][0],
        "cpu_seconds_again": clock[1][1],
        "ess_bulk": min(float(az.ess(draws[:, :, k], method="bulk")) for k in parameters),
        "ess_tail": min(float(az.ess(draws[:, :, k], method="tail")) for k in parameters),
        "rhat": max(float(az.rhat(draws[:, :, k])) for k in parameters),
        "n_divergent": n_divergent,
        "mean": draws.mean(axis=(0, 1)).tolist(),
        "sd": draws.std(axis=(0, 1)).tolist(),
        "mcse": [float(draws[:, :, k].std() / az.ess(draws[:, :, k], method="mean") ** 0.5) for k in parameters],
    }


def all_runs():
    runs = []
    for model in MODELS:
        for n in SIZES:
            for n_covariates in COVARIATES:
                for seed in SEEDS:
                    for engine in ENGINES:
                        call = [sys.executable, __file__, engine, model, n, n_covariates, seed]
                        with tempfile.TemporaryDirectory() as cache:
                            # compiled code of earlier runs would not be there for a user's first one
                            fresh = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={cache}"}
                            done = subprocess.run(
                                list(map(str, call)), capture_output=True, text=True, check=True, env=fresh
                            )
                        runs.append(json.loads(done.stdout.splitlines()[-1]))
                        print(engine, model, n, n_covariates, f"{runs[-1]['seconds']:.1f} s", flush=True)
    return runs


def markdown(record):
    """Write the table."""
    runs = {(r["engine"], r["model"], r["n"], r["covariates"], r["seed"]): r for r in record["runs"]}
    lines = [
        "# Engines for the Bayesian group models: numpyro beside PyMC",
        "",
        "Written by `benchmarks/bayes_engines/run.sh`. "
        "Models: `meta` (estimates with known covariances), `choices` (likelihoods as mixtures of 6 components). "
        "Three coefficients, 4 chains of 500 + 1000 iterations, target acceptance .9, same data, priors and "
        "likelihood. Each run in a process of its own. Seconds of the first fit "
        "include importing and compiling; those of the second fit, of other data of the same size, what is left of "
        "it. numpyro: chains vectorised in one process; PyMC: two processes. ESS of the second fit: the smallest "
        "over all fixed effects, standard deviations and correlations. Difference: the largest between the posterior "
        "means, in posterior standard deviations (Monte Carlo error of it in brackets), and of the posterior "
        "standard deviations, in per cent.",
        "",
        f"Machine: {record['machine']}. Versions: "
        + ", ".join(f"{name} {version}" for name, version in record["versions"].items())
        + ".",
        "",
        "| model | N | covariates | engine | seconds, first | CPU | seconds, second | CPU | ESS bulk | ESS tail | "
        "ESS / s, first | ESS / CPU s, second | divergences | R-hat | difference of means | of sds |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (engine, model, n, covariates, seed), run in runs.items():
        away = ""
        if engine == "pymc":
            other = runs["numpyro", model, n, covariates, seed]
            sd = np.array(other["sd"])
            gap = np.abs(np.array(run["mean"]) - other["mean"]) / sd
            error = np.hypot(run["mcse"], other["mcse"]) / sd
            worst = int(np.argmax(gap))
            ratio = 100 * np.abs(np.array(run["sd"]) / sd - 1).max()
            away = f"{gap[worst]:.3f} ({error[worst]:.3f}) | {ratio:.1f} %"
        lines.append(
            f"| {model} | {n} | {covariates} | {engine} | {run['seconds']:.1f} | {run['cpu_seconds']:.1f} | "
            f"{run['seconds_again']:.1f} | {run['cpu_seconds_again']:.1f} | "
            f"{run['ess_bulk']:.0f} | {run['ess_tail']:.0f} | {run['ess_bulk'] / run['seconds']:.0f} | "
            f"{run['ess_bulk'] / run['cpu_seconds_again']:.0f} | "
            f"{run['n_divergent']} | {run['rhat']:.3f} | {away or ' | '} |"
        )
    return "\n".join(lines) + "\n"


def main():
    if len(sys.argv) > 1:
        engine, model, *numbers = sys.argv[1:]
        print(json.dumps(one_run(engine, model, *map(int, numbers))))
        return
    import platform
    from importlib.metadata import version

    record = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, shared with other jobs",
        "versions": {name: version(name) for name in ("numpyro", "jax", "pymc", "pytensor", "numpy")},
        "runs": all_runs(),
    }
    (RESULTS / "bayes_engines.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "bayes_engines.md").write_text(markdown(record), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
