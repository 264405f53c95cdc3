"""The door for what callers pass: any sequence becomes a list, any mapping a dict, and any whole number an int."""

import operator
from collections.abc import Mapping
from numbers import Integral
from typing import Any


def listed(values: Any, name: str) -> list[Any]:
    """Copy a caller's sequence into a list, so that nothing behind this door indexes it by a label or reads it twice.

    Parameters
    ----------
    values : iterable
        A list, tuple, generator, array, pandas Series, dict view or the like. A row of a two-dimensional array is
        an item.
    name : str
        The argument's name, for the error.

    Raises
    ------
    TypeError
        It is one string, a mapping, a set (which has no order), a table, or no iterable at all.
    """
    kind = type(values).__name__
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} is one string: give a list of them.")
    if isinstance(values, Mapping) or hasattr(values, "columns"):
        raise TypeError(f"{name} is a {kind}: give one of its columns or views, such as .values(), as a list.")
    if isinstance(values, set | frozenset):
        raise TypeError(f"{name} is a {kind}, which has no order: give a list.")
    # Arrow's and numpy's own scalars are no strings of Python's.
    convert = getattr(values, "to_pylist", None) or getattr(values, "tolist", None)
    try:
        items = iter(convert() if convert and getattr(values, "ndim", 1) else values)
    except TypeError:
        raise TypeError(f"{name} is a {kind}: give a list.") from None
    return list(items)  # what a generator raises is its own


def mapped(values: Any, name: str) -> dict[Any, Any]:
    """Copy a caller's mapping, such as a dict or a pandas Series with labels, into a dict.

    Raises
    ------
    TypeError
        It is a table, or no mapping.
    """
    if not (hasattr(values, "keys") and hasattr(values, "items")) or hasattr(values, "columns"):
        raise TypeError(f"{name} is a {type(values).__name__}: give a mapping, such as a dict.")
    return dict(values.items())


def whole(value: Any, name: str, *, least: int | None = None) -> int:
    """Read a caller's whole number, numpy's included.

    Raises
    ------
    TypeError
        It is no whole number: 10.0 is none either.
    ValueError
        It is below `least`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}: give a whole number.") from None
    if least is not None and number < least:
        raise ValueError(f"{name} is {number}: give {least} or more.")
    return number


def count_option(value: Any, name: str, remedy: str, *, least: int = 1) -> int:
    """Read an option that is a count, such as ``threads=4``; True and False are none.

    Parameters
    ----------
    value
    name : str
        The option's, for the error.
    remedy : str
        What to give instead, for the error.
    least : int

    Raises
    ------
    ValueError
        It is no whole number, or below `least`.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r}: give {remedy}.")
    return int(value)


def one_of(what: str, options: Mapping[str, Any]) -> Any:
    """Give the one of several options that is given; raises ValueError, which says which ones are."""
    given = [name for name, value in options.items() if value is not None]
    if len(given) != 1:
        both = f"{' and '.join(given)} were given together: " if given else ""
        *others, last = options
        raise ValueError(f"{both}name {what}, by one of {', '.join(others)} and {last}.")
    return options[given[0]]
