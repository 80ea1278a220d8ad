"""Fits as tables in the column protocol, on their way to R."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from spicestat.r.columns import Table, decode_table, encode_table
from spicestat.r.torch_symbols import load_torch

__all__ = ["encoded", "engine", "fit_tables", "received_table", "received_tables"]


def engine() -> Any:
    """Return the public names of spicestat, after torch was loaded in the way that keeps R's BLAS out."""
    load_torch()
    return importlib.import_module("spicestat")


def encoded(tables: Mapping[str, pd.DataFrame | None]) -> dict[str, Any]:
    """Return tables in protocol form, without those that are None."""
    return {name: encode_table(frame) for name, frame in tables.items() if frame is not None}


def fit_tables(result: Any) -> dict[str, Any]:
    """Return what R knows of a fit."""
    return encoded(
        {
            "coefficients": result.coefficients.frame,
            "covariance": result.coefficients.covariance_frame(),
            "equations": result.equations_frame(),
            "people": result.people,
            "occasions": _occasions(result.coefficients.info),
            "settled": _settled(result.coefficients.info.get("missing")),
            "scores": result.scores,
            "glance": result.glance(),
        }
    )


def _occasions(info: Mapping[str, Any]) -> pd.DataFrame | None:
    """Return the columns that tell people and occasions apart; None where everybody was fitted as one.

    Examples
    --------
    >>> _occasions({"occasion": {"participant": "subject", "columns": ["drug"]}}).to_dict("list")
    {'role': ['participant', 'occasion'], 'column': ['subject', 'drug']}
    """
    found = info.get("occasion")
    if not found:
        return None
    rows = [("participant", found["participant"]), *(("occasion", name) for name in found["columns"])]
    return pd.DataFrame(rows, columns=["role", "column"])


def _settled(missing: Any) -> pd.DataFrame | None:
    """Return the columns of whose missing values something was said; one row without a name for all columns.

    Examples
    --------
    >>> _settled({"age": [-99]}).to_dict("list"), _settled([-99]).to_dict("list"), _settled(None)
    ({'column': ['age']}, {'column': [None]}, None)
    """
    if not missing:
        return None
    return pd.DataFrame({"column": list(missing) if isinstance(missing, Mapping) else [None]}, dtype=object)


def received_tables(given: Any) -> Any:
    """Return one table of covariates that R sent, or several, or the paths of their files."""
    return [received_table(one) for one in given] if isinstance(given, list | tuple) else received_table(given)


def received_table(source: Table | str | Sequence[str]) -> pd.DataFrame | str | Sequence[str]:
    """Return a table that R sent, or the paths of its files."""
    return decode_table(source) if isinstance(source, Mapping) else source
