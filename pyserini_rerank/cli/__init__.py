"""The command line, one file a command."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

#: Errors with a message for the user. Any other error is a bug of this package, and is shown with its traceback.
FAILURES = (ImportError, OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError)


def console() -> "Console":
    """Make the console for tables: it does not cut lines or colour numbers, and brackets in names are no markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True)
