"""The tables of the ladder: real ones where they are, and people of five mechanisms."""

from pathlib import Path

import pandas as pd

from benchmarks.ladder.mechanisms import simulate

DATA = Path("../shared/data")

HELD_OUT = {
    "dezfouli": (3, 6, 9),
    "dezfouli_late": (9, 10, 11, 12),
    "avoid_restless": (2, 4, 6, 8),
    "mechanisms": (3, 6),
}
"""Blocks that are predicted and not fitted."""


def read_table(name: str) -> tuple[pd.DataFrame, tuple[int, ...]]:
    """Read trials and the blocks to hold out; ``path:2,4`` is a table of the user's."""
    if name not in HELD_OUT:
        path, _, blocks = name.rpartition(":")
        frame = pd.read_csv(path)
        trial = {} if "trial" in frame else {"trial": frame.groupby(["participant", "block"]).cumcount()}
        return frame.assign(**trial), tuple(int(block) for block in blocks.split(","))
    read = {"avoid_restless": avoid_restless, "mechanisms": simulate}.get(name, dezfouli)
    return read(), HELD_OUT[name]


def is_there(name: str) -> bool:
    """Whether the table of this name can be read here."""
    files = {"avoid_restless": "avoid_restless.csv.gz", "mechanisms": ""}
    return name not in HELD_OUT or (DATA / files.get(name, "dezfouli2019.csv.gz")).exists() or name == "mechanisms"


def dezfouli() -> pd.DataFrame:
    """Dezfouli et al. (2019): 101 people, 12 blocks each, two actions."""
    return pd.read_csv(DATA / "dezfouli2019.csv.gz")


def avoid_restless() -> pd.DataFrame:
    """A restless bandit, 57 people x 2 sessions x 200 trials in blocks of 50; reward minus punishment."""
    frame = pd.read_csv(DATA / "avoid_restless.csv.gz").sort_values(["participant", "session", "trial"], kind="stable")
    within = frame.groupby(["participant", "session"]).cumcount()
    block = (frame["session"] - 1) * 4 + (within // 50 + 1).clip(upper=4)
    return frame.assign(block=block, reward=frame["reward"] - frame["punish"])[
        ["participant", "block", "trial", "choice", "reward"]
    ]
