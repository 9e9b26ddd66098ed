"""What a conversion holds, for people: numbers on the terminal, pictures in one HTML file."""

from __future__ import annotations

from spire_dsu.report.html import write_html
from spire_dsu.report.summary import Summary, summarize
from spire_dsu.report.terminal import print_summary

__all__ = ["Summary", "print_summary", "summarize", "write_html"]
