"""Quiet libraries: the terminal shows the bar of the training, and not each file that is read or written."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, filterwarnings

import datasets
from transformers.utils import logging as transformers_logging

LIBRARIES = ("accelerate", "datasets", "sentence_transformers", "transformers")


@contextmanager
def quiet() -> Iterator[None]:
    """Leave the bars and the reports of the libraries that train out of the terminal; their errors stay."""
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    levels = [logger.level for logger in loggers]
    # A library that had its bars off keeps them off.
    switches = [
        (datasets.disable_progress_bars, datasets.enable_progress_bars, datasets.are_progress_bars_disabled()),
        (
            transformers_logging.disable_progress_bar,
            transformers_logging.enable_progress_bar,
            not transformers_logging.is_progress_bar_enabled(),
        ),
    ]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    for switch_off, _, _ in switches:
        switch_off()
    try:
        with catch_warnings():
            # Of what these libraries ask of each other.
            filterwarnings("ignore", category=FutureWarning)
            filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for _, switch_on, was_off in switches:
            if not was_off:
                switch_on()
