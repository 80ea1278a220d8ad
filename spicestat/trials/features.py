"""The layout of features: which columns of SPICE's ``xs`` hold actions, rewards, inputs and ids."""

from __future__ import annotations

from dataclasses import dataclass

from spicestat.errors import ShapeError

__all__ = ["FeatureLayout"]

_IDS = 3


@dataclass(frozen=True)
class FeatureLayout:
    """Columns of features (..., F): actions, rewards, additional inputs, block, experiment, participant.

    The short layout, ``F = 2A + 1``, has the participant alone.

    Attributes
    ----------
    n_actions : int
        Number of actions A.
    width : int
        Number of columns F: ``2A + 1``, or ``2A + 3`` and one more for each additional input.

    Raises
    ------
    ShapeError
        There is no layout with so many columns.

    Examples
    --------
    >>> layout = FeatureLayout(n_actions=2, width=8)
    >>> layout.rewards, layout.inputs, layout.has_blocks
    (slice(2, 4, None), slice(4, 5, None), True)
    >>> FeatureLayout(2, 5).has_blocks
    False
    """

    n_actions: int
    width: int

    def __post_init__(self) -> None:
        if self.width != 2 * self.n_actions + 1 and self.width < 2 * self.n_actions + _IDS:
            allowed = f"{2 * self.n_actions + 1} or at least {2 * self.n_actions + _IDS} for {self.n_actions} actions"
            raise ShapeError("features have the wrong number of columns", got=self.width, allowed=allowed)

    @property
    def has_blocks(self) -> bool:
        """Whether there are columns of blocks and experiments, at -3 and -2; the participant's is the last."""
        return self.width != 2 * self.n_actions + 1

    @property
    def actions(self) -> slice:
        """Columns of the actions, one-hot."""
        return slice(0, self.n_actions)

    @property
    def rewards(self) -> slice:
        """Columns of the actions' rewards."""
        return slice(self.n_actions, 2 * self.n_actions)

    @property
    def inputs(self) -> slice:
        """Columns of the additional inputs, which may be none."""
        return slice(2 * self.n_actions, self.signals.stop)

    @property
    def signals(self) -> slice:
        """All columns but the ids."""
        return slice(0, self.width - (_IDS if self.has_blocks else 1))

    @property
    def ids(self) -> slice:
        """Columns of the ids."""
        return slice(self.signals.stop, self.width)
