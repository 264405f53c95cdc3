"""The command line, one file a command."""

from collections.abc import Mapping

#: Errors that have a message for the user; another one is a fault of ours, and is shown whole.
FAILURES = (ImportError, OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError)


def one_of(what: str, options: Mapping[str, object]) -> None:
    """Check that one of several options is given; raises ValueError, which says which ones are."""
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        both = f"{' and '.join(given)} were given together: " if given else ""
        *others, last = options
        raise ValueError(f"{both}name {what}, by one of {', '.join(others)} and {last}.")
