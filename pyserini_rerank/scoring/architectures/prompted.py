"""Language models that answer a prompt with one of two words: monoT5, Qwen3-Reranker, mxbai-rerank-v2; and RankT5."""

from abc import abstractmethod
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from ..checkpoints import models
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.heads import HEADS, SCALES
from ..checkpoints.settings import Settings
from ..device import to_device
from ..encoding.encoded_pairs import EncodedPairs
from ..encoding.prompt_encoder import PromptEncoder
from .architecture import Architecture, ids_of


class Prompted(Architecture):
    """A language model with a prompt. The score is the logit of the relevant answer minus that of the irrelevant one.

    It orders passages as the authors' softmax of the two logits does but does not saturate, and its sigmoid is that
    softmax. RankT5 has one answer, whose logit is the score; its sigmoid means nothing.

    Parameters
    ----------
    instruction : str, optional
        It takes the place of the authors' instruction, if their prompt has one.
    """

    model: Any
    encoder: PromptEncoder
    #: The class of transformers that loads the model.
    auto: Any

    def __init__(
        self, checkpoint: Checkpoint, dtype: torch.dtype, max_length: int | None, instruction: str | None = None
    ) -> None:
        told = checkpoint.row.instruction or {"default": "", "prompt": ""}
        self.instruction = told["default"] if instruction is None else instruction
        self.instructed = told["prompt"].replace("{instruction}", self.instruction) if self.instruction else ""
        super().__init__(checkpoint, dtype, max_length)

    def _load(self, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
        self.model = models.load_model(self.auto, checkpoint, dtype)
        self.facts = f"{checkpoint.row.template} {checkpoint.row.answers} {self.instructed}"
        return self.model

    def _encoder(self, checkpoint: Checkpoint, settings: Settings, max_length: int) -> PromptEncoder:
        answers = ids_of(settings.tokenizer, checkpoint.row.answers, checkpoint.name)
        self.head, self.scale = ("margin", SCALES["margin"]) if len(answers) == 2 else ("logit", "other")
        # Only these of the vocabulary's 30,000 to 150,000 logits are needed.
        self.model.lm_head = models.linear_of(self.model.lm_head.weight[answers].detach())
        template = checkpoint.row.template
        return PromptEncoder(settings.tokenizer, max_length, template, self.instructed, cuts_left=settings.cuts_left)

    def scores(self, pairs: EncodedPairs, device: torch.device) -> torch.Tensor:
        ids, mask = (to_device(part, device) for part in self.encoder.pad(pairs))
        scores: torch.Tensor = HEADS[self.head](self._logits(ids, mask))
        return scores

    @abstractmethod
    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Give the logits of the answers, the irrelevant one before the relevant one: float32 (n, answers)."""


class Seq2Seq(Prompted):
    """A model whose encoder reads the prompt; the answer is the first token that its decoder would write."""

    auto = AutoModelForSeq2SeqLM

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        start = torch.full_like(ids[:, :1], self.model.config.decoder_start_token_id)
        # The model's forward is called, since it knows whether T5 scales the vectors before the head.
        answer = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=start, use_cache=False)
        logits: torch.Tensor = answer.logits[:, 0]
        return logits


class Decoder(Prompted):
    """A model with a decoder alone; the answer is the token that would follow the prompt."""

    auto = AutoModelForCausalLM

    def _logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # No token sees the ones after it, so padding on the right needs no mask. Attention is faster without a mask.
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1]
        logits: torch.Tensor = self.model.lm_head(last)
        return logits
