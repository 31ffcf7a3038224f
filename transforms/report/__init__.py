"""The report as two HTML pages, answers and operators: pure functions of query results.

Belongs here: wording, charts, maps and the page. Does not: queries and files (`warehouse/report.py`), statistics
(`transforms/inference.py`).
"""

from transforms.report.data import ProductFacts, Query, ReportData
from transforms.report.page import render_operators, render_report

__all__ = ["ProductFacts", "Query", "ReportData", "render_operators", "render_report"]
