"""Finds the faults that explain an engine's scores: the reference is made to read as the engine may do."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .agreement import Rows, Values
from .corpus import Case
from .hypotheses import HYPOTHESES, Hypothesis
from .reading import UNCUT, Reading
from .score_forms import FORMS, Form

#: Every hypothesis but those on cuts is tried on so many of the shortest pairs.
SHORTEST = 60
#: Of these every so many is tried first.
SAMPLED = 4
#: Scores are explained to the last digit if none differs by more than this share of their spread, and explained if half
#: of them differ by no more than the next share.
EXACT, EXPLAINED = 1e-3, 0.1
#: A pair's score is called wrong from this share of the spread on, if its difference is so many times the median one.
OFF, OUTLYING = 0.1, 10
#: A fault is believed if it brings the scores that it changes so near to the engine's, as a share of the distance
#: without it, and if it changes them by so many times the distance of the other scores.
NEARER, CLEARER = 0.7, 4
#: The pairs that a fault has to change, at least, and the faults of an engine that are looked for, at most.
FEWEST, MOST = 2, 4
#: The decimals to which scores are called rounded, at most.
DECIMALS = 3
#: The share of the long pairs that a cut has to change.
MOSTLY = 0.7


@dataclass(frozen=True)
class Finding:
    """Something that an engine does otherwise than the reference.

    Attributes
    ----------
    name : str
    aspect : str
        What it is about: ``"cuts"``, ``"case"``, ``"scale"`` ...
    says : str
        What it means, and the remedy.
    """

    name: str
    aspect: str
    says: str


class _Better(NamedTuple):
    """A reading that is nearer to an engine's scores: `ratio` is what is left of the distance."""

    ratio: float
    hypothesis: Hypothesis
    reading: Reading


def diagnose(reference: Reading, scores: Values, expected: Form, cases: Sequence[Case]) -> list[Finding]:
    """Explain the scores of an engine.

    Parameters
    ----------
    reference : Reading
    scores : float64 (n,)
        The engine's scores of the reference's pairs.
    expected : Form
        The form that the scores should have.
    cases : sequence of Case
        The same pairs.
    """
    if np.ptp(scores) <= 1e-6 * max(1.0, np.abs(scores).max()):
        says = (
            f"All scores are {scores[0]:.6g}. The model did not run, its head has no weights, or the scores of the "
            "answers stand under another name."
        )
        return [Finding("constant", "scale", says)]
    reading, faults = _explained(reference, scores)
    form = min([expected, *FORMS], key=lambda form: _misfits(reading, form, scores).mean())
    misfits = _misfits(reading, form, scores)
    findings = list(_rounding(scores))
    if np.median(misfits) > EXPLAINED * _spread(scores):
        return [*findings, _unexplained(np.ones(len(scores), dtype=bool), reference, scores, expected, cases)]
    facts = {"max_length": reference.encoder.max_length, "head": reference.backend.family.facts}
    usual, spread = float(np.median(misfits)), _spread(scores)
    off = misfits > max(OFF * spread, OUTLYING * usual)
    cut = None
    # One score alone may be the rounding of a small dtype.
    if off.sum() >= FEWEST or (off.any() and usual <= EXACT * spread):
        length = reference.encoder.max_length
        as_reference = reading.with_encoder(max_length=length)
        differ = _misfits(as_reference, form, scores) > max(EXACT * spread, CLEARER * usual)
        cut = _cut_somewhere(differ, reading, length)
        findings.append(cut or _unexplained(off, reading, scores, form, cases))
    # A cut elsewhere may be near to one of the hypotheses.
    right = [fault for fault in faults if not (cut and fault.aspect == cut.aspect)]
    findings += [Finding(fault.name, fault.aspect, fault.says.format(**facts)) for fault in right]
    if form is not expected:
        findings.append(Finding(form.name, "scale", form.says))
    return findings


def aspects() -> list[str]:
    """List what is looked at, in the order of the hypotheses."""
    return list(dict.fromkeys([*(hypothesis.aspect for hypothesis in HYPOTHESES), "scale"]))


def _explained(reference: Reading, scores: Values) -> tuple[Reading, list[Hypothesis]]:
    """Find the faults whose reading gives the scores; they are found one by one, the clearest first."""
    reading: Reading = reference
    faults: list[Hypothesis] = []
    while len(faults) < MOST and not _is_exact(reading, scores):
        tried = [better for hypothesis in HYPOTHESES if (better := _tried(hypothesis, reading, scores))]
        best = min(tried, key=lambda better: better.ratio, default=None)
        if best is None:
            break
        reading = best.reading
        faults.append(best.hypothesis)
    return reading, faults


def _tried(hypothesis: Hypothesis, reading: Reading, scores: Values) -> _Better | None:
    """Try a hypothesis; None if it does not bring the scores nearer to the engine's."""
    changed = hypothesis.change(reading)
    if changed is None:
        return None
    rows = np.argsort(reading.lengths, kind="stable")
    if changed.by_rank:  # a pair's score is that of another pair, which has to be known
        samples = [np.arange(len(rows))]
    else:
        rows = rows if hypothesis.aspect == "cuts" else rows[:SHORTEST]
        samples = [rows[::SAMPLED], rows]  # a few pairs rule most hypotheses out
    ratio: float | None = None
    for sample in samples:
        ratio = _ratio(reading, changed, sample, scores)
        if ratio is not None and ratio >= NEARER:
            return None
    return None if ratio is None else _Better(ratio, hypothesis, changed)


def _ratio(reading: Reading, changed: Reading, rows: Rows, scores: Values) -> float | None:
    """Tell what a fault leaves of the distance between scores of some rows, in the form that fits best, as a share.

    It is None if the fault changes too few scores to tell.
    """
    after = changed.scores_of(rows.tolist())
    before = [reading.assigned(form.of(reading.scores), scores)[rows] for form in FORMS]
    ratios = []
    for form, without in zip(FORMS, before, strict=True):
        predicted = changed.assigned(form.of(after), scores) if changed.by_rank else form.of(after)
        change = np.abs(predicted - without)
        is_changed = change > EXACT * _spread(without)
        if is_changed.sum() < FEWEST:
            continue
        elsewhere = np.abs(without - scores[rows])[~is_changed]
        noise = float(np.median(elsewhere)) if len(elsewhere) else 0.0
        # The distance without the fault is that of the nearest form.
        distance = min(float(np.abs(values - scores[rows])[is_changed].mean()) for values in before)
        is_clear = distance and change[is_changed].mean() >= CLEARER * noise
        ratios.append(float(np.abs(predicted - scores[rows])[is_changed].mean()) / distance if is_clear else np.inf)
    return min(ratios, default=None)


def _misfits(reading: Reading, form: Form, scores: Values) -> Values:
    """Give the distance of each score from what a reading predicts."""
    return np.abs(reading.assigned(form.of(reading.scores), scores) - scores)


def _is_exact(reading: Reading, scores: Values) -> bool:
    return any(_misfits(reading, form, scores).max() <= EXACT * _spread(scores) for form in FORMS)


def _spread(scores: Values) -> float:
    """Give the mean distance of scores from their median."""
    return float(np.abs(scores - np.median(scores)).mean())


def _rounding(scores: Values) -> Iterator[Finding]:
    """Tell whether all scores are rounded."""
    digits = next((n for n in range(DECIMALS + 1) if np.abs(scores - scores.round(n)).max() <= 1e-6), None)
    # The last 16 bits of a float32 are those that bfloat16 lacks.
    is_brief = not (scores.astype(np.float32).view(np.uint32) & 0xFFFF).any()
    if digits is not None or is_brief:
        to = f"{digits} decimals" if digits is not None else "the 8 binary digits of bfloat16"
        says = f"It rounds scores to {to}, so that near ones tie. Have it give all digits, or its head in float32."
        yield Finding("rounded", "rounding", says)


def _cut_somewhere(off: NDArray[np.bool_], reading: Reading, length: int) -> Finding | None:
    """Tell whether the pairs that differ are the long ones, so that they are cut where no hypothesis has it."""
    lengths = reading.uncut
    shortest = int(lengths[off].min(initial=UNCUT))
    is_long = lengths >= shortest
    if is_long.sum() < FEWEST or is_long.mean() > 0.5 or off[is_long].mean() < MOSTLY:
        return None
    agrees = int(lengths[~is_long].max())
    says = (
        f"The scores of pairs of {shortest:,} tokens and more differ, and those of pairs of up to {agrees:,} tokens do "
        f"not: it cuts there, or in another way than the reference, which cuts at {length:,}. Set its longest input to "
        f"{length:,}."
    )
    return Finding("cut elsewhere", "cuts", says)


def _unexplained(
    off: NDArray[np.bool_], reading: Reading, scores: Values, form: Form, cases: Sequence[Case]
) -> Finding:
    """Tell which scores no known fault explains."""
    kinds = Counter(case.kind for case, is_off in zip(cases, off, strict=True) if is_off)
    worst = int(np.argmax(_misfits(reading, form, scores)))
    right = reading.assigned(form.of(reading.scores), scores)[worst]
    of_kinds = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    says = (
        f"The scores of {off.sum()} of {len(off)} pairs differ in a way that no known fault explains ({of_kinds}). The "
        f"worst is {scores[worst]:.4g} and not {right:.4g}, for {cases[worst].query[:40]!r} and "
        f"{cases[worst].passage[:40]!r}. See whether it has the same weights, head and template."
    )
    return Finding("unexplained", "unexplained", says)
