"""Draw the README's picture from the demonstration's fit: python scripts/readme_figures.py demo/fit docs/images."""

import sys
from pathlib import Path

from spicestat import load_fit, spice_group

source, target = Path(sys.argv[1]), Path(sys.argv[2])
group = spice_group(load_fit(source), "~ anxiety + diagnosis")
group.plot_covariate("anxiety", "x_learning_rate_reward", "1").savefig(target / "covariate.png", dpi=110)
group.plot_forest().savefig(target / "forest.png", dpi=110)
