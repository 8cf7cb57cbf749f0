"""Claims: what a paper reports, what came out here, and what the two say together.

A claim is a plain dictionary, made by `paper_claim`, `own_claim` or `cited_claim`. Its *parts* are the quantities that
were measured, made by `part`; all of them must hold::

    paper_claim(
        "mobileone/drop",
        "5-bit INQ costs MobileOne at most 2 points",
        ("yokota2024", "Table 1", 1.13, "pt"),
        part([0.8, 0.9, 1.0], unit="pt", runs=[0, 1, 2], high=2.0, paper=1.13, margin=1.0),
        scale="full",
        independent="float networks, trained from different seeds",
        departs=["the paper's augmentation is unknown"],
    )

Two questions are answered separately, each *yes*, *no* or *undecided*, with a 95 % interval. *Does it hold*: the
interval lies in the band from ``low`` to ``high``. *Does the number agree*: it lies within ``margin`` of the paper's
number. Both answers, the scale and the departures from the paper's protocol give one word, see `WORDS`. `record`
computes it and keeps the provenance of every value; nobody types a word, and a file that says another does not load.

In a chapter: ``evidence.table("mobileone")`` shows the claims, ``evidence.glue_claims("mobileone")`` puts their numbers
into prose.
"""

from fewbits.core.extras import extra

with extra("book"):
    from fewbits.evidence.claims import (
        SCALES,
        Claim,
        Part,
        cited_claim,
        departure,
        own_claim,
        paper_claim,
        part,
        validate,
    )
    from fewbits.evidence.display import ClaimsTable, by_weight, glue_claims, overview, table
    from fewbits.evidence.intervals import interval
    from fewbits.evidence.records import (
        code_version,
        load,
        load_all,
        origins,
        provenance,
        record,
        results_dir,
        rows,
        stamped,
        write_rows,
    )
    from fewbits.evidence.verdicts import OWN_WORDS, SYMBOLS, WORDS, agrees, answers, holds, multiplicity, shown, word

__all__ = [
    "OWN_WORDS",
    "SCALES",
    "SYMBOLS",
    "WORDS",
    "Claim",
    "ClaimsTable",
    "Part",
    "agrees",
    "answers",
    "by_weight",
    "cited_claim",
    "code_version",
    "departure",
    "glue_claims",
    "holds",
    "interval",
    "load",
    "load_all",
    "multiplicity",
    "origins",
    "overview",
    "own_claim",
    "paper_claim",
    "part",
    "provenance",
    "record",
    "results_dir",
    "rows",
    "shown",
    "stamped",
    "table",
    "validate",
    "word",
    "write_rows",
]
