"""Write the lists of models and group methods in texts, from what their files say: python scripts/lists.py [--check].

With --check nothing is written, and the exit code is 1 where a list is out of date.
"""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import MISSING
from pathlib import Path

from spicestat.group.methods.registry import METHODS, Method, find_method
from spicestat.models.precoded import DESCRIBED
from spicestat.tasks import TASKS, Task

ROOT = Path(__file__).parents[1]


def wrapped(text: str, width: int, first: str, further: str) -> str:
    """Break a text into lines of at most ``width``."""
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=further, break_long_words=False, break_on_hyphens=False
    )


def methods_in_docstring() -> str:
    """Write the methods as in the docstring of `spice_group`."""
    lines = [f'"{name}": {find_method(name).summary}.'.replace("`", '"') for name in METHODS]
    return "\n".join(wrapped(line, 120, "        - ", "          ") for line in lines) + "\n"


def settings_of(method: Method) -> str:
    """Write a method's settings with their defaults."""
    texts = []
    for name, field in method.setting_fields.items():
        default = "" if field.default in (None, MISSING) else f" ({field.default!r})".replace("'", '"')
        texts.append(f"`{name}`{default}")
    return "; ".join(texts) or "none"


def methods_table() -> str:
    """Write the methods as a Markdown table."""
    rows = [f"| `{name}` | {find_method(name).summary} | {settings_of(find_method(name))} |" for name in METHODS]
    return "\n".join(["| method | what it does | settings (defaults) |", "|---|---|---|", *rows]) + "\n"


def methods_in_roxygen() -> str:
    """Write the methods as a list in a roxygen comment."""
    lines = [f'`"{name}"`: {find_method(name).summary}.' for name in METHODS]
    return "\n".join(wrapped(line, 80, "#' * ", "#'   ") for line in lines) + "\n"


def models_table() -> str:
    """Write the models as a Markdown table."""
    rows = [
        f"| [`{name}`]({name}.md) | `{model.rnn_class.__name__}` | {model.adds} | {model.coefficients} |"
        for name, model in DESCRIBED.items()
    ]
    return "\n".join(["| name | class | what it adds | coefficients to read |", "|---|---|---|---|", *rows]) + "\n"


def models_in_roxygen() -> str:
    """Write the models as a list in a roxygen comment."""
    lines = [f'`"{name}"`: {model.adds}.' for name, model in DESCRIBED.items()]
    return "\n".join(wrapped(line, 80, "#' * ", "#'   ") for line in lines) + "\n"


def tasks_in_roxygen() -> str:
    """Write the tasks as a list in a roxygen comment."""
    lines = [f'`"{task.name}"`: {task.title}.' for task in TASKS.values()]
    return "\n".join(wrapped(line, 80, "#' * ", "#'   ") for line in lines) + "\n"


def _read_by(task: Task) -> str:
    """Say which roles a task reads."""
    return f"Reads {', '.join(task.roles)}" + (f"; takes {', '.join(task.takes)}." if task.takes else ".")


def _call(task: Task) -> str:
    """Write the call that fits the columns that the task's simulator makes."""
    columns = ", ".join(f"{role}={value!r}" for role, value in task.columns.items()).replace("'", '"')
    return wrapped(f'`spice_fit(trials, model="{task.name}", {columns})`', 120, "", "")


def tasks_text() -> str:
    """Write the tasks with equations, sources, roles and parameters, a section each."""
    texts = []
    for task in TASKS.values():
        parameters = [f"- `{one.name}`: {one.meaning} ({one.link})" for one in task.parameters]
        lines = [f"### `{task.name}`", "", f"{task.title[:1].upper()}{task.title[1:]}. {task.source}.", ""]
        lines += [wrapped(task.equations, 120, "    ", "    "), "", _read_by(task), "", _call(task), "", *parameters]
        lines += ["", f"![Pooled against true parameters of 30 simulated people](images/tasks/{task.name}.png)"]
        texts.append("\n".join(lines))
    return "\n\n".join(texts) + "\n"


LISTS: dict[str, tuple[str, Callable[[], str]]] = {
    "spicestat/group/api.py": (
        r"(?<=\n\n)        - \".*?\n(?=    modules, terms :)",
        methods_in_docstring,
    ),
    "docs/group-models.md": (r"(?<=<!-- methods -->\n\n).*?(?=\n<!-- end of methods -->)", methods_table),
    "docs/models/README.md": (r"(?<=<!-- models -->\n\n).*?(?=\n<!-- end of models -->)", models_table),
    "docs/task-library.md": (r"(?<=<!-- tasks -->\n\n).*?(?=\n<!-- end of tasks -->)", tasks_text),
    "r-package/R/tasks.R": (r"(?<=#' @section Tasks:\n).*?(?=#'\n#' @)", tasks_in_roxygen),
    "r-package/R/group.R": (r"(?<=#' @section Methods of the engine:\n).*?(?=#'\n#' @section)", methods_in_roxygen),
    "r-package/R/fit.R": (r"(?<=#' @section Models:\n).*?(?=#'\n#' @)", models_in_roxygen),
}
"""Where lists are: the file, what stands there now, and what writes it."""


def up_to_date(file: str) -> str:
    """Return the text of a file with its list as it should be."""
    pattern, write = LISTS[file]
    text = (ROOT / file).read_text(encoding="utf-8")
    found = re.findall(pattern, text, flags=re.DOTALL)
    if len(found) != 1:
        raise SystemExit(f"{file}: the place of the list is not found (once); see LISTS in scripts/lists.py")
    return text.replace(found[0], write())


def main() -> int:
    """Write or check all lists."""
    old = [file for file in LISTS if (ROOT / file).read_text(encoding="utf-8") != up_to_date(file)]
    if "--check" in sys.argv[1:]:
        print("\n".join(f"{file}: a list is out of date; run make lists" for file in old))
        return int(bool(old))
    for file in old:
        (ROOT / file).write_text(up_to_date(file), encoding="utf-8")
        print(f"wrote {file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
