"""The layers of a base that a student keeps: those that are named, or so many that score most like the whole."""

from collections.abc import Sequence
from copy import deepcopy
from operator import itemgetter
from random import Random
from typing import TYPE_CHECKING, Any

import torch

from ..arguments import count_option, listed, whole
from ..progress import bar
from .processes import say
from .training_data import TrainingData

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

#: The training pairs by which layers are chosen, and the tokens to which they are cut. Samples of 128 to 480 pairs, cut
#: to 64 or 192 tokens, chose six layers of MiniLM-L-12 with r of 0.90 to 0.92.
PAIRS, LENGTH = 128, 64
#: Fields of a configuration that have a value for each layer.
OF_LAYERS = ("layer_types", "attention_window")


def keep_layers(model: "CrossEncoder", layers: Sequence[int]) -> list[int]:
    """Leave out all layers of a model but those with these numbers, and give the numbers as a list.

    The transformer is made anew from its configuration, as it will be when its files are loaded.

    Parameters
    ----------
    model : CrossEncoder
    layers : sequence of int
        From 0, in rising order.

    Raises
    ------
    ValueError, TypeError
        The model has no such layers, shares one between all, or cannot do without the first.
    """
    from transformers import AutoModelForSequenceClassification

    transformer: Any = model[0].model
    path, stack = _stack(transformer)
    kept = [whole(layer, "layers") for layer in listed(layers, "layers")]
    if kept != sorted(set(kept)) or not kept or not 0 <= kept[0] <= kept[-1] < len(stack):
        raise ValueError(f"layers={kept}: give numbers from 0 to {len(stack) - 1} in rising order.")
    transformer.set_submodule(path, torch.nn.ModuleList([stack[layer] for layer in kept]))
    # A configuration checks that the two numbers agree, so both are set together.
    facts = transformer.config.to_dict()
    of_layers = {
        field: [facts[field][layer] for layer in kept] for field in OF_LAYERS if isinstance(facts.get(field), list)
    }
    config = deepcopy(transformer.config)
    config.__dict__.update(of_layers)
    config.num_hidden_layers = len(kept)
    new = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    try:
        new.load_state_dict(transformer.state_dict())
    except RuntimeError:
        raise ValueError(f"layers={kept}: the base has a first layer unlike the others: keep it.") from None
    model[0].model = new
    return kept


def choose_layers(model: "CrossEncoder", count: int, data: TrainingData, device: str = "cpu") -> list[int]:
    """Choose so many of a model's layers that its scores change little without the others.

    The layers are left out one after the other: each time the one without which the scores of some training pairs
    correlate best (Pearson's r) with those of the whole model. The first layer, which reads the embeddings, is kept. Of
    MiniLM-L-12, six layers that were so chosen have r = 0.92, and the first six -0.25 (docs/benchmarks.md#training). An
    encoder without a head is scored by its new head.

    Parameters
    ----------
    model : CrossEncoder
    count : int
    data : TrainingData
        128 pairs of its training queries are scored, cut to 64 tokens, in float32.
    device : str
        Where they are scored.

    Raises
    ------
    ValueError, TypeError
        The model has fewer layers, or shares one between all.
    """
    transformer: Any = model[0].model
    path, stack = _stack(transformer)
    count = count_option(count, "layers", "a number of layers, or a list of their numbers")
    if count > len(stack):
        raise ValueError(f"layers={count}: the base has {len(stack)} layers.")
    pairs, length = _pairs(data), model.tokenizer.model_max_length
    model.to(device)
    model.tokenizer.model_max_length = model[0].max_seq_length = min(LENGTH, length)
    right = model.predict(pairs, convert_to_tensor=True)
    kept, agreement = list(range(len(stack))), 1.0
    with bar(len(stack) - count, "choosing layers", "layer") as shown:
        while len(kept) > count:
            without = {}
            for layer in kept[:0:-1]:
                rest = [stack[other] for other in kept if other != layer]
                transformer.set_submodule(path, torch.nn.ModuleList(rest))
                both = torch.stack([right, model.predict(pairs, convert_to_tensor=True)])
                # Scores that are all the same, or no numbers, agree with nothing.
                without[layer] = float(torch.nan_to_num(torch.corrcoef(both)[0, 1], -1.0))
            layer, agreement = max(without.items(), key=itemgetter(1))
            kept.remove(layer)
            shown.update()
    transformer.set_submodule(path, stack)
    model.tokenizer.model_max_length = model[0].max_seq_length = length
    model.to("cpu")
    if len(kept) < len(stack):
        numbers = ", ".join(map(str, kept))
        say(f"layers {numbers} of {len(stack)} are kept; untrained, they score like all of them, r = {agreement:.2f}.")
    return kept


def _stack(transformer: Any) -> tuple[str, torch.nn.ModuleList]:
    """Give the path of a transformer's layers, and the layers."""
    count = transformer.config.num_hidden_layers
    stacks = [
        (path, module)
        for path, module in transformer.named_modules()
        if isinstance(module, torch.nn.ModuleList) and len(module) == count
    ]
    if len(stacks) != 1:
        raise ValueError(f"the base has no single stack of {count} layers: leave layers= out.")
    return stacks[0]


def _pairs(data: TrainingData) -> list[tuple[str, str]]:
    """Draw training pairs of many queries, the same ones at each call."""
    random = Random(0)
    topics = sorted(data.topics("train"))
    drawn = set(random.sample(topics, min(PAIRS, len(topics))))
    of_query = PAIRS // len(drawn)
    return [
        (query.query, document.text)
        for query in data.queries("train")
        if query.qid in drawn
        for document in random.sample(query.documents, min(of_query, len(query.documents)))
    ]
