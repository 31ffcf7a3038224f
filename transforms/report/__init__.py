"""The report as HTML pages, answers, operators and labels: pure functions of query results.

Belongs here: wording, charts, maps and the page. Does not: queries and files (`warehouse/report.py`), statistics
(`transforms/inference.py`).
"""

from transforms.report.data import ProductFacts, Query, ReportData
from transforms.report.labels import render_labels
from transforms.report.page import Links, render_operators, render_report

__all__ = ["Links", "ProductFacts", "Query", "ReportData", "render_labels", "render_operators", "render_report"]
