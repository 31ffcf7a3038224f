"""The page of the study, rendered by `study.html`.

Belongs here: which sections there are, and their order. Does not: what a section shows.
"""

from __future__ import annotations

from transforms.report.data import ReportData
from transforms.report.study.adapters import gains_section
from transforms.report.study.arms import classes_section, cost_section, probes_section
from transforms.report.study.audit import audit_sentence, list_findings
from transforms.report.study.curves import learning_section, purity_section
from transforms.report.study.ladder import ladder_section
from transforms.report.study.paragraphs import write_paragraphs
from transforms.report.study.parts import Section
from transforms.report.study.schemes import leakage_section, regions_section
from transforms.report.study.tasks import maps_section, other_section
from transforms.report.templates import SYMBOLS, build_environment

_SECTIONS = (
    learning_section,
    leakage_section,
    purity_section,
    ladder_section,
    cost_section,
    classes_section,
    regions_section,
    probes_section,
    gains_section,
    maps_section,
    other_section,
)


def render_study(data: ReportData, main_page: str) -> str:
    """Render the page of the study; empty where nothing is scored.

    Args:
        data: query results and what the settings say.
        main_page: relative address of the report.

    Returns:
        One self-contained HTML page, or an empty text.
    """
    sections = build_sections(data)
    if not any(section.is_drawn for section in sections):
        return ""
    template = build_environment().get_template("study.html")
    return template.render(
        data=data,
        main_page=main_page,
        audit=audit_sentence(data),
        findings=list_findings(data),
        paragraphs=write_paragraphs(data),
        sections=sections,
        symbols=SYMBOLS,
    )


def build_sections(data: ReportData) -> list[Section]:
    """Build all sections, those with nothing to show too: they say why."""
    return [build(data) for build in _SECTIONS]
