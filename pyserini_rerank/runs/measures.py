"""The measures of an evaluation, by their names in ir-measures: https://ir-measur.es."""

import contextlib
import io
from collections.abc import Iterable
from typing import Any

import ir_measures
from ir_measures import AP, RR, Judged, Measure, R, nDCG

from ..arguments import listed

#: A run and judgements, on which each measure is tried before an experiment begins.
EXAMPLE_RUN, EXAMPLE_QRELS = {"1": {"a": -1.0, "b": -2.0}}, {"1": {"a": 1, "c": 0}}


def default_measures(level: int = 1) -> list[Measure]:
    """Give the measures that are reported if none are named.

    Parameters
    ----------
    level : int
        The lowest grade of a relevant document, for measures that distinguish only relevant and not relevant (2 for
        TREC DL).
    """
    return [nDCG @ 10, RR(rel=level) @ 10, AP(rel=level), R(rel=level) @ 100, R(rel=level) @ 1000, Judged @ 10]


def parse_measures(given: Iterable[Any] | None, level: int = 1) -> list[Measure]:
    """Parse measures, and check that each can be computed here.

    Parameters
    ----------
    given : iterable of str or ir_measures.Measure, optional
        Names of ir-measures, such as ``"nDCG@10"`` or ``"RR(rel=2)@10"``, or of trec_eval, such as ``"ndcg_cut_10"`` or
        ``"P.5,10"``.
        By default `default_measures`.
    level : int
        As in `default_measures`. A measure that names a ``rel`` keeps it.

    Returns
    -------
    list of ir_measures.Measure
        Each measure once.

    Raises
    ------
    ValueError
        The list is empty, a name is unknown, or the package that computes a measure is not installed.
    """
    if given is None:
        return default_measures(level)
    named = [(_with_level(measure, level), name) for name in listed(given, "measures") for measure in _parse(name)]
    if not named:
        raise ValueError("measures is empty: name one, such as nDCG@10.")
    for measure, name in named:
        _try(measure, name)
    return list(dict.fromkeys(measure for measure, _ in named))


def _parse(name: Any) -> list[Measure]:
    """Read a measure; trec_eval has names for several, such as P.5,10."""
    if isinstance(name, Measure):
        return [name]
    if isinstance(name, str):
        for parse in (lambda name: [ir_measures.parse_measure(name)], ir_measures.parse_trec_measure):
            with contextlib.suppress(NameError, ValueError, AssertionError, IndexError):
                measures: list[Measure] = parse(name)
                if measures:
                    return measures
    raise ValueError(f"{name!r:.60} is no measure of ir-measures: name one such as nDCG@10, RR(rel=2)@10 or AP.")


def _with_level(measure: Measure, level: int) -> Measure:
    takes_level = level != 1 and "rel" in measure.SUPPORTED_PARAMS and "rel" not in measure.params
    return measure(rel=level) if takes_level else measure


def _try(measure: Measure, name: Any) -> None:
    """Compute a measure once, which detects an unknown parameter and a missing package; raises ValueError."""
    for parameter, facts in measure.SUPPORTED_PARAMS.items():
        if facts.required and parameter not in measure.params:
            raise ValueError(f"the measure {name} needs its {parameter}: name it as in P@10 or IPrec@0.1.")
    try:
        measure.validate_params()  # type: ignore[no-untyped-call]
        for parameter in ("cutoff", "rel"):  # a cutoff of 0 makes trec_eval's code end the process
            if measure.params.get(parameter, 1) < 1:
                raise ValueError(f"{parameter} is {measure.params[parameter]}, and has to be 1 or more")
        with contextlib.redirect_stderr(io.StringIO()):
            list(ir_measures.iter_calc([measure], EXAMPLE_QRELS, EXAMPLE_RUN))
    except Exception as error:  # of any type: it comes from another library, or from a program that it runs
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the measure {name} cannot be computed: {reason:.200}") from None
