"""The report: one self-contained HTML file, and how numbers are written in it. It imports no torch."""
