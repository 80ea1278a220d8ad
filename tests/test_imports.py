"""Importing spicestat changes nothing outside it, and group models load neither torch nor pysindy."""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "spicestat"
# spicestat.r.run_r needs R, and the compat module exists to register the seed's module names
MODULES = sorted(
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if path.stem not in ("compat", "run_r", "__main__")
)
GROUP_MODULES = [name for name in MODULES if name.startswith("spicestat.group")]

WATCH_IMPORTS = f"""
import importlib, logging, random, sys, warnings
for name in ("torch", "pandas", "matplotlib", "scipy.optimize", "sklearn", "statsmodels.api", "pysindy", "joblib",
             "rich", "typer", "formulaic", "jinja2", "pyarrow.parquet", "safetensors", "scipy.stats", "patsy"):
    importlib.import_module(name)  # what these do to the process is not ours
import matplotlib, numpy, torch
def state():
    return {{
        "matplotlib": dict(matplotlib.rcParams), "filters": list(warnings.filters), "path": list(sys.path),
        "numpy": numpy.random.get_state()[1].tolist(), "random": random.getstate(), "torch": torch.initial_seed(),
        "threads": torch.get_num_threads(), "dtype": torch.get_default_dtype(), "errors": numpy.geterr(),
        "logging": list(logging.getLogger().handlers),
    }}
before = state()
for name in {MODULES}:
    importlib.import_module(name)
    after = state()
    changed = [what for what in before if before[what] != after[what]]
    assert not changed, f"importing {{name}} changes {{changed}}"
"""


def run_python(code):
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_group_models_load_neither_torch_nor_pysindy():
    imports = "; ".join(f"import {name}" for name in GROUP_MODULES)
    code = f"import sys; {imports}; print(sorted({{'torch', 'pysindy'}} & set(sys.modules)))"
    assert run_python(code).strip() == "[]"


def test_a_fit_is_loaded_without_pysindy():
    """It takes seconds to import."""
    assert run_python("import sys, spicestat.fit.api; print('pysindy' in sys.modules)").split() == ["False"]


def test_imports_have_no_side_effects_and_print_nothing():
    assert run_python(WATCH_IMPORTS) == ""
