"""Papers by the names that readers know: "Jacob et al. 2018" for the key ``jacob2018`` (see `fewbits.evidence`)."""

import functools

from fewbits.core.extras import extra
from fewbits.core.files import checkout


def paper_name(key: str) -> str:
    """Authors and year of a paper of ``book/references.bib``; the key itself if it has none, or outside a checkout."""
    return names().get(key, key)


@functools.cache
def names() -> dict[str, str]:
    """The name of each paper in ``book/references.bib``; empty outside a checkout, which has that file."""
    # Imported here: it takes a moment, and only a table of claims needs it.
    with extra("book"):
        from pybtex.database import parse_file
        from pybtex.richtext import Text
    try:
        entries = parse_file(checkout() / "book" / "references.bib").entries
    except FileNotFoundError:
        return {}
    found = {}
    for key, entry in entries.items():
        authors = [str(Text.from_latex(" ".join(person.last_names))) for person in entry.persons["author"]]
        joined = " and ".join(authors) if len(authors) < 3 else f"{authors[0]} et al."
        found[key] = f"{joined} {entry.fields['year']}"
    return found
