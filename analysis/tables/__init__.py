"""The tables of a run, as rows for scripts and as text, Markdown, CSV and LaTeX."""
