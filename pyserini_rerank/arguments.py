"""Conversions of callers' arguments: any sequence becomes a list, any mapping a dict, and any whole number an int."""

import operator
from collections import Counter
from collections.abc import Mapping
from numbers import Integral
from typing import Any


def listed(values: Any, name: str) -> list[Any]:
    """Copy a caller's sequence into a list.

    The list can be indexed by position, where a pandas Series would take a label, and read twice, where a generator
    would be empty.

    Parameters
    ----------
    values : iterable
        A list, tuple, generator, array, pandas Series, dict view or the like. Each row of a two-dimensional array
        becomes an item.
    name : str
        The argument's name, for the error.

    Raises
    ------
    TypeError
        `values` is one string, a mapping, a set (which has no order), a table, or no iterable at all.
    """
    kind = type(values).__name__
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} is one string: give a list of them.")
    if isinstance(values, Mapping) or hasattr(values, "columns"):
        raise TypeError(f"{name} is a {kind}: give one of its columns or views, such as .values(), as a list.")
    if isinstance(values, set | frozenset):
        raise TypeError(f"{name} is a {kind}, which has no order: give a list.")
    # The scalars of Arrow and numpy are converted to Python's strings and numbers.
    convert = getattr(values, "to_pylist", None) or getattr(values, "tolist", None)
    try:
        items = iter(convert() if convert and getattr(values, "ndim", 1) else values)
    except TypeError:
        raise TypeError(f"{name} is a {kind}: give a list.") from None
    return list(items)  # outside of the `try`: an error that a generator raises is passed on


def mapped(values: Any, name: str) -> dict[Any, Any]:
    """Copy a caller's mapping, such as a dict or a pandas Series with labels, into a dict.

    Raises
    ------
    TypeError
        `values` is a table, or no mapping.
    ValueError
        A label comes twice, as it may in a Series.
    """
    if not (hasattr(values, "keys") and hasattr(values, "items")) or hasattr(values, "columns"):
        raise TypeError(f"{name} is a {type(values).__name__}: give a mapping, such as a dict.")
    made = dict(values.items())
    if hasattr(values, "__len__") and len(made) != len(values):
        twice = next(label for label, count in Counter(label for label, _ in values.items()).items() if count > 1)
        raise ValueError(f"{name} has {twice!r:.60} twice: keep one of the two.")
    return made


def whole(value: Any, name: str, *, least: int | None = None) -> int:
    """Convert a caller's whole number, such as one of numpy's, to an int.

    Raises
    ------
    TypeError
        `value` is no whole number. 10.0 is not one either.
    ValueError
        `value` is below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}: give a whole number.") from None
    if least is not None and number < least:
        raise ValueError(f"{name} is {number}: give {least} or more.")
    return number


def count_option(value: Any, name: str, remedy: str, *, least: int = 1) -> int:
    """Convert an option that is a count, such as ``threads=4``, to an int. True and False are no counts.

    Parameters
    ----------
    value
    name : str
        The option's name, for the error.
    remedy : str
        The values that the option takes, for the error: "give {remedy}".
    least : int

    Raises
    ------
    ValueError
        `value` is no whole number, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r}: give {remedy}.")
    return int(value)


def one_of(what: str, options: Mapping[str, Any]) -> Any:
    """Give the value of the one option that is set (not None).

    Parameters
    ----------
    what : str
        The thing that the options name, for the error.
    options : mapping
        From the options' names to their values.

    Raises
    ------
    ValueError
        No option is set, or more than one.
    """
    names = [name for name, value in options.items() if value is not None]
    if len(names) != 1:
        conflict = f"{' and '.join(names)} were given together: " if names else ""
        *others, last = options
        raise ValueError(f"{conflict}name {what}, by one of {', '.join(others)} and {last}.")
    return options[names[0]]
