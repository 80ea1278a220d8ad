"""Draw the pictures of README.md and docs/gallery.md into docs/images: `make demo`, then python scripts/figures.py.

Those of the gallery are drawn by the code on the page, those of README.md from the demonstration's fit.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

from matplotlib import rcParams

from spicestat import load_fit, spice_group

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Draw all pictures anew."""
    rcParams["savefig.dpi"] = 80
    draw_gallery(IMAGES / "gallery")
    draw_for_readme(IMAGES)


def draw_gallery(folder: Path) -> None:
    """Run the page's blocks one after the other, and keep the pictures that they leave."""
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
    with tempfile.TemporaryDirectory() as place:
        with contextlib.chdir(place):
            exec(compile("\n".join(blocks), "docs/gallery.md", "exec"), {"__name__": "gallery"})
        for picture in Path(place).glob("*.png"):
            shutil.copy(picture, folder)


def draw_for_readme(folder: Path) -> None:
    """Draw effects, and a coefficient against anxiety, of the demonstration."""
    group = spice_group(load_fit(ROOT / "demo" / "fit"), "~ anxiety + diagnosis")
    group.plot_covariate("anxiety", "x_learning_rate_reward", "1").savefig(folder / "covariate.png", dpi=110)
    group.plot_forest().savefig(folder / "forest.png", dpi=110)


if __name__ == "__main__":
    main()
