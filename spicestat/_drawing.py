"""Figures that notebooks show as they are, without ``%matplotlib``."""

from __future__ import annotations

import io
from typing import Any

from matplotlib.figure import Figure

__all__ = ["Drawing", "kernel_axis", "panels"]

_DPI = 110


class Drawing(Figure):
    r"""A matplotlib figure, made without pyplot, that a notebook shows where it is a cell's last value.

    Examples
    --------
    >>> Drawing(figsize=(1, 1))._repr_png_()[:4]
    b'\x89PNG'
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=_DPI)
        return buffer.getvalue()


def panels(n: int, width: float, height: float, columns: int = 4, **options: Any) -> tuple[Drawing, list[Any]]:
    """Make a drawing with n panels in rows.

    Parameters
    ----------
    n : int
        At least 1.
    width, height : float
        Of a panel, in inches.
    columns : int, default 4
        Most panels in a row.
    **options
        Of `matplotlib.figure.Figure.subplots`, such as ``sharey``.

    Returns
    -------
    (Drawing, list of n Axes)

    Examples
    --------
    >>> drawing, axes = panels(5, 2.0, 1.5)
    >>> len(axes), drawing.get_size_inches().tolist()
    (5, [8.0, 3.0])
    """
    n_columns = min(n, columns)
    n_rows = -(-n // n_columns)
    drawing = Drawing(figsize=(width * n_columns, height * n_rows), layout="constrained")
    axes = drawing.subplots(n_rows, n_columns, squeeze=False, **options).ravel().tolist()
    for axis in axes[:n]:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[n:]:
        axis.set_axis_off()
    return drawing, axes[:n]


def kernel_axis(axis: Any, event: str) -> None:
    """Prepare an axis for kernels over lags, which are whole numbers: what one event does to the next choices."""
    axis.axhline(0.0, color="#BDBDBD", linewidth=0.8)
    axis.set(xlabel=f"choices after one {event}", ylabel="change in log odds of repeating")
    axis.xaxis.get_major_locator().set_params(integer=True)
