"""Write docs/parity.md: what Python calls what R calls something else, with the arguments of both, from their sources.

python scripts/parity.py          writes the page
python scripts/parity.py --check  fails if the page is not what would be written
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path

import spicestat
from spicestat.fit.history import HistoryFit
from spicestat.group.result import GroupResult

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "parity.md"

# Python's name and R's; a text in brackets where R's own generics or packages do it
FUNCTIONS = {
    "spice_fit": "spice_fit",
    "spice_fit_split": "spice_fit_split",
    "spice_group": "spice_group",
    "spice_update": "spice_update",
    "spice_card": "spice_card",
    "spice_compare": "spice_compare",
    "spice_ladder": "spice_ladder",
    "spice_power": "spice_power",
    "spice_reliability": "spice_reliability",
    "spice_report": "spice_report",
    "simulate_cohort": "spice_simulate",
    "spice_task": "spice_task",
    "simulate_fit": "simulate.spice_fit",
    "predict_choices": "predict.spice_fit",
    "load_fit": "spice_load",
    "HistoryFit.kernels": "spice_kernels.spice_fit",
    "HistoryFit.discover": "spice_discover",
    "HistoryFit.save": "spice_save",
    "ModelDeclaration": "spice_model",
    "ModuleDeclaration": "spice_module",
    "GroupResult.tidy": "tidy.spice_group",
    "GroupResult.glance": "glance.spice_group",
    "GroupResult.augment": "augment.spice_group",
    "GroupResult.coef": "coef.spice_group",
    "GroupResult.vcov": "vcov.spice_group",
    "GroupResult.confint": "confint.spice_group",
    "GroupResult.nobs": "nobs.spice_group",
    "GroupResult.log_lik": "logLik.spice_group",
    "GroupResult.summary": "summary.spice_group",
    "GroupResult.to_frame": "as.data.frame.spice_group",
    "GroupResult.plot": "autoplot.spice_group",
    "GroupResult.kernels": "spice_kernels.spice_group",
    "GroupResult.term_tests": "anova.spice_group",
    "GroupResult.linear_hypotheses": "linearHypothesis.spice_group",
    "GroupResult.standardised": "spice_standardised",
    "GroupResult.derived_means": "spice_derived_means",
}

# where no function of one side stands for one of the other
ELSEWHERE = {
    "GroupResult.marginal_means": "emmeans::emmeans(group, ~ covariate | coefficient)",
    "GroupResult.contrasts": "emmeans::emmeans(group, pairwise ~ covariate | coefficient)",
    "GroupResult.average_effects": 'marginaleffects::avg_comparisons(group, by = "group"), emmeans::emtrends()',
    "GroupResult.diagnostics": "glance(group), posterior::summarise_draws(group)",
    "GroupResult.save": "saveRDS(group)",
    "load_group": "readRDS()",
    "GroupResult.plot_forest": 'autoplot(group, type = "forest")',
    "GroupResult.plot_caterpillar": 'autoplot(group, type = "caterpillar")',
    "GroupResult.plot_covariate": 'autoplot(group, type = "covariate")',
    "read_coefficients": "a data frame as `fit` of spice_group()",
    "read_trials": "a data frame or the path of one as `trials`",
    "progress_bars": "progress = TRUE, of each verb that takes long",
    "register_model": "spice_python_model()",
    "SpiceEstimator": "no counterpart: a class of scikit-learn",
}


def main() -> int:
    """Write or check the page."""
    text = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            print("docs/parity.md is out of date: run scripts/parity.py", file=sys.stderr)
            return 1
        return 0
    PAGE.write_text(text, encoding="utf-8")
    return 0


def page() -> str:
    """Return the page."""
    r = r_functions()
    lines = [
        "# Python and R",
        "",
        "What is called what in the two languages, with the arguments of both, without `...`.",
        "`scripts/parity.py` writes this page from the sources, and a test compares.",
        "",
        "| Python | R | arguments of Python | arguments of R |",
        "|---|---|---|---|",
    ]
    for python, name in FUNCTIONS.items():
        shown = re.sub(r"\.spice_(fit|group)$", "()", name)
        shown = shown if shown.endswith("()") else f"{name}()"
        lines.append(f"| `{python}` | `{shown}` | {_listed(arguments(python))} | {_listed(r[name])} |")
    lines += ["", "| Python alone | in R |", "|---|---|"]
    lines += [
        f"| `{python}` | {text} |".replace("~ covariate |", "~ covariate \\|") for python, text in ELSEWHERE.items()
    ]
    alone = sorted(name for name in r_exports() if name not in FUNCTIONS.values())
    lines += ["", "R alone: " + ", ".join(f"`{name}()`" for name in alone) + ".", ""]
    return "\n".join(lines)


def arguments(name: str) -> list[str]:
    """Return the arguments of a public function or method.

    Examples
    --------
    >>> arguments("GroupResult.confint")
    ['level']
    """
    owners = {"GroupResult": GroupResult, "HistoryFit": HistoryFit}
    owner, _, method = name.partition(".")
    function: Callable[..., object] = getattr(owners[owner], method) if method else getattr(spicestat, name)
    parameters = inspect.signature(function).parameters.values()
    return [one.name for one in parameters if one.kind != one.VAR_KEYWORD and one.name != "self"]


def r_functions() -> dict[str, list[str]]:
    """Return the arguments of each function in the R package's sources."""
    found = {}
    for path in sorted((ROOT / "r-package" / "R").glob("*.R")):
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        for match in re.finditer(r"^([\w.]+) <- function\(", text, re.MULTILINE):
            inside = _until_closed(text[match.end() :])
            found[match[1]] = [part.split("=")[0].strip() for part in _split(inside) if part.strip() != "..."]
    return found


def r_exports() -> list[str]:
    """Return what the R package exports of its own."""
    namespace = (ROOT / "r-package" / "NAMESPACE").read_text(encoding="utf-8")
    return re.findall(r"^export\((spice\w*|install_spicestat)\)$", namespace, re.MULTILINE)


def _until_closed(text: str) -> str:
    depth = 1
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[:place]
    raise ValueError("a parenthesis is not closed")


def _split(inside: str) -> list[str]:
    parts, depth = [""], 0
    for character in inside:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]


def _listed(names: list[str]) -> str:
    return ", ".join(names)


if __name__ == "__main__":
    sys.exit(main())
