"""Reports from records: tables, warnings and a written comparison, for people and for machines."""

from bench.report.build import compare, report_run
from bench.report.model import Report
from bench.report.published import published_report

__all__ = ["Report", "compare", "published_report", "report_run"]
