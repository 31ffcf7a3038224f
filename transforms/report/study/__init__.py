"""The page of the study: one section per plot of the protocol, and a paragraph per question.

Belongs here: sections, their charts and tables, sentences made from rows. Does not: the main page
(`transforms/report/page.py`), the marts behind it (`sql/marts`, `sql/report`).
"""
