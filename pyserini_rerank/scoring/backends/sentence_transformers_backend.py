"""The sentence-transformers backend: any CrossEncoder, loaded and called by that library."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ...arguments import whole
from ..architectures.architecture import check_vocabulary, position_table, positions
from ..backend import Batch, Pair, Plan, TextBackend
from ..checkpoints import bundled, heads
from ..checkpoints.checkpoint import ADAPTER, CONFIG, fingerprint
from ..checkpoints.hub import check_revision, commit_of
from ..checkpoints.settings import rust_tokenizer
from ..device import budget_of, describe, device_of, dtype_of, nearly_equal
from ..encoding.pair_encoder import EXAMPLE, PairEncoder
from ..isolation import IsolatedThreads, checked_threads, load_isolated

try:
    from sentence_transformers import CrossEncoder
except ModuleNotFoundError:
    raise ModuleNotFoundError(
        "this backend needs sentence-transformers: `pip install sentence-transformers`."
    ) from None


class SentenceTransformersBackend(TextBackend):
    """Scores pairs with a `sentence_transformers.CrossEncoder`: its modules, its templates, its prompts.

    Use it for checkpoints that the torch backend refuses to read: those with an adapter, a chat template, or modules
    that are not known there. Pairs are tokenized twice, once to plan the batches. With ``dtype="bfloat16"`` the head
    computes in bfloat16 as well.

    Parameters
    ----------
    name : str or path
        A checkpoint as `CrossEncoder` takes it, or ``"bundled"``.
    device : str or torch.device, optional
        As for `pyserini_rerank.scoring.backends.torch_backend.TorchBackend`, and so are the next three.
    dtype : str or torch.dtype, optional
    batch_tokens : int or "auto"
    threads : int, optional
    max_length : int, optional
        The number of tokens to which a pair is cut; by default the checkpoint's number.
    prompt_name : str, optional
        The name of the checkpoint's prompt that goes before the query; by default its default prompt.
    revision : str, optional
        The branch, the tag or the commit of a checkpoint of the hub; by default ``"main"``.

    Raises
    ------
    OSError
        There is no such checkpoint, or the hub cannot be reached.
    ValueError
        The checkpoint has more than two labels, lacks weights or the prompt, or cannot be loaded; the device is not
        there; an option is out of range.

    References
    ----------
    https://sbert.net/docs/package_reference/cross_encoder/model.html
    """

    def __init__(
        self,
        name: str | os.PathLike[str],
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        max_length: int | None = None,
        batch_tokens: int | str = "auto",
        threads: int | None = None,
        prompt_name: str | None = None,
        revision: str | None = None,
    ) -> None:
        self.name, self.revision = os.fspath(name), revision
        self.device = device_of(device)
        self.dtype = dtype_of(dtype, self.device)
        self.budget = budget_of(batch_tokens, self.device)
        path = Path(name).expanduser()
        self._source = str(bundled.folder() if self.name == bundled.NAME else path if path.is_dir() else self.name)
        check_revision(revision, self.name, is_local=self.name == bundled.NAME or path.is_dir())
        self._threads = IsolatedThreads(1, checked_threads(threads), self.device)
        if max_length is not None:
            max_length = whole(max_length, "max_length")
        try:
            self.model = load_isolated(
                lambda: CrossEncoder(
                    self._source,
                    device="cpu",
                    max_length=max_length,
                    model_kwargs={"dtype": self.dtype},
                    default_prompt_name=prompt_name,
                    revision=revision,
                    trust_remote_code=False,
                ).eval()
            )
            rust = rust_tokenizer(self.model.tokenizer)
        except ImportError as error:
            raise ImportError(" ".join(str(error).split())) from None
        except Exception as error:  # of any kind: see checkpoints.reading
            raise self._unable("load", error) from None
        # transformers marks the weights that it has read, and fills the others with random numbers.
        weights = self.model.model.named_parameters() if self.model.model else ()
        missing = [key for key, weight in weights if not getattr(weight, "_is_hf_initialized", False)]
        if missing:
            raise ValueError(f"{self.name} has no weights for {', '.join(missing[:3])}: it is no cross-encoder.")
        self._threads(self.model.to, self.device)
        labels = self.model.num_labels
        if labels not in heads.LABELS.values():
            raise ValueError(f"{self.name} has {labels} labels: a reranker has one, or two of which the second counts.")
        self.head = heads.HEADS["logit" if labels == 1 else "margin"]
        self.max_length = self._checked_length(max_length)
        # A score must not depend on the padding up to the batch's longest pair, whatever the files say: the mask hides
        # it from all tokens, and on the right it does not move a token to another position.
        if "attention_mask" not in (names := self.model.tokenizer.model_input_names):
            self.model.tokenizer.model_input_names = [*names, "attention_mask"]
        if self.model.model and position_table(self.model.model):
            self.model.tokenizer.padding_side = "right"
        # A copy, since sentence-transformers sets truncation and padding of the original in other threads.
        tokenizer = Tokenizer.from_str(rust.to_str())
        if self.model.model:
            check_vocabulary(tokenizer, self.model.model, self.name)
        self.encoder = PairEncoder(tokenizer, self.max_length)
        # The prompt and a chat template add the same number of tokens to every pair: a short pair shows how many.
        try:
            tokens = self._tokens_of("a", "a")
        except Exception as error:  # such as that of a tokenizer without a padding token
            raise self._unable("tokenize for", error) from None
        self.added = tokens - int(self.encoder.encode([("a", "a")]).lengths[0])
        self.encoder.max_length -= self.added
        if self.encoder.max_length < self.encoder.least:
            least = self.encoder.least + self.added
            raise ValueError(f"max_length is {self.max_length}: {self.name} needs {least} tokens for a pair at least.")
        #: The largest number of pairs that go through the model together; 1 if padding changes scores although masked.
        self.most: int | None = None
        try:
            together, alone = (self._computed(EXAMPLE, most) for most in (len(EXAMPLE), 1))
        except Exception as error:  # modules that do not fit together fail here first
            raise self._unable("score with", error) from None
        if not nearly_equal(alone, together, self.dtype):
            self.most = 1

    def _unable(self, to: str, error: Exception) -> Exception:
        """Make an error of one line from an error of sentence-transformers."""
        kind = OSError if isinstance(error, OSError) else ValueError
        reason = " ".join(str(error).split())
        return kind(f"sentence-transformers cannot {to} {self.name}: {reason:.300}")

    def _checked_length(self, max_length: int | None) -> int:
        """Check the option `max_length`, and give the length to which the model cuts pairs."""
        known = positions(self.model.model) if self.model.model else None
        limit: int = known or self.model.max_seq_length
        if max_length is not None and not 1 <= max_length <= limit:
            raise ValueError(f"max_length is {max_length}: {self.name} reads pairs of at most {limit} tokens.")
        length = self.model.max_seq_length
        # sentence-transformers takes RoBERTa's 514 positions for room for 514 tokens.
        self.model.max_seq_length = checked = limit if length is None else min(int(length), limit)
        return checked

    def _tokens_of(self, query: str, passage: str) -> int:
        prompt = self.model.prompts.get(self.model.default_prompt_name)
        return self._threads(
            lambda: int(self.model.preprocess([(query, passage)], prompt=prompt)["input_ids"].shape[-1])
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of max_length, dtype, prompt and the folder's files, or in their place the hub's name and commit."""
        facts = f"{self.max_length} {self.dtype} {self.model.prompts} {self.model.default_prompt_name}"
        facts += f" {self.revision}" if self.revision else ""
        if Path(self._source, ADAPTER).is_file():
            return ""  # the model of an adapter is in another folder
        folder = Path(self._source)
        if folder.is_dir():
            return fingerprint(facts, folder, (path for path in folder.rglob("*") if path.is_file()))
        known = getattr(self.model.config, "_commit_hash", None)  # newer versions of transformers do not tell
        commit = known or commit_of(self._source, CONFIG, self.revision)
        return fingerprint(f"{facts} {self.name}@{commit}", folder, ()) if commit else ""

    @property
    def description(self) -> dict[str, str]:
        """Where the scores are computed, for a report."""
        return {
            "backend": "sentence-transformers",
            **describe(self.device, self.dtype, self.budget, self._threads.threads),
            **({"revision": self.revision} if self.revision else {}),
        }

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Count the tokens of pairs, and put pairs of similar length into a batch."""
        return self.encoder.plan(pairs, self.budget, self.added, lambda _, rows: [pairs[i] for i in rows.tolist()])

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,), logits without the activation function that the checkpoint names."""
        return self._computed(batch.inputs, self.most or len(batch.inputs))

    def _computed(self, pairs: Sequence[Pair], most: int) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = self._threads(
            self.model.predict, pairs, batch_size=most, activation_fn=torch.nn.Identity(), show_progress_bar=False
        )
        scores: NDArray[np.float32] = self.head(logits.reshape(len(pairs), -1))
        return scores

    def close(self) -> None:
        """Free the model's memory, once the calls that are under way are done."""
        self._threads.close()
        self.__dict__.pop("model", None)  # a second call finds nothing
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
