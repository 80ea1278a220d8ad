"""Errors and warnings: each message says what is wrong, what was given, what is allowed, and what to do."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

__all__ = [
    "ColumnError",
    "ConfigError",
    "ContradictionWarning",
    "ConvergenceWarning",
    "CovariateError",
    "DataError",
    "ExclusionWarning",
    "FormulaError",
    "IdentifiabilityWarning",
    "InputError",
    "NestedRError",
    "NotFittedError",
    "NumericalError",
    "REngineError",
    "ScaleWarning",
    "ShapeError",
    "SpicestatError",
    "SpicestatWarning",
    "StorageError",
    "StorageWarning",
    "SuspiciousDataWarning",
    "warn_user",
]

_PACKAGE = str(Path(__file__).parent) + os.sep


class SpicestatError(Exception):
    """Base of all errors that spicestat raises on purpose.

    Parameters
    ----------
    what : str
        What is wrong, in one sentence without a final full stop.
    got, allowed, do : str, optional
        What was given, what is allowed, and what the user can do about it.

    Attributes
    ----------
    code : str
        Short stable name; R signals the condition ``spicestat_error_<code>``.

    Examples
    --------
    >>> print(ColumnError("no column 'rt'", allowed="choice, reward", do="pass reward='reward'"))
    no column 'rt'. Allowed: choice, reward. Try: pass reward='reward'.
    """

    code = "error"

    def __init__(self, what: str, *, got: object = None, allowed: object = None, do: str | None = None) -> None:
        self.what, self.got, self.allowed, self.do = what, got, allowed, do
        parts = [what]
        if got is not None:
            parts.append(f"Got: {got}")
        if allowed is not None:
            parts.append(f"Allowed: {allowed}")
        if do is not None:
            parts.append(f"Try: {do}")
        sentences = [part if part.endswith(("?", "...")) else part.rstrip(".") + "." for part in parts]
        super().__init__(" ".join(sentences))


class InputError(SpicestatError, ValueError):
    """Something the caller passed cannot be used."""

    code = "input"


class ColumnError(InputError):
    """A table lacks a column, or a column has the wrong type."""

    code = "column"


class DataError(InputError):
    """The values in a table contradict each other or leave nothing to fit."""

    code = "data"


class CovariateError(InputError):
    """A participant covariate varies within a participant or is not usable."""

    code = "covariate"


class FormulaError(InputError):
    """A formula cannot be parsed or names an unknown variable."""

    code = "formula"


class ConfigError(InputError):
    """A setting is out of range or contradicts another one."""

    code = "config"


class ShapeError(InputError):
    """An array has the wrong shape."""

    code = "shape"


class StorageError(SpicestatError):
    """A file or folder cannot be read or written."""

    code = "storage"


class NotFittedError(SpicestatError, ValueError, AttributeError):
    """A result was asked for before ``fit``."""

    code = "not_fitted"


class NumericalError(SpicestatError):
    """A computation cannot give a trustworthy number."""

    code = "numerical"


class NestedRError(SpicestatError):
    """R was asked for from Python inside R, which would abort the process."""

    code = "nested_r"


class REngineError(SpicestatError):
    """R or one of its packages is missing, or a model cannot be fitted there."""

    code = "r_engine"


class SpicestatWarning(UserWarning):
    """Base of all warnings that spicestat gives."""

    code = "warning"


class SuspiciousDataWarning(SpicestatWarning):
    """The data can be used as they are, but look like a mistake."""

    code = "suspicious_data"


class ExclusionWarning(SpicestatWarning):
    """Rows or participants were left out; the message counts them."""

    code = "exclusion"


class ConvergenceWarning(SpicestatWarning):
    """An iteration stopped before it converged."""

    code = "convergence"


class ContradictionWarning(SpicestatWarning):
    """A result contradicts itself, or predicts no better than guessing; the message says what to do."""

    code = "contradiction"


class IdentifiabilityWarning(SpicestatWarning):
    """Too many participants have no identified estimate, so inference is withheld."""

    code = "identifiability"


class ScaleWarning(SpicestatWarning):
    """Numbers are on a scale far from the one that the models are built for; nothing was rescaled."""

    code = "scale"


class StorageWarning(SpicestatWarning):
    """A file that would have been of help later could not be written; the computation goes on."""

    code = "storage"


def warn_user(message: str, category: type[SpicestatWarning]) -> None:
    """Warn, pointing at the line outside of spicestat that led here, however deep in the package this is.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True, action="always") as caught:
    ...     warn_user("3 rows were left out.", ExclusionWarning)
    >>> caught[0].category.code, "spicestat" in Path(caught[0].filename).parts
    ('exclusion', False)
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
