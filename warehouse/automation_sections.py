"""The sections of a settings file about what happens without a person: `[automation]` and `[alerts]`.

Belongs here: what a user may set, and its limits. Does not: sensors, schedules, sending (`orchestration/`).
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

#: Minute, hour, day of month, month, day of week.
_CRON_FIELDS = 5


class AutomationSettings(BaseModel):
    """What runs by itself, all off by default. It needs Dagster's daemon: `isthmus ui` starts one.

    Attributes:
        schedule: cron expression at which the whole pipeline runs; None = never.
        timezone: of the schedule.
        watch: look at the sources, and run what is new.
        look_every_s: seconds between two looks.
        follow: take years later than those of the settings, and registered products beside their predecessors, as soon
            as they are complete.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schedule: str | None = None
    timezone: str = "UTC"
    watch: bool = False
    look_every_s: int = Field(default=3600, ge=1)
    follow: bool = False

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, text: str | None) -> str | None:
        if text is not None and len(text.split()) != _CRON_FIELDS:
            raise ValueError("schedule must be a cron expression of five fields, e.g. '0 6 * * 1' = Mondays at 6")
        return text

    @property
    def is_on(self) -> bool:
        """Tell whether anything runs by itself."""
        return self.watch or self.schedule is not None


class AlertSettings(BaseModel):
    """Whom to tell when a run fails or a release needs a person. Alerts are always in the log.

    Attributes:
        webhook: address that gets each alert as JSON by POST; "" is none.
        command: program and arguments; it gets the alert as JSON on standard input.
        timeout_s: seconds that a webhook or a command may take.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook: str | None = None
    command: tuple[str, ...] = ()
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, address: str | None) -> str | None:
        if not address:  # of a variable that is not set
            return None
        if not _is_web_address(address):
            raise ValueError("webhook must be an address that begins with https:// or http://, without blanks")
        return address

    @property
    def is_on(self) -> bool:
        """Tell whether alerts go anywhere but to the log."""
        return self.webhook is not None or bool(self.command)


def _is_web_address(address: str) -> bool:
    """Tell whether a request can be sent there; a port that is no number is found by asking for it."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and address.isprintable() and " " not in address
