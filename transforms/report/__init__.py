"""The report as HTML pages, answers, operators, labels and the study: pure functions of query results.

Belongs here: wording, charts, maps and the pages. Does not: queries and files (`warehouse/report.py`), statistics
(`transforms/inference.py`).
"""

from transforms.report.data import ProductFacts, Query, ReportData
from transforms.report.labels import render_labels
from transforms.report.page import Links, render_operators, render_report
from transforms.report.study.page import render_study

__all__ = [
    "Links",
    "ProductFacts",
    "Query",
    "ReportData",
    "render_labels",
    "render_operators",
    "render_report",
    "render_study",
]
