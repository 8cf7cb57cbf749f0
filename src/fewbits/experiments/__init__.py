"""Full-scale runs: each module trains and measures one chapter's claims and writes ``data/results``."""
