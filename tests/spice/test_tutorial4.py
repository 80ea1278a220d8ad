"""The code of SPICE's tutorial 4 runs as it stands in the document, after `import spicestat.compat`.

Two numbers are replaced to save time: 1024 epochs become 16, and 50 sessions per participant become 4. The
full-length run, with what it finds, is `benchmarks/tutorial4`.
"""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch

DOCUMENT = Path(__file__).parents[3] / "shared" / "seeds" / "tutorial_4_individual_differences.txt"
TEXT = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.is_file() else ""
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SHORTENED = {"epochs=1024": "epochs=16", "n_sessions_per_participant = 50": "n_sessions_per_participant = 4"}


@pytest.fixture
def quiet_process():
    """Draw figures in memory, and leave the global random states and figures as they were."""
    from matplotlib import pyplot as plt

    numpy_state = np.random.get_state()  # noqa: NPY002  the tutorial seeds the global state
    torch_state, backend = torch.get_rng_state(), matplotlib.get_backend()
    matplotlib.use("Agg")
    yield plt
    plt.close("all")
    matplotlib.use(backend)
    np.random.set_state(numpy_state)  # noqa: NPY002
    torch.set_rng_state(torch_state)


@pytest.mark.skipif(not TEXT, reason=f"the seed's tutorial is not at {DOCUMENT}")
# 400 choices in 16 epochs do not identify everything; a figure in memory cannot be shown
@pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
def test_the_tutorial_runs_as_it_stands(quiet_process, capsys):
    import spicestat.compat  # noqa: F401

    assert len(BLOCKS) == 12
    shortened = {text: sum(block.count(text) for block in BLOCKS) for text in SHORTENED}
    assert shortened == {"epochs=1024": 3, "n_sessions_per_participant = 50": 1}
    namespace = {"__name__": "tutorial"}
    for number, block in enumerate(BLOCKS, start=1):
        for text, replacement in SHORTENED.items():
            block = block.replace(text, replacement)
        exec(compile(block, f"tutorial 4, block {number}", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "Shape of the new dataset: torch.Size([8, 100, 5])" in printed
    assert "Number of participants: 2" in printed
    for participant in (0, 1):
        assert printed.count(f"Discovered SPICE model for participant {participant}:") == 3
    assert printed.count("x_value_reward_not_chosen") >= 6
    assert len(quiet_process.get_fignums()) == 5
    for name in ("spice_estimator", "spice_estimator_participant_embedding", "spice_estimator_custom"):
        networks, equations = namespace[name].predict(namespace["dataset"].xs)
        assert networks.shape == equations.shape == (8, 100, 2)
        np.testing.assert_allclose(np.nansum(equations, axis=-1), 1.0, atol=1e-6)
