"""Language models that answer a prompt with one of two words: monoT5, Qwen3-Reranker, mxbai-rerank-v2."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ..checkpoints import models
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.heads import HEADS
from ..checkpoints.settings import Settings
from ..device import to_device
from ..encoding.prompt_encoder import EncodedPrompt, PromptEncoder
from .architecture import Architecture, ids_of


class Prompted(Architecture):
    """The score is the logit of the relevant answer minus that of the irrelevant one.

    It orders as the authors' softmax over the two does without saturating, and its sigmoid is that softmax.
    """

    model: Any
    encoder: PromptEncoder
    #: Which of transformers' classes loads it.
    auto: Any

    def _load(self, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
        self.model = models.load_model(self.auto, checkpoint, dtype)
        self.facts = f"{checkpoint.row.template} {checkpoint.row.answers}"
        return self.model

    def _encoder(self, checkpoint: Checkpoint, settings: Settings, max_length: int) -> PromptEncoder:
        answers = ids_of(settings.tokenizer, checkpoint.row.answers, checkpoint.name)
        # Of the vocabulary's 30,000 to 150,000 logits two are needed.
        self.model.lm_head = models.linear_of(self.model.lm_head.weight[answers].detach())
        template = checkpoint.row.template
        return PromptEncoder(settings.tokenizer, max_length, template, cuts_left=settings.cuts_left)

    def scores(self, pairs: Sequence[EncodedPrompt], device: torch.device) -> torch.Tensor:
        ids, mask = (to_device(part, device) for part in self.encoder.pad(pairs))
        scores: torch.Tensor = HEADS["margin"](self._logits(ids, mask))
        return scores

    @abstractmethod
    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Give the logits of the irrelevant and the relevant answer: float32 (n, 2)."""


class Seq2Seq(Prompted):
    """An encoder reads the prompt, and the first token that the decoder would write is the answer."""

    auto = AutoModelForSeq2SeqLM

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        start = torch.full_like(ids[:, :1], self.model.config.decoder_start_token_id)
        # The model's own forward, which knows whether T5 scales what goes into its head.
        answer = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=start, use_cache=False)
        logits: torch.Tensor = answer.logits[:, 0]
        return logits


class Decoder(Prompted):
    """The token that would follow the prompt is the answer."""

    auto = AutoModelForCausalLM

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # No token sees those after it, so padding on the right needs no mask, and attention is faster without.
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1]
        logits: torch.Tensor = self.model.lm_head(last)
        return logits
