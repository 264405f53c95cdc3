"""Late interaction: ColBERT's sum of each query token's best match.

Facts are those of the authors' package colbert-ai 0.2.22 and of what colbertv2.0 records: queries of 32 tokens
(`query_maxlen`), filled up with [MASK] that is not attended to (`attend_to_mask_tokens` is false), and no
punctuation among the passage's vectors (`mask_punctuation`).
"""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from ..backend import Pair
from ..checkpoints import models
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.settings import Settings
from ..device import to_device
from ..encoding.encoder import Encoder
from ..encoding.pair_encoder import EncodedPair
from ..encoding.text_tokenizer import Ids
from .architecture import Architecture, ids_of

#: Ids and attention mask, each (n, length).
Padded = tuple[NDArray[np.int64], NDArray[np.int64]]

QUERY_LENGTH = 32
QUERY_MARKER, PASSAGE_MARKER = "[unused0]", "[unused1]"


class LateInteractionEncoder(Encoder[EncodedPair]):
    """Tokenizes queries and passages, each to a sequence of its own: [CLS], a marker, the text, [SEP].

    Queries have 32 tokens, so `max_length` is the passage's.
    """

    least = 4

    def __init__(self, tokenizer: Tokenizer, max_length: int, name: str, *, cuts_left: bool = False) -> None:
        super().__init__(tokenizer, max_length, cuts_left=cuts_left)
        self.cls, self.sep, self.mask, self.query_marker, self.passage_marker = ids_of(
            tokenizer, ("[CLS]", "[SEP]", "[MASK]", QUERY_MARKER, PASSAGE_MARKER), name
        )
        self.punctuation = [tokenizer.encode(mark, add_special_tokens=False).ids[0] for mark in string.punctuation]

    def encode(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Tokenize and cut pairs; passages may be tokenized already."""
        queries = self.distinct([query for query, _ in pairs])
        passages = self.distinct([passage for _, passage in pairs])
        return [self._cut(queries[query], passages[passage]) for query, passage in pairs]

    def _cut(self, query: Ids, passage: Ids) -> EncodedPair:
        n, m = QUERY_LENGTH - 3, self.max_length - 3
        # As if each passage of a batch came with a query of its own, which bounds the memory in any case.
        length = min(len(passage), m) + 3 + QUERY_LENGTH
        cut = self.kept(query, n), self.kept(passage, m)
        return EncodedPair(*cut, length, len(query) > n, len(passage) > m)

    def pad_queries(self, queries: Sequence[bytes]) -> Padded:
        """Lay queries out, each given as its int32 ids' bytes: ids and attention mask, each (n, 32)."""
        ids = [np.frombuffer(query, dtype=np.int32) for query in queries]
        return self._pad(ids, self.query_marker, self.mask, QUERY_LENGTH)

    def pad_passages(self, pairs: Sequence[EncodedPair], pad_id: int) -> Padded:
        """Lay passages out: ids and attention mask, each (n, longest)."""
        passages = [pair.passage for pair in pairs]
        return self._pad(passages, self.passage_marker, pad_id, max(map(len, passages)) + 3)

    def _pad(self, texts: Sequence[Any], marker: int, pad_id: int, longest: int) -> Padded:
        ids = np.full((len(texts), longest), pad_id, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text) + 3] = [self.cls, marker, *text, self.sep]
            mask[row, : len(text) + 3] = 1
        return ids, mask


class LateInteraction(Architecture):
    """Query and passage go through the model apart; the score adds up the query tokens' best cosines.

    It lies between -32 and 32. Each distinct query of a batch goes through the model once.
    """

    model: Any
    encoder: LateInteractionEncoder
    scale = "other"
    facts = f"late {QUERY_LENGTH} {QUERY_MARKER} {PASSAGE_MARKER}"

    def _load(self, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
        body, linear = models.load_body(checkpoint, dtype)
        self.model = torch.nn.ModuleDict({"body": body, "linear": linear})
        return body

    def _encoder(self, checkpoint: Checkpoint, settings: Settings, max_length: int) -> LateInteractionEncoder:
        return LateInteractionEncoder(settings.tokenizer, max_length, checkpoint.name, cuts_left=settings.cuts_left)

    def scores(self, pairs: Sequence[EncodedPair], device: torch.device) -> torch.Tensor:
        keys = [pair.query.tobytes() for pair in pairs]
        rows = {key: row for row, key in enumerate(dict.fromkeys(keys))}
        queries = self._vectors(*self.encoder.pad_queries(list(rows)), device)
        ids, mask = self.encoder.pad_passages(pairs, pad_id=0)
        passages = self._vectors(ids, mask, device)
        compared = to_device((mask == 1) & ~np.isin(ids, self.encoder.punctuation), device)
        cosines = passages @ queries[[rows[key] for key in keys]].transpose(1, 2)
        # [CLS], the marker and [SEP] are always among those that are compared.
        return cosines.masked_fill(~compared[:, :, None], -torch.inf).amax(1).sum(1)

    def _vectors(self, ids: NDArray[np.int64], mask: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Give each token's vector of length 1: float32 (n, length, dimension)."""
        inputs = to_device(ids, device), to_device(mask, device)
        return normalize(self.model["linear"](self.model["body"](*inputs).last_hidden_state), dim=-1)
