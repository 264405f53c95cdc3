"""The command line, one file a command."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Errors that have a message for the user; another one is a fault of ours, and is shown whole.
FAILURES = (ImportError, OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError)


def console() -> "Console":
    """Give the console that tables are shown on: lines are not cut, numbers have no colours, and brackets in a user's
    names are no markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True)
