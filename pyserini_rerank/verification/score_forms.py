"""The forms in which an engine may give its scores: logits, probabilities, and what goes wrong between the two."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..scales import probabilities
from .agreement import Values


@dataclass(frozen=True)
class Form:
    """A form in which an engine may give its scores.

    Attributes
    ----------
    name : str
    says : str
        What it means where another form was expected, and the remedy.
    of : callable
        Make the scores of the model's own, each float64 (n,).
    """

    name: str
    says: str
    of: Callable[[Values], Values]


def _sigmoid(scores: Values) -> Values:
    return probabilities(scores.astype(np.float32), "logit", "the reference")


LOGITS = Form(
    "no sigmoid",
    "It gave logits where scores from 0 to 1 were expected, so that they are no probabilities. Turn its sigmoid on, or "
    "read it with an API that has raw scores (api=tei, infinity or vllm).",
    lambda scores: scores,
)
SIGMOID = Form(
    "sigmoid",
    "It applied a sigmoid where logits were expected. The order stays, but good passages may tie, and ensembles and "
    "interpolations weigh the scores wrongly. Have it give raw scores, or read it with an API whose scores are from 0 "
    "to 1 (api=jina or cohere).",
    _sigmoid,
)
FORMS = (
    LOGITS,
    SIGMOID,
    Form(
        "two sigmoids",
        "It applied a sigmoid twice, so that all scores are between 0.5 and 0.73, and many may tie. Turn one of them "
        "off: that of the model, or that of the server.",
        lambda scores: _sigmoid(_sigmoid(scores)),
    ),
    *(
        Form(
            f"negated{name}",
            "The worst passages have the highest scores: it scores the label that means 'not relevant', or gives "
            "distances. Take the other label, or change the sign.",
            of,
        )
        for name, of in (("", np.negative), (", sigmoid", lambda scores: _sigmoid(-scores)))
    ),
)
