"""Sequence classifiers: BERT, ELECTRA, XLM-R, ModernBERT and the like, with one label or two."""

import inspect
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification
from transformers.modeling_layers import GenericForSequenceClassification

from ..checkpoints import heads, models
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.reading import reading
from ..checkpoints.settings import Settings
from ..device import nearly_equal, to_device
from ..encoding.encoded_pairs import EncodedPairs
from ..encoding.pair_encoder import EXAMPLE, INPUTS, MASK, TYPES, PairEncoder
from . import modular
from .architecture import Architecture, first_position
from .varlen import PackedSequences, own_pooling, prepare


def pair_encoder(_: Checkpoint, settings: Settings, max_length: int) -> PairEncoder:
    """Make the encoder that turns pairs into a classifier's tokens."""
    names = ("prompt", "cuts_left", "pads_left", "takes_types")
    return PairEncoder(settings.tokenizer, max_length, **{name: getattr(settings, name) for name in names})


def _with_own_head(checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """Load a model with the head that transformers has for it, which computes in float32."""
    model = models.load_model(AutoModelForSequenceClassification, checkpoint, dtype)
    if isinstance(model, GenericForSequenceClassification):
        raise ValueError(
            f"{checkpoint.name} is a language model with a classifier's head, and nothing says which prompt it "
            "was trained with: use backend='sentence-transformers', which reads prompts from the files."
        )
    for module in model.children():
        if module is not model.base_model:
            models.in_float32(module)
    return model


class Classifier(Architecture):
    """A model that reads query and passage as one sequence; the head makes the score from the logits of its labels.

    Parameters
    ----------
    head : str, optional
        See `pyserini_rerank.scoring.checkpoints.heads`.
    packs : bool
        Whether the model takes packed sequences if it can. If False, it stays as transformers loads it.
    """

    model: Any
    encoder: PairEncoder

    def __init__(
        self,
        checkpoint: Checkpoint,
        dtype: torch.dtype,
        max_length: int | None,
        head: str | None = None,
        *,
        packs: bool = True,
    ) -> None:
        self.facts = head or checkpoint.row.head or ""
        self.checkpoint = checkpoint
        super().__init__(checkpoint, dtype, max_length)
        self.packs = packs and prepare(self.body, self.pooling)

    def _load(self, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
        if checkpoint.is_modular:
            self.model = modular.load(checkpoint, dtype)
        elif checkpoint.row.body:
            body, linear = models.load_body(checkpoint, dtype)
            self.model = modular.Pooled(body, linear, linear.out_features)
        else:
            self.model = _with_own_head(checkpoint, dtype)
        if isinstance(self.model, modular.Pooled):
            body, labels, self.pooling = self.model.body, self.model.labels, self.model.pooling
        else:
            body, labels = self.model.base_model, self.model.config.num_labels
            self.pooling = own_pooling(body)
        self.facts = heads.choose(self.facts or None, labels, checkpoint.name)
        self.head, self.scale = heads.HEADS[self.facts], heads.SCALES[self.facts]
        self.takes_types, self.takes_mask = (
            name in inspect.signature(body.forward).parameters for name in (TYPES, MASK)
        )
        self.kinds = getattr(body.config, "type_vocab_size", 0)  # 0 for DeBERTa, which takes token types all the same
        self.pad_id = getattr(body.config, "pad_token_id", None) or 0
        self.first_position = first_position(body)
        self.body = body
        return body

    def _encoder(self, checkpoint: Checkpoint, settings: Settings, max_length: int) -> PairEncoder:
        self.takes_types = self.takes_types and settings.takes_types
        encoder = pair_encoder(checkpoint, settings, max_length)
        if self.takes_types and self.kinds and encoder.types.max() >= self.kinds:
            raise ValueError(
                f"the tokenizer of {checkpoint.name} tells more kinds of tokens apart ({TYPES}) than its model, which "
                f"knows {self.kinds}: leave {TYPES} out of model_input_names in its tokenizer_config.json."
            )
        return encoder

    def to(self, device: torch.device) -> None:
        super().to(device)
        if not self.packs:
            self._check_padding(device)

    @torch.inference_mode()
    def _check_padding(self, device: torch.device) -> None:
        """Find out whether padding changes scores although it is masked, as in MobileBERT and in FNet.

        Files that do not fit together fail here, and not in the first search.
        """
        pairs, folder = self.encoder.encode(EXAMPLE), self.checkpoint.folder
        with reading(f"the model in {folder}", folder):
            alone = torch.cat([self.scores(pairs[row : row + 1], device) for row in range(len(pairs))])
            together = self.scores(pairs, device)
        self.encoder.of_one_length |= not nearly_equal(alone.cpu().numpy(), together.cpu().numpy(), self.body.dtype)

    def scores(self, pairs: EncodedPairs, device: torch.device) -> torch.Tensor:
        lay_out = self._packed if self.packs else self._padded
        groups = [pairs] if self.packs else self.encoder.together(pairs)
        return torch.cat([self._scores(lay_out(group, device)) for group in groups])

    def _scores(self, inputs: dict[str, Any]) -> torch.Tensor:
        if not self.takes_types:
            del inputs[TYPES]
        if not self.takes_mask:
            inputs.pop(MASK, None)
        scores: torch.Tensor = self.head(self.model(**inputs).logits.float())
        return scores

    def _packed(self, pairs: EncodedPairs, device: torch.device) -> dict[str, Any]:
        lengths = pairs.lengths
        starts = np.cumsum(lengths) - lengths
        positions = np.arange(lengths.sum()) - np.repeat(starts, lengths)
        ids, types = self.encoder.join(pairs)
        if self.first_position:
            # RoBERTa and its kind count positions of tokens other than padding, and "<pad>" may be in a text.
            padding = ids == self.first_position - 1
            before = np.cumsum(padding) - padding
            positions += self.first_position - (before - np.repeat(before[starts], lengths))
            positions[padding] = self.first_position - 1
        arrays = {"input_ids": ids, "token_type_ids": types, "position_ids": positions}
        inputs = {name: to_device(array[None], device) for name, array in arrays.items()}
        return {**inputs, "packing": PackedSequences(lengths, device)}

    def _padded(self, pairs: EncodedPairs, device: torch.device) -> dict[str, Any]:
        padded = zip(INPUTS, self.encoder.pad(pairs, self.pad_id), strict=True)
        return {name: to_device(array, device) for name, array in padded}
