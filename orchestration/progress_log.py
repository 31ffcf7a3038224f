"""What asset bodies say while they run, handed to whoever shows it: the bar of the command line.

Belongs here: a Dagster logger that passes on the messages of bodies, and how to listen to it. Does not: printing
(`console.py`). Events of Dagster itself are not passed on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

#: Key of the logger in a run's configuration.
PROGRESS_LOGGER = "progress"
_CHANNEL = "isthmus.progress"


@dg.logger(config_schema={}, description="Passes what asset bodies say to the command line that runs them.")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """Give the channel that `listen_to_bodies` listens to."""
    channel = logging.getLogger(_CHANNEL)
    channel.setLevel(logging.INFO)
    channel.propagate = False
    return channel


@contextmanager
def listen_to_bodies(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with each message that a body logs meanwhile, in this process."""
    handler = _Teller(tell)
    channel = logging.getLogger(_CHANNEL)
    channel.addHandler(handler)
    try:
        yield
    finally:
        channel.removeHandler(handler)


class _Teller(logging.Handler):
    """Hands on the text of messages that are not events."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        meta = getattr(record, "dagster_meta", {})
        if meta.get("dagster_event") is None:
            self._tell(str(meta.get("orig_message", record.getMessage())))
