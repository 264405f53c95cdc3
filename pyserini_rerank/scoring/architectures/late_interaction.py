"""Late interaction: ColBERT's sum of each query token's best match.

The sources are the authors' package colbert-ai 0.2.22 and the settings stored with colbertv2.0. Queries have 32 tokens
(`query_maxlen`): they are filled up with [MASK], which is not attended to (`attend_to_mask_tokens` is false). The
vectors of a passage's punctuation are not compared (`mask_punctuation`).
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
    """Tokenizes queries and passages separately, each as [CLS], a marker, the text, [SEP].

    Queries always have 32 tokens, so `max_length` is the number of tokens to which a passage is cut.
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
        # The query is counted with every passage, though a batch has it once: its memory is limited in any case.
        length = min(len(passage), m) + 3 + QUERY_LENGTH
        return EncodedPair(self.kept(query, n), self.kept(passage, m), length, len(query) > n, len(passage) > m)

    def pad_queries(self, queries: Sequence[bytes]) -> Padded:
        """Lay out queries, which are the bytes of their int32 ids: ids and attention mask, each (n, 32)."""
        ids = [np.frombuffer(query, dtype=np.int32) for query in queries]
        return self._pad(ids, self.query_marker, self.mask, QUERY_LENGTH)

    def pad_passages(self, pairs: Sequence[EncodedPair], pad_id: int) -> Padded:
        """Lay out passages: ids and attention mask, each (n, longest)."""
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
    """A model that reads query and passage separately; the score is the sum of the query tokens' best cosines.

    It is from -32 to 32. Each distinct query of a batch goes through the model once.
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
        # [CLS], the marker and [SEP] are always compared, so that no maximum is over nothing.
        return cosines.masked_fill(~compared[:, :, None], -torch.inf).amax(1).sum(1)

    def _vectors(self, ids: NDArray[np.int64], mask: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Give each token's vector of length 1: float32 (n, length, dimension)."""
        inputs = to_device(ids, device), to_device(mask, device)
        return normalize(self.model["linear"](self.model["body"](*inputs).last_hidden_state), dim=-1)
