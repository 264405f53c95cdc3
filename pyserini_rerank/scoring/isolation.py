"""Threads that a model is loaded and computed in, where its caller's torch does not reach.

Much of torch's state belongs to a thread: autocast, the default device, the modes of gradients and inference, modes of
dispatch such as FakeTensorMode, the current stream, the number of threads of OpenMP, and the pool of those, which the
child of a fork has lost. A thread of one's own has none of the caller's. Settings of the whole process are
ours while a model is loaded or computes, and then the caller's again.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from ..arguments import count_option

#: A setting of the whole process: how it is read and written, and its values here, of which the first is written.
Setting = tuple[Callable[[], Any], Callable[[Any], object], tuple[Any, ...]]


def _attribute(holder: Any, name: str, *ours: Any) -> Setting:
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value), ours


_cuda: Any = torch.backends.cuda
_mkldnn: Any = torch.backends.mkldnn
#: The settings that change a score, or with which torch refuses to compute one.
SETTINGS: tuple[Setting, ...] = (
    (torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, (0,)),
    # Products of float32 may be computed in TF32 or bfloat16, and those of half precision be added up in it.
    _attribute(_cuda.matmul, "fp32_precision", "ieee", "none"),
    _attribute(_mkldnn.matmul, "fp32_precision", "ieee", "none"),
    _attribute(_cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
    _attribute(_cuda.matmul, "allow_fp16_reduced_precision_reduction", True),
    _attribute(_cuda.matmul, "allow_fp16_accumulation", False),
    _attribute(_mkldnn, "enabled", True),
    # Which kernels of attention may be chosen from.
    (_cuda.flash_sdp_enabled, _cuda.enable_flash_sdp, (True,)),
    (_cuda.mem_efficient_sdp_enabled, _cuda.enable_mem_efficient_sdp, (True,)),
    (_cuda.cudnn_sdp_enabled, _cuda.enable_cudnn_sdp, (True,)),
    (_cuda.math_sdp_enabled, _cuda.enable_math_sdp, (True,)),
)
_lock = threading.Lock()
#: How many threads are inside `isolated_settings`, and the caller's values of the settings that they have changed, by
#: the setting's number.
_inside = 0
_changed: dict[int, Any] = {}


class IsolatedThreads:
    """Threads in which a backend computes.

    Parameters
    ----------
    count : int
        How many calls may be under way at once.
    threads : int, optional
        How many threads torch shares the work of a call out to, on a CPU; by default as many as the caller's.
    device : torch.device, optional
        The current CUDA device of the threads.
    """

    def __init__(self, count: int = 1, threads: int | None = None, device: torch.device | None = None) -> None:
        self.threads = torch.get_num_threads() if threads is None else threads
        self._pool = ThreadPoolExecutor(count, "scoring", _begin, (self.threads, device))

    def __call__[**P, T](self, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Compute something in one of them; raises what that raises."""
        try:
            future = self._pool.submit(_apart, partial(compute, *args, **kwargs))
        except RuntimeError:  # also when Python ends
            raise RuntimeError("this backend is closed: load it again.") from None
        return future.result()

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        self._pool.shutdown()


def load_isolated[T](load: Callable[[], T]) -> T:
    """Load something in a thread of its own; torch's random numbers go on afterwards as if nothing had been loaded.

    Ctrl-C does not wait for the end of it.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            with torch.random.fork_rng(devices=[]):
                future.set_result(_apart(load))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name="loading").start()
    return future.result()


def checked_threads(threads: int | None) -> int | None:
    """Check the option of that name; raises ValueError."""
    if threads is None:
        return None
    return count_option(threads, "threads", "a number of threads, or leave it out")


def _begin(threads: int, device: torch.device | None) -> None:
    """Settle what a new thread is like."""
    torch.set_flush_denormal(False)  # it is inherited from the thread that starts one
    with _lock:  # or another one that begins would take this number for the caller's
        others = torch.get_num_threads()
        if threads != others:
            torch.set_num_threads(threads)
            # That is this thread's number, and that of all threads to come: another one puts the latter back.
            back = threading.Thread(target=torch.set_num_threads, args=(others,))
            back.start()
            back.join()
    if device is not None and device.type == "cuda":
        torch.cuda.set_device(device)


def _apart[T](compute: Callable[[], T]) -> T:
    with isolated_settings():
        return compute()


@contextmanager
def isolated_settings() -> Iterator[None]:
    """Set the process's settings to ours; the last thread to leave puts the caller's back."""
    global _inside
    with _lock:
        _inside += 1
        for number, (read, write, ours) in enumerate(SETTINGS):
            if (value := read()) not in ours:
                _changed[number] = value
                write(ours[0])
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _put_back()


def _put_back() -> None:
    for number, value in _changed.items():
        read, write, ours = SETTINGS[number]
        if read() not in ours:  # the caller has set it anew meanwhile
            continue
        write(ours[-1])  # of a precision it is that of a wider setting, where the caller's may come from
        if read() != value:
            write(value)
    _changed.clear()


def _after_fork() -> None:
    """Leave, in a child, what its parent's threads were in."""
    global _lock, _inside
    _lock, _inside = threading.Lock(), 0
    _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
