"""Torch keeps its own linear algebra in a process where another BLAS is loaded for everybody, as in R."""

import ctypes
import os
import subprocess
import sys
from ctypes.util import find_library

import pytest

TRAIN = """
import ctypes, hashlib, sys, warnings
library, loader = sys.argv[1:]
if library:
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
if loader == "own":
    from spicestat.r.torch_symbols import load_torch
    flags = sys.getdlopenflags()
    load_torch()
    assert sys.getdlopenflags() == flags
warnings.simplefilter("ignore")
import torch
torch.manual_seed(1)
torch.set_num_threads(1)
x, w, b = torch.randn(1, 300, 7), torch.randn(1, 7, 8, requires_grad=True), torch.randn(1, 1, 8)
for _ in range(50):
    loss = torch.tanh(torch.baddbmm(b, x, w)).square().mean()
    w = (w - 0.1 * torch.autograd.grad(loss, w)[0]).detach().requires_grad_()
print(hashlib.sha256(w.detach().numpy().tobytes()).hexdigest())
"""


def trained(library, loader):
    done = subprocess.run([sys.executable, "-c", TRAIN, library, loader], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="symbol scopes of Linux")
def test_training_is_the_same_beside_another_blas():
    library = find_library("blas")
    if library is not None:
        try:
            ctypes.CDLL(library)
        except OSError:
            library = None
    assert trained(library or "", "own") == trained("", "plain")


FIRST_IMPORT = """
import os, sys
from spicestat.r import bridge

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            os._exit(0 if sys.getdlopenflags() & os.RTLD_DEEPBIND else 3)

sys.meta_path.insert(0, Watch())
verb, folder = sys.argv[1:]
{
    "load": lambda: bridge.load(folder),
    "fit": lambda: bridge.fit({}, {"folder": folder}),
    "simulate_fit": lambda: bridge.simulate_fit(folder, {"environment": None, "n_simulations": 1, "seed": 1}),
    "task": lambda: bridge.simulate({"environment": {"kind": "flip"}}),
    "predict": lambda: bridge.predict(folder, None, {}),
    "update": lambda: bridge.update(folder, {}, {"folder": folder}),
    "compare": lambda: bridge.compare({"a": folder}, {}),
    "power": lambda: bridge.power(folder, {"coefficient": ["x", "1"]}),
    "reliability": lambda: bridge.reliability(folder, {}),
}[verb]()
os._exit(4)
"""
VERBS = ["load", "fit", "simulate_fit", "task", "predict", "update", "compare", "power", "reliability"]


@pytest.mark.skipif(not hasattr(os, "RTLD_DEEPBIND"), reason="symbol scopes of Linux")
@pytest.mark.parametrize("verb", VERBS)
def test_whatever_r_calls_first_torch_gets_its_own_symbols(verb, tmp_path):
    done = subprocess.run([sys.executable, "-c", FIRST_IMPORT, verb, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
