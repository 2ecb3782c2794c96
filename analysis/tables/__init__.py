"""Tables of a run: rows for scripts, and text, Markdown, CSV and LaTeX for readers."""
