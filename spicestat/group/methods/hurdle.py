"""Two parts for equations that differ in structure: who has a term, and how large it is for those who have it."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from scipy.stats import t as student

from spicestat.group.inference.rows import intervals
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs, Skipped
from spicestat.group.methods import meta, presence
from spicestat.group.methods.registry import Method

__all__ = ["PARTS", "estimate", "METHOD"]

PARTS = ("presence", "magnitude")
"""Values of the column ``group``: which part a row belongs to."""
_LIMITS = ("conf_low", "conf_high")

_SELECTED = (
    "the magnitude part runs on a selected group, the participants whose equation has the term ({counts}). The search "
    "drops small coefficients, so those that stay are too large and their relation to covariates is biased. For a "
    'test of magnitudes, estimate the terms for everybody (structure="population").'
)


def estimate(inputs: GroupInputs, settings: None = None) -> GroupEstimates:
    """Fit the presence and the magnitude of each term, one after the other.

    The two parts are two blocks of rows, told apart by the column ``group``: ``"presence"`` has the log odds
    ratios of `methods.presence`, over all participants; ``"magnitude"`` the meta-regression of
    `methods.meta`, over the participants who have the term. Given the covariates the likelihood of a hurdle
    model is the product of both, so they are fitted separately without loss. A term that everybody has is only
    in the magnitude part, one with too few usable estimates only in the presence part.

    ``covariance``, ``ran_pars`` and ``glance`` are the magnitude part's, and the presence part's where it is
    alone; ``converged`` is true when both parts converged. ``presence`` is that of `methods.presence`.

    References
    ----------
    Duan et al. (1983), https://doi.org/10.1080/07350015.1983.10509330;
    Heinze & Schemper (2002), https://doi.org/10.1002/sim.1047.
    """
    present, size = presence.estimate(inputs), meta.estimate(inputs)
    only_present = {key: value for key, value in present.covariance.items() if key not in size.covariance}
    counts = {} if present.presence is None else present.presence.n_present
    return GroupEstimates(
        fixed=_joined(present.fixed, size.fixed, inputs),
        ran_pars=size.ran_pars,
        glance=_glance(present.glance, size.glance, inputs),
        covariance={**size.covariance, **only_present},
        messages=(*present.messages, *_selected(counts, inputs, set(size.covariance))),
        skipped=_skipped(present, size),
        links=dict.fromkeys(only_present, "logit"),
        presence=present.presence,
    )


def _joined(present: pd.DataFrame, size: pd.DataFrame, inputs: GroupInputs) -> pd.DataFrame:
    """Put the rows in the table's order of terms, presence first, with the magnitude part's t tests."""
    columns = ["module", "sparse_term", "group", "term", "estimate", "std_error", "df", "p_value", *_LIMITS]
    parts = []
    for part, name in zip((present, size), PARTS, strict=True):
        if len(part):
            labelled = part.assign(group=name)
            if name == "magnitude":
                t = (labelled["estimate"] / labelled["std_error"]).abs().to_numpy()
                labelled["p_value"] = 2.0 * student.sf(t, labelled["df"].to_numpy())
                labelled["conf_low"], labelled["conf_high"] = intervals(labelled, inputs.conf_level)
            parts.append(labelled[columns])
    return _ordered(pd.concat(parts, ignore_index=True), inputs) if parts else pd.DataFrame(columns=columns)


def _glance(present: pd.DataFrame, size: pd.DataFrame, inputs: GroupInputs) -> pd.DataFrame:
    if present.empty or size.empty:
        return size if present.empty else present
    keys = ["module", "sparse_term"]
    also = present.set_index(keys)["converged"].reindex(pd.MultiIndex.from_frame(size[keys]), fill_value=True)
    both = size.assign(converged=size["converged"].to_numpy(dtype=bool) & also.to_numpy(dtype=bool))
    alone = present[~present[keys].apply(tuple, axis=1).isin(both[keys].apply(tuple, axis=1))]
    return _ordered(pd.concat([both, alone], ignore_index=True) if len(alone) else both, inputs)


def _ordered(frame: pd.DataFrame, inputs: GroupInputs) -> pd.DataFrame:
    position = {key: place for place, key in enumerate(inputs.table.terms)}
    places = [position[key] for key in zip(frame["module"], frame["sparse_term"], strict=True)]
    return frame.iloc[pd.Series(places).sort_values(kind="stable").index].reset_index(drop=True)


def _selected(
    n_present: Mapping[tuple[str, str], int], inputs: GroupInputs, fitted: set[tuple[str, str]]
) -> tuple[str, ...]:
    n = len(inputs.design.rows)
    chosen = {key: count for key, count in n_present.items() if key in fitted}
    if not chosen:
        return ()
    counts = ", ".join(f"{module} / {term}: {count} of {n}" for (module, term), count in chosen.items())
    return (_SELECTED.format(counts=counts),)


def _skipped(present: GroupEstimates, size: GroupEstimates) -> tuple[Skipped, ...]:
    """Return what neither part could fit."""
    fitted = {*present.covariance, *size.covariance}
    left_out = (*present.skipped, *size.skipped)
    return tuple(entry for entry in left_out if (entry.module, entry.sparse_term) not in fitted)


METHOD = Method(
    estimate,
    "hurdle",
    "`presence`, and `meta` among those who have the term",
)
