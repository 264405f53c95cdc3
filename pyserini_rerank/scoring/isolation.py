"""Threads in which models are loaded and compute, so that the caller's settings of torch do not change a score.

Much of torch's state belongs to a thread: autocast, the default device, the modes of gradients and inference, modes of
dispatch such as FakeTensorMode, the current stream, the number of OpenMP's threads, and their pool, which the child of
a fork has lost. A new thread has none of the caller's state. Other settings are the whole process's: they are changed
while a model is loaded or computes, and then put back.
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

#: A setting of the whole process: how it is read, how it is written, and the values that are left as they are. The
#: first of these is written in the place of any other value.
Setting = tuple[Callable[[], Any], Callable[[Any], object], tuple[Any, ...]]


def _attribute(holder: Any, name: str, *accepted: Any) -> Setting:
    return lambda: getattr(holder, name), lambda value: setattr(holder, name, value), accepted


_cuda: Any = torch.backends.cuda
_mkldnn: Any = torch.backends.mkldnn
#: The settings that change a score, or with which torch refuses to compute one.
SETTINGS: tuple[Setting, ...] = (
    (torch.get_default_dtype, torch.set_default_dtype, (torch.float32,)),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, (0,)),
    # torch may compute products of float32 in TF32 or bfloat16, and add up those of half precision in half precision.
    _attribute(_cuda.matmul, "fp32_precision", "ieee", "none"),
    _attribute(_mkldnn.matmul, "fp32_precision", "ieee", "none"),
    _attribute(_cuda.matmul, "allow_bf16_reduced_precision_reduction", True),
    _attribute(_cuda.matmul, "allow_fp16_reduced_precision_reduction", True),
    _attribute(_cuda.matmul, "allow_fp16_accumulation", False),
    _attribute(_mkldnn, "enabled", True),
    # The kernels of attention that torch may choose from.
    (_cuda.flash_sdp_enabled, _cuda.enable_flash_sdp, (True,)),
    (_cuda.mem_efficient_sdp_enabled, _cuda.enable_mem_efficient_sdp, (True,)),
    (_cuda.cudnn_sdp_enabled, _cuda.enable_cudnn_sdp, (True,)),
    (_cuda.math_sdp_enabled, _cuda.enable_math_sdp, (True,)),
)
_lock = threading.Lock()
#: How many threads are inside `isolated_settings`.
_inside = 0
#: The caller's values of the settings that these threads have changed, by position in SETTINGS.
_callers_values: dict[int, Any] = {}


class IsolatedThreads:
    """Threads in which a backend computes.

    Parameters
    ----------
    count : int
        How many threads, each of which computes one call at a time.
    threads : int, optional
        How many threads torch divides the work of a call among, on a CPU; by default as many as in the caller's thread.
    device : torch.device, optional
        The device that is the current CUDA device in these threads.
    """

    def __init__(self, count: int = 1, threads: int | None = None, device: torch.device | None = None) -> None:
        self.threads = torch.get_num_threads() if threads is None else threads
        self._pool = ThreadPoolExecutor(count, "scoring", _begin, (self.threads, device))

    def __call__[**P, T](self, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in one of the threads, and give its result; raises as the function."""
        try:
            future = self._pool.submit(_with_settings, partial(compute, *args, **kwargs))
        except RuntimeError:  # the pool is closed, or Python is ending
            raise RuntimeError("this backend is closed: load it again.") from None
        try:
            return future.result()
        finally:
            future.cancel()  # interrupted before its turn, it is not computed: the next call would wait for it

    def close(self) -> None:
        """Wait for the calls that are under way, and end the threads."""
        self._pool.shutdown()


def load_isolated[T](load: Callable[[], T]) -> T:
    """Call `load` in a new thread, and give its result.

    Torch's random numbers go on afterwards as if nothing had been loaded. Ctrl-C does not wait for the thread's end.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            with torch.random.fork_rng(devices=[]):
                future.set_result(_with_settings(load))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="loading").start()
    return future.result()


def checked_threads(threads: int | None) -> int | None:
    """Check the option `threads`; raises ValueError."""
    if threads is None:
        return None
    return count_option(threads, "threads", "a number of threads, or leave it out")


def _begin(threads: int, device: torch.device | None) -> None:
    """Prepare a new thread for computing."""
    torch.set_flush_denormal(False)  # a thread inherits this setting from the thread that starts it
    with _lock:  # or another new thread would take this number for the process's
        number_of_process = torch.get_num_threads()
        if threads != number_of_process:
            # This sets the number of this thread, and of all threads to come. Another thread puts the latter back.
            torch.set_num_threads(threads)
            restoring = threading.Thread(target=torch.set_num_threads, args=(number_of_process,))
            restoring.start()
            restoring.join()
    if device is not None and device.type == "cuda":
        torch.cuda.set_device(device)


def _with_settings[T](compute: Callable[[], T]) -> T:
    with isolated_settings():
        return compute()


@contextmanager
def isolated_settings() -> Iterator[None]:
    """Give the process's settings accepted values; the last thread to leave puts the caller's values back."""
    global _inside
    with _lock:
        _inside += 1
        for number, (read, write, accepted) in enumerate(SETTINGS):
            if (value := read()) not in accepted:
                _callers_values[number] = value
                write(accepted[0])
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _put_back()


def _put_back() -> None:
    for number, value in _callers_values.items():
        read, write, accepted = SETTINGS[number]
        if read() not in accepted:  # the caller has changed it meanwhile
            continue
        write(accepted[-1])  # "none" is a wider setting's precision, which may be where the caller's value came from
        if read() != value:
            write(value)
    _callers_values.clear()


def _after_fork() -> None:
    """Put the caller's settings back in a child process, where the threads that changed them do not exist."""
    global _lock, _inside
    _lock, _inside = threading.Lock(), 0
    _put_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
