"""The command line: one verb per command, `spicestat --help` lists them."""

from __future__ import annotations

import os
import sys

from spicestat.cli import fit_commands, group_commands, page_commands, study_commands
from spicestat.cli.console import FAILED, INTERRUPTED
from spicestat.cli.program import app

__all__ = ["app", "fit_commands", "group_commands", "main", "page_commands", "study_commands"]


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except MemoryError:
        # not even enough to format the message
        os.write(2, b"error: there is not enough memory. Try: fit fewer participants at once\n")
        sys.exit(FAILED)
