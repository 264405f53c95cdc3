"""The command line, one file a command."""

#: Errors that have a message for the user; another one is a fault of ours, and is shown whole.
FAILURES = (ImportError, OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError)
