"""What tests do that a package index did not give what they need."""

from subprocess import CompletedProcess
from typing import NoReturn

import pytest

#: What pip and pip-audit write where it could not be reached, or has no such package.
UNREACHABLE = ("Retrying (", "No matching distribution", "Connection", "ProxyError", "timed out", "No module named pip")


def skip_or_fail(what: str, done: CompletedProcess[str]) -> NoReturn:
    """Skip where the index was at fault, and fail where the command was."""
    if any(sign in done.stderr for sign in UNREACHABLE):
        pytest.skip(f"the package index does not give {what}: {done.stderr.strip().splitlines()[-1]:.200}")
    pytest.fail(done.stderr or f"{done.args} said nothing")
