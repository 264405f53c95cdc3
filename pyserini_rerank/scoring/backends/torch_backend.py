"""The torch backend: CUDA, MPS or CPU."""

import os

import numpy as np
import torch
from numpy.typing import NDArray

from ...caller import warn
from ..architectures import registry
from ..architectures.architecture import Architecture
from ..backend import Batch, OutOfMemoryWarning
from ..checkpoints.checkpoint import Checkpoint, resolve
from ..device import budget_of, describe, device_of, dtype_of
from ..encoding.encoded_pairs import EncodedPairs
from ..isolation import IsolatedThreads, checked_threads, load_isolated
from .checkpoint_backend import CheckpointBackend

#: On a CPU one thread alone computes a batch that has at most so many tokens and floating-point operations: a pair or
#: two of a small model. Several threads would wait for each other after each of its many short steps, and if another
#: program took a core away from one of them, all would wait. Where four processes shared two cores, MiniLM-L-12 took
#: 118 ms for a pair of 96 tokens with one thread, and 478 (at worst 1,836) with two.
LITTLE_TOKENS, LITTLE_WORK = 256, 5e9


class TorchBackend(CheckpointBackend):
    """Scores pairs with a Hugging Face checkpoint in PyTorch.

    Parameters
    ----------
    name : str or path
        See `pyserini_rerank.load`.
    device : str or torch.device, optional
        ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"cpu"``; by default the first of these that is there.
    dtype : str or torch.dtype, optional
        ``"float32"``, ``"bfloat16"`` or ``"float16"``; by default bfloat16 on CUDA (float16 on a GPU that
        emulates bfloat16), else float32. The head and the scores are always float32.
    max_length : int, optional
        The number of tokens to which a pair is cut; by default the `max_seq_length` in the checkpoint's
        files, or else the tokenizer's limit, 512 at most.
    batch_tokens : int or "auto"
        Tokens of a batch, padding included. It limits the memory that a batch takes, and changes the speed.
    threads : int, optional
        Threads that compute on a CPU; by default as many as torch has when the backend is loaded, and one for a batch
        of a pair or two of a small model. On a shared machine fewer threads may be faster.
    head : str, optional
        ``"logit"``, ``"margin"`` (logit[1] - logit[0]) or ``"positive"`` (logit[1]), for a classifier that is not in
        the catalogue.
    known_as : str, optional
        The checkpoint of the catalogue that a local folder holds, if the folder's path does not tell. For a
        checkpoint that is not in the catalogue: the one in it that has the same prompt and answers.
    revision : str, optional
        The branch, the tag or the commit of a checkpoint of the hub; by default ``"main"``.
    instruction : str, optional
        What Qwen3-Reranker and mxbai-rerank-v2 are told to look for; by default what their authors tell them.

    Raises
    ------
    OSError, ValueError
        See `pyserini_rerank.load`.
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
        head: str | None = None,
        known_as: str | None = None,
        revision: str | None = None,
        instruction: str | None = None,
    ) -> None:
        self.device = device_of(device)
        self.dtype = dtype_of(dtype, self.device)
        budget = budget_of(batch_tokens, self.device)
        checked_threads(threads)
        checkpoint = resolve(name, known_as, revision)
        self.family, self._operations_per_token = load_isolated(
            lambda: self._load(checkpoint, max_length, head, instruction)
        )
        self.scale, self.instruction = self.family.scale, self.family.instruction
        encoder = self.family.encoder
        super().__init__(checkpoint, encoder, budget, f"{self.family.facts} {encoder.max_length} {self.dtype}")
        #: On a GPU a batch is laid out while another one is computed.
        self.workers = 2 if self.device.type == "cuda" else 1
        #: The largest number of tokens that the device's memory is believed to hold.
        self.fits = max(self.budget, self.max_length)
        self._threads = IsolatedThreads(self.workers, threads, self.device)
        self.threads = self._threads.threads
        several = self.device.type == "cpu" and threads is None and self.threads > 1
        #: One thread for the batches of little work.
        self._single_thread = IsolatedThreads(self.workers, 1) if several else self._threads

    def _load(
        self, checkpoint: Checkpoint, max_length: int | None, head: str | None, instruction: str | None
    ) -> tuple[Architecture, int]:
        """Load the model, and count the floating-point operations of a token."""
        family = registry.load(checkpoint, self.dtype, max_length, head, instruction)
        layers = [module for module in family.model.modules() if isinstance(module, torch.nn.Linear)]
        operations = 2 * sum(layer.weight.numel() for layer in layers)
        family.to(self.device)
        return family, operations

    @property
    def description(self) -> dict[str, str]:
        """Where the scores are computed, for a report: backend, device, dtype, and the tokens of a batch.

        It has the instruction of a prompt as well, if there is one.
        """
        tokens = min(self.budget, self.fits)
        return {
            "backend": "torch",
            **describe(self.device, self.dtype, tokens, self.threads),
            **self._inputs,
            **({"instruction": self.instruction} if self.instruction else {}),
        }

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,).

        If the device has too little memory for the batch, it is computed in halves or smaller parts, and so are later
        batches. The plan stays the same. The scores of a batch that was cut may differ in their last bits.

        Raises
        ------
        RuntimeError
            There is not enough memory for a single pair.
        """
        pairs: EncodedPairs = batch.inputs
        longest = int(pairs.lengths.max())
        before = self.fits
        while True:
            rows = min(len(pairs), max(1, self.fits // longest))
            try:
                scores = [self._computed(pairs[start : start + rows]) for start in range(0, len(pairs), rows)]
                break
            except torch.OutOfMemoryError:
                if rows == 1:
                    raise RuntimeError(
                        f"{self.device} has no memory for one pair of {longest} tokens: free some, or lower max_length."
                    ) from None
            self.fits = min(self.fits, rows // 2 * longest)  # another thread may have lowered it meanwhile
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        if self.fits < before:
            warn(
                f"{self.device} had no memory for {before:,} tokens: batches are cut to {self.fits:,} from now on.",
                OutOfMemoryWarning,
            )
        return np.concatenate(scores)

    def _computed(self, pairs: EncodedPairs) -> NDArray[np.float32]:
        tokens = int(pairs.lengths.sum())
        little = tokens <= LITTLE_TOKENS and tokens * self._operations_per_token <= LITTLE_WORK
        return (self._single_thread if little else self._threads)(self._forward, pairs)

    def _forward(self, pairs: EncodedPairs) -> NDArray[np.float32]:
        with torch.inference_mode():
            scores: NDArray[np.float32] = self.family.scores(pairs, self.device).cpu().numpy()
        return scores

    def close(self) -> None:
        """Free the model's memory, once the calls that are under way are done."""
        self._threads.close()
        self._single_thread.close()
        self.__dict__.pop("family", None)  # a second call finds nothing
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
