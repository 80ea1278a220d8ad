"""After `import spicestat.compat` the seed's imports work, and no other package is hidden."""

import copy
import importlib
import importlib.util
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import spicestat.compat
from spicestat.errors import ConfigError
from spicestat.models import precoded

MODULES = sorted(spicestat.compat._MODULES)
NAMES = [(module, name) for module in MODULES for name in spicestat.compat._MODULES[module]]


def run_python(code, *, cwd=None, path=None):
    command = f"import sys; sys.path[:0] = {[str(path)] if path else []}; {code}"
    return subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=120, check=False, cwd=cwd
    )


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_name_is_ours(module, name):
    value = getattr(importlib.import_module(module), name)
    assert name in dir(sys.modules[module])
    if isinstance(value, type) or callable(value):
        assert value.__module__.startswith("spicestat.")


def test_classes_are_the_same_objects():
    from spice import SpiceEstimator as FromTop
    from spice.estimator import SpiceConfig, SpiceEstimator
    from spice.resources.bandits import AgentQ, BanditsDrift
    from spice.resources.rnn import BaseRNN
    from spice.resources.rnn_utils import DatasetRNN

    from spicestat import SpiceEstimator as Ours
    from spicestat.models.base import BaseRNN as OurBase
    from spicestat.models.config import SpiceConfig as OurConfig
    from spicestat.simulate import AgentQ as OurAgent
    from spicestat.simulate import BanditsDrift as OurDrift
    from spicestat.spice.dataset import DatasetRNN as OurDataset

    assert (FromTop, SpiceEstimator, SpiceConfig, BaseRNN) == (Ours, Ours, OurConfig, OurBase)
    assert (DatasetRNN, AgentQ, BanditsDrift) == (OurDataset, OurAgent, OurDrift)
    assert isinstance(AgentQ(seed=1), OurAgent)


def test_other_spellings_are_the_same_classes():
    from spice.precoded import CHOICE_CONFIG, RESCOLA_WAGNER_CONFIG
    from spice.resources.bandits import AgentQ_SampleZeros, Bandits_Standard, BanditsFlip_eckstein2022

    from spicestat.simulate import AgentQSampleZeros, BanditsFlipEckstein2022, BanditsStandard

    assert (AgentQ_SampleZeros, Bandits_Standard) == (AgentQSampleZeros, BanditsStandard)
    assert BanditsFlip_eckstein2022 is BanditsFlipEckstein2022
    assert CHOICE_CONFIG is precoded.CHOICE_RNN_CONFIG
    assert RESCOLA_WAGNER_CONFIG is precoded.RESCORLA_WAGNER_CONFIG


def test_the_precoded_models_of_spice_are_there():
    spice = importlib.import_module("spice.precoded")
    classes = [name for name in spice.__all__ if name.endswith("RNN")]
    assert all(getattr(spice, name) is getattr(precoded, name) for name in classes)
    assert {"LearningRateRNN", "RescorlaWagnerRNN", "WorkingMemoryRNN"} <= set(classes)


@pytest.mark.parametrize("module", MODULES)
def test_modules_can_be_imported_in_every_way(module):
    imported = importlib.import_module(module)
    assert imported is sys.modules[module]
    assert importlib.util.find_spec(module) is imported.__spec__
    parent, _, child = module.rpartition(".")
    if parent:
        assert getattr(importlib.import_module(parent), child) is imported
    assert "spicestat" in imported.__doc__


def test_stars_import_everything():
    namespace = {}
    exec("from spice.resources.rnn_utils import *", namespace)
    assert {"DatasetRNN", "split_data_along_timedim"} <= set(namespace)


def test_other_names_are_errors():
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        from spice.estimator import Nothing  # noqa: F401
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("spice.resources.fit_sindy")
    with pytest.raises(AttributeError, match="no attribute '__wrapped__'"):
        _ = importlib.import_module("spice").__wrapped__


def test_importing_twice_changes_nothing():
    before = {name: sys.modules[name] for name in MODULES}
    importlib.reload(spicestat.compat)
    spicestat.compat.install()
    assert {name: sys.modules[name] for name in MODULES} == before


def test_objects_are_pickled_under_our_names():
    """What is saved by old code can be loaded without the compat module."""
    from spice.resources.bandits import AgentQ

    content = pickle.dumps(AgentQ)
    assert b"spicestat.simulate" in content
    assert copy.copy(AgentQ) is AgentQ


# --- in a fresh process ---------------------------------------------------------------------------------------------


def test_importing_is_cheap():
    heavy = ["torch", "pandas", "numpy", "matplotlib", "pysindy"]
    result = run_python(f"import spicestat.compat, spice.estimator; print([m for m in {heavy} if m in sys.modules])")
    assert (result.returncode, result.stdout.strip()) == (0, "[]"), result.stderr


def test_without_compat_there_is_no_spice():
    result = run_python("import spicestat, spicestat.fit; import spice")
    assert "ModuleNotFoundError: No module named 'spice'" in result.stderr


@pytest.mark.parametrize("kind", ["package", "module"])
def test_an_installed_package_is_never_hidden(tmp_path, kind):
    if kind == "package":
        (tmp_path / "spice").mkdir()
        (tmp_path / "spice" / "__init__.py").write_text("real = True")
    else:
        (tmp_path / "spice.py").write_text("real = True")
    result = run_python("import spicestat.compat", path=tmp_path)
    assert "spicestat.errors.ConfigError" in result.stderr
    assert str(tmp_path) in result.stderr
    assert "autospice" in result.stderr
    suppressed = "import contextlib\nwith contextlib.suppress(ValueError):\n    import spicestat.compat\n"
    after = run_python(f"{suppressed}import spice; print(spice.real)", path=tmp_path)
    assert after.stdout.strip() == "True", after.stderr


def test_an_imported_package_is_never_hidden(monkeypatch):
    monkeypatch.setitem(
        sys.modules, "spice", importlib.util.module_from_spec(importlib.machinery.ModuleSpec("spice", None))
    )
    with pytest.raises(ConfigError, match="imported already"):
        spicestat.compat.install()


def test_a_folder_that_happens_to_be_called_spice_does_not_matter(tmp_path):
    (tmp_path / "spice").mkdir()
    (tmp_path / "spice" / "data.csv").write_text("a,b")
    result = run_python("import spicestat.compat; from spice.resources.rnn_utils import DatasetRNN", cwd=tmp_path)
    assert result.returncode == 0, result.stderr


def test_a_part_that_fails_to_import_fails_only_when_used(tmp_path):
    code = (
        "sys.modules['spicestat.spice.tuning'] = None; import spicestat.compat\n"
        "from spice.resources import optimizer_selection\n"
        "try:\n    from spice.resources.optimizer_selection import optimize_for_participant\n"
        "except ImportError as error:\n    print(error)"
    )
    result = run_python(code)
    assert "spicestat.spice.tuning" in result.stdout, result.stderr
    assert Path(spicestat.compat.__file__).name == "compat.py"
