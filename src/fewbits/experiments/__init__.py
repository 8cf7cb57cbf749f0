"""Full-scale runs: each module trains and measures one chapter's claims and writes ``data/results``."""

from fewbits.core.extras import extra

with extra("book"):
    import pandas  # noqa: F401  (every experiment keeps its tables with it)
