"""Draw the README's picture from the demonstration's fit: python scripts/readme_figures.py demo/fit docs/images."""

import sys
from pathlib import Path

from spicestat import load_fit, spice_group
from spicestat.group.plots import plot_covariate, plot_forest

source, target = Path(sys.argv[1]), Path(sys.argv[2])
fit = load_fit(source)
group = spice_group(fit, "~ anxiety + diagnosis")
plot_covariate(fit.coefficients, "anxiety", "x_learning_rate_reward", "1")[0].savefig(target / "covariate.png", dpi=110)
plot_forest(group)[0].savefig(target / "forest.png", dpi=110)
