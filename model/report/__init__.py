"""Results to files: tables, curves and one page, beside what the papers print."""

from model.report.report import in_short, write_report

__all__ = [
    "in_short",
    "write_report",
]
