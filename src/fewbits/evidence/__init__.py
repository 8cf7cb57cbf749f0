"""Claims and their verdicts: what a paper reports, what came out here, and whether the two agree.

A claim is a plain dictionary. The claims of one chapter are a JSON list in ``data/results/<chapter>.json``::

    {"id": "mobileone/drop", "statement": "5-bit INQ costs MobileOne at most 2 points",
     "paper": {"key": "yokota2024", "where": "Table 1", "value": 1.13, "unit": "pt"},
     "ours": {"value": 0.9, "unit": "pt", "values": [0.8, 0.9, 1.0], "seeds": [0, 1, 2], "scale": "full"},
     "expect": {"max": 2.0, "scale": "full"},
     "reason": "…", "verdict": "reproduced", "provenance": {…}}

``paper`` may be left out for a claim of this book, and ``ours`` for a result that is only cited: then ``reason`` says
why it was not run. `record` fills in ``verdict`` and ``provenance``; nobody types them. The verdict follows from
``ours`` and ``expect``, and a file that says otherwise does not load.

In a chapter: ``evidence.table("mobileone")`` shows the claims, ``evidence.glue_claims("mobileone")`` puts their numbers
into prose.
"""

from fewbits.core.extras import extra

with extra("book"):
    from fewbits.evidence.claims import SCALES, SYMBOLS, Claim, interval, validate, verdict
    from fewbits.evidence.display import ClaimsTable, glue_claims, table
    from fewbits.evidence.records import code_version, load, load_all, provenance, record, results_dir, rows, write_rows

__all__ = [
    "SCALES",
    "SYMBOLS",
    "Claim",
    "ClaimsTable",
    "code_version",
    "glue_claims",
    "interval",
    "load",
    "load_all",
    "provenance",
    "record",
    "results_dir",
    "rows",
    "table",
    "validate",
    "verdict",
    "write_rows",
]
