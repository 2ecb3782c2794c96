"""report.html: tables and figures of a run on one page."""
