"""The command line, one file a command."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Errors with a message for the user. Any other error is a bug of this package, and is shown with its traceback.
FAILURES = (ImportError, OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError)


def console() -> "Console":
    """Make the console for tables, which does not cut lines and does not colour numbers."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)
