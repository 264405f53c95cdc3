"""The torch backend: CUDA, MPS or CPU."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...caller import warn
from ..architectures import registry
from ..architectures.architecture import Architecture
from ..backend import Batch, OutOfMemoryWarning
from ..checkpoints.checkpoint import Checkpoint, resolve
from ..device import budget_of, describe, device_of, dtype_of
from ..encoding.tokenizing_processes import TokenizingProcesses
from ..isolation import IsolatedThreads, checked_threads, load_isolated
from .checkpoint_backend import CheckpointBackend

#: A batch with no more tokens, and no more floating-point operations, is left to one thread on a CPU: a pair or two of
#: a small model. Several threads wait for each other after each of its many short steps, and where another program
#: takes a core away from one of them, all do: MiniLM-L-12 took 118 ms for a pair of 96 tokens with one thread, and 478
#: (at worst 1,836) with two, where four processes shared two cores.
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
        ``"float32"``, ``"bfloat16"`` or ``"float16"``; by default bfloat16 on CUDA (float16 where that
        is emulated), else float32. The head and the scores are float32 always.
    max_length : int, optional
        Tokens of a pair beyond which it is cut; by default what its files say, 512 at most.
    batch_tokens : int or "auto"
        Tokens of a batch, with the padding where there is any: bounds the memory, and sets the speed.
    processes : int, optional
        So many processes tokenize, for a small model on a GPU, which one process cannot feed. By default it is this
        one, in threads.
    threads : int, optional
        Threads that compute on a CPU; by default as many as torch has when it is loaded, and one for a batch of a pair
        or two of a small model. On a machine that others use fewer may be faster.
    head : str, optional
        ``"logit"`` or ``"margin"`` (logit[1] - logit[0]), for a classifier that is not in the catalogue.
    known_as : str, optional
        Which checkpoint of the catalogue a local folder holds, where its path does not say; whose prompt and
        answers it has, where it is none of the catalogue.

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
        processes: int | None = None,
        threads: int | None = None,
        head: str | None = None,
        known_as: str | None = None,
    ) -> None:
        self.device = device_of(device)
        self.dtype = dtype_of(dtype, self.device)
        budget = budget_of(batch_tokens, self.device)
        checked_threads(threads)
        checkpoint = resolve(name, known_as)
        self.family, self._work = load_isolated(lambda: self._load(checkpoint, max_length, head))
        self.scale = self.family.scale
        encoder = self.family.encoder
        super().__init__(checkpoint, encoder, budget, f"{self.family.facts} {encoder.max_length} {self.dtype}")
        if processes is not None:
            if not encoder.takes_tokens:
                raise ValueError(f"processes={processes}: {checkpoint.name} reads prompts, which this one tokenizes.")
            encoder.processes = TokenizingProcesses(encoder.tokenizer, processes)
        #: On a GPU a batch is laid out while another one is computed.
        self.workers = 2 if self.device.type == "cuda" else 1
        #: The tokens that have turned out to fit the device's memory.
        self.fits = max(self.budget, self.max_length)
        self._threads = IsolatedThreads(self.workers, threads, self.device)
        self.threads = self._threads.threads
        several = self.device.type == "cpu" and threads is None and self.threads > 1
        #: For batches of little work.
        self._alone = IsolatedThreads(self.workers, 1) if several else self._threads

    def _load(self, checkpoint: Checkpoint, *how: Any) -> tuple[Architecture, int]:
        """Load the model, and count the floating-point operations of a token."""
        family = registry.load(checkpoint, self.dtype, *how)
        layers = [module for module in family.model.modules() if isinstance(module, torch.nn.Linear)]
        work = 2 * sum(layer.weight.numel() for layer in layers)
        family.to(self.device)
        return family, work

    @property
    def description(self) -> dict[str, str]:
        """What a report says of where the scores were computed: backend, device, dtype, and the tokens of a batch."""
        tokens = min(self.budget, self.fits)
        return {"backend": "torch", **describe(self.device, self.dtype, tokens, self.threads)}

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch: float32 (n,).

        Where the device has not enough memory for it, it goes through in halves, or less, and so do later ones.
        The plan stays the same; the scores of a batch that was cut may differ in their last bits.

        Raises
        ------
        RuntimeError
            There is not enough memory for a single pair.
        """
        pairs: Sequence[Any] = batch.inputs
        longest = max(pair.length for pair in pairs)
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
            self.fits = min(self.fits, rows // 2 * longest)  # another thread may have found out as well
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        if self.fits < before:
            warn(
                f"{self.device} had no memory for {before:,} tokens: batches are cut to {self.fits:,} from now on.",
                OutOfMemoryWarning,
            )
        return np.concatenate(scores)

    def _computed(self, pairs: Sequence[Any]) -> NDArray[np.float32]:
        tokens = sum(pair.length for pair in pairs)
        little = tokens <= LITTLE_TOKENS and tokens * self._work <= LITTLE_WORK
        return (self._alone if little else self._threads)(self._forward, pairs)

    def _forward(self, pairs: Sequence[Any]) -> NDArray[np.float32]:
        with torch.inference_mode():
            scores: NDArray[np.float32] = self.family.scores(pairs, self.device).cpu().numpy()
        return scores

    def close(self) -> None:
        """Give the model's memory back, once what is under way is done."""
        self._threads.close()
        self._alone.close()
        if self.encoder.processes:
            self.encoder.processes.close()
        self.__dict__.pop("family", None)  # it may have been closed before
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
