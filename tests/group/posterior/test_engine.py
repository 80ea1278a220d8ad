"""The sampler: exact on a normal distribution, the same under a seed, interruptible, and silent about JAX."""

import gc
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from spicestat.errors import ConfigError, NumericalError
from spicestat.group.posterior import engine as bayes_engine
from spicestat.group.posterior.engine import load_arviz, load_jax, sample_chains

SETTINGS = {"draws": 400, "tune": 200, "chains": 4, "seed": 1, "target_accept": 0.9}


def normal(z, data):
    """A normal distribution with very different spreads, correlated."""
    away = z - data["mean"]
    return -0.5 * away @ data["precision"] @ away


def nowhere(z, data):
    return z[0] * data["nothing"]


@pytest.fixture(scope="module")
def target():
    pytest.importorskip("numpyro")
    root = np.array([[1.0, 0, 0], [50.0, 40.0, 0], [0.1, -0.2, 0.05]])
    covariance = root @ root.T
    return np.array([0.5, -20.0, 3.0]), covariance, np.linalg.inv(covariance)


def draw(target, **settings):
    mean, _, precision = target
    return sample_chains(normal, {"mean": mean, "precision": precision}, 3, **(SETTINGS | settings))


def test_moments_are_those_of_the_target(target):
    # means within 4.5 and variances within 5 of their standard errors: wrong in about 1 of 20 000 runs; seed fixed
    chains = draw(target)
    mean, covariance, _ = target
    az = load_arviz()
    for k in range(3):
        values, sd = chains.draws[:, :, k], np.sqrt(covariance[k, k])
        assert abs(values.mean() - mean[k]) < 4.5 * sd / np.sqrt(az.ess(values, method="mean"))
        assert abs(values.var() / sd**2 - 1) < 5 * np.sqrt(2 / az.ess(values**2, method="mean"))
        assert az.rhat(values) < 1.02
    assert chains.draws.shape == (4, 400, 3)
    assert not chains.diverging.any()
    assert 0.8 < chains.acceptance_rate.mean() < 1.0


def test_the_seed_decides(target):
    one, again, other = draw(target, draws=21), draw(target, draws=21), draw(target, draws=21, seed=2)
    np.testing.assert_array_equal(one.draws, again.draws)
    assert (one.draws != other.draws).all()
    # the number of draws has no influence on them
    np.testing.assert_array_equal(draw(target, draws=33).draws[:, :21], one.draws)


def test_it_can_be_interrupted(target):
    draw(target)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    start = time.monotonic()
    try:
        # an interrupt within the callbacks of garbage collection, of which hypothesis has one, would be lost
        gc.disable()
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(KeyboardInterrupt):
            draw(target, draws=10**7)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        gc.enable()
        signal.signal(signal.SIGALRM, previous)
    assert time.monotonic() - start < 4


def test_a_density_that_is_nowhere_finite_is_an_error(target):
    with pytest.raises(NumericalError, match="starting point"):
        sample_chains(nowhere, {"nothing": np.array(np.nan)}, 1, **SETTINGS)


@pytest.mark.parametrize("error", [ModuleNotFoundError("no"), OSError("no"), RuntimeError("no"), AttributeError("no")])
@pytest.mark.parametrize(("load", "package"), [(load_jax, "numpyro"), (load_arviz, "arviz")])
def test_a_package_that_cannot_be_loaded_is_named(monkeypatch, load, package, error):
    def missing(name):
        raise error

    monkeypatch.delitem(sys.modules, "arviz", raising=False)
    monkeypatch.setattr(bayes_engine, "import_module", missing)
    with pytest.raises(ConfigError, match=rf"{package}.*pip install 'spicestat\[bayes\]'"):
        load()


@pytest.mark.parametrize("home", ["/proc/nowhere", "empty"])
def test_nothing_is_written_at_home_and_a_home_is_not_needed(home, tmp_path):
    pytest.importorskip("numpyro")
    code = (
        "import matplotlib; matplotlib.get_cachedir()\n"
        "from spicestat.group.posterior.engine import load_arviz, load_jax\n"
        "load_jax(); print(load_arviz().__name__)\n"
    )
    folder = tmp_path if home == "empty" else home
    environment = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment |= {"HOME": str(folder), "MPLCONFIGDIR": str(tmp_path / "matplotlib")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "arviz\n"), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["matplotlib"]


def test_settings_of_jax_stay_as_they_are(target):
    jax = load_jax()
    before = jax.config.jax_enable_x64
    draw(target, draws=20)
    assert jax.config.jax_enable_x64 == before
    assert jax.numpy.zeros(1).dtype == ("float64" if before else "float32")


def test_nothing_is_loaded_at_import_nor_printed_by_a_run():
    pytest.importorskip("numpyro")
    code = (
        "import sys, numpy as np, warnings; warnings.simplefilter('error')\n"
        "import spicestat.group.methods.bayes, spicestat.group.methods.bayes_meta\n"
        "assert not {'jax', 'numpyro', 'arviz', 'torch'} & set(sys.modules)\n"
        "from spicestat.group.posterior.engine import load_arviz, load_jax, sample_chains\n"
        "load_arviz()\n"
        "def normal(z, data): return -0.5 * z @ z\n"
        "sample_chains(normal, {}, 1, draws=20, tune=50, chains=1, seed=0, target_accept=.8)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
