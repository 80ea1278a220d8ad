"""Draw the README's picture from the demonstration's fit: python scripts/readme_figures.py demo/fit docs/images."""

import sys
from pathlib import Path

from spicestat import load_fit, spice_group

source, target = Path(sys.argv[1]), Path(sys.argv[2])
group = spice_group(load_fit(source), "~ anxiety + diagnosis")
covariate = group.plot("covariate", covariate="anxiety", module="x_learning_rate_reward", sparse_term="1")
covariate.savefig(target / "covariate.png", dpi=110)
group.plot("forest").savefig(target / "forest.png", dpi=110)
