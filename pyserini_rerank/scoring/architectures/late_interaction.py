"""Late interaction: ColBERT's sum of each query token's best match.

The sources are the authors' package colbert-ai 0.2.22 and the settings stored with colbertv2.0. Queries have 32 tokens
(`query_maxlen`): they are filled up with [MASK], which is not attended to (`attend_to_mask_tokens` is false). The
vectors of a passage's punctuation are not compared (`mask_punctuation`).
"""

import string
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch.nn.functional import normalize

from ..checkpoints import models
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.settings import Settings
from ..device import to_device
from ..encoding.encoded_pairs import EncodedPairs, joined
from ..encoding.pair_encoder import Sizes, TextEncoder
from .architecture import Architecture, ids_of

#: Ids and attention mask, each (n, length).
Padded = tuple[NDArray[np.int64], NDArray[np.int64]]

QUERY_LENGTH = 32
QUERY_MARKER, PASSAGE_MARKER = "[unused0]", "[unused1]"


class LateInteractionEncoder(TextEncoder):
    """Tokenizes queries and passages separately, each as [CLS], a marker, the text, [SEP].

    Queries always have 32 tokens, so `max_length` is the number of tokens to which a passage is cut.
    """

    least = 4
    #: The spans of a pair: [CLS], marker, query, [SEP], [CLS], marker, passage, [SEP].
    query_at, passage_at = 2, 6
    of_query, of_passage = slice(0, 4), slice(4, 8)

    def __init__(self, tokenizer: Tokenizer, max_length: int, name: str, *, cuts_left: bool = False) -> None:
        super().__init__(tokenizer, max_length, cuts_left=cuts_left)
        cls, sep, self.mask, query_marker, passage_marker = ids_of(
            tokenizer, ("[CLS]", "[SEP]", "[MASK]", QUERY_MARKER, PASSAGE_MARKER), name
        )
        self.special = np.array([cls, query_marker, sep, cls, passage_marker, sep], dtype=np.int32)
        self.punctuation = [tokenizer.encode(mark, add_special_tokens=False).ids[0] for mark in string.punctuation]

    def kept(self, queries: NDArray[np.int64], passages: NDArray[np.int64]) -> Sizes:
        return np.minimum(queries, QUERY_LENGTH - 3), np.minimum(passages, self.max_length - 3)

    def lengths(self, queries: NDArray[np.int64], passages: NDArray[np.int64]) -> NDArray[np.int64]:
        # The query is counted with every passage, though a batch has it once: its memory is limited in any case.
        return passages + 3 + QUERY_LENGTH

    def pad_queries(self, pairs: EncodedPairs) -> Padded:
        """Lay out the pairs' queries: ids and attention mask, each (n, 32)."""
        return _padded(pairs, self.of_query, self.mask, QUERY_LENGTH)

    def pad_passages(self, pairs: EncodedPairs, pad_id: int) -> Padded:
        """Lay out the pairs' passages: ids and attention mask, each (n, longest)."""
        longest = int(pairs.sizes[:, self.of_passage].sum(axis=1).max())
        return _padded(pairs, self.of_passage, pad_id, longest)


def _padded(pairs: EncodedPairs, spans: slice, pad_id: int, longest: int) -> Padded:
    sizes = pairs.sizes[:, spans]
    mask = np.arange(longest) < sizes.sum(axis=1)[:, None]
    ids = np.full(mask.shape, pad_id, dtype=np.int64)
    ids[mask] = joined(pairs.ids, pairs.starts[:, spans], sizes)
    return ids, mask.astype(np.int64)


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

    def scores(self, pairs: EncodedPairs, device: torch.device) -> torch.Tensor:
        _, first, rows = np.unique(pairs.query_rows, return_index=True, return_inverse=True)
        queries = self._vectors(*self.encoder.pad_queries(pairs[first]), device)
        ids, mask = self.encoder.pad_passages(pairs, pad_id=0)
        passages = self._vectors(ids, mask, device)
        compared = to_device((mask == 1) & ~np.isin(ids, self.encoder.punctuation), device)
        cosines = passages @ queries[to_device(rows, device)].transpose(1, 2)
        # [CLS], the marker and [SEP] are always compared, so that no maximum is over nothing.
        return cosines.masked_fill(~compared[:, :, None], -torch.inf).amax(1).sum(1)

    def _vectors(self, ids: NDArray[np.int64], mask: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Give each token's vector of length 1: float32 (n, length, dimension)."""
        inputs = to_device(ids, device), to_device(mask, device)
        return normalize(self.model["linear"](self.model["body"](*inputs).last_hidden_state), dim=-1)
