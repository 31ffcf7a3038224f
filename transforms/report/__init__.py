"""The report as one HTML page: a pure function of query results.

Belongs here: wording, charts, maps and the page. Does not: queries and files (`warehouse/report.py`), statistics
(`transforms/inference.py`).
"""

from transforms.report.data import ProductFacts, Query, ReportData
from transforms.report.page import render_report

__all__ = ["ProductFacts", "Query", "ReportData", "render_report"]
