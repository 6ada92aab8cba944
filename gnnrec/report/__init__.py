"""The report about a run: one self-contained HTML file."""

from gnnrec.report.build import write_report

__all__ = ["write_report"]
