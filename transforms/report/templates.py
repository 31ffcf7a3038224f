"""The templates of all pages, and the words that they may turn numbers into."""

from __future__ import annotations

from pathlib import Path

import jinja2

from transforms.report.label_wording import probe_title
from transforms.report.wording import (
    arm_title,
    bytes_title,
    honest_verdict,
    metric_title,
    number,
    scheme_title,
    signed,
)

#: Marks of the answers: tone is never shown by colour alone.
SYMBOLS = {"better": "+", "comparable": "≈", "worse": "−", "open": "?", "absent": "·"}


def build_environment() -> jinja2.Environment:
    """Build what renders the templates; names that a page is not given are errors."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (arm_title, metric_title, scheme_title, number, signed, honest_verdict, bytes_title, probe_title)
    environment.filters |= {function.__name__: function for function in filters}
    return environment
