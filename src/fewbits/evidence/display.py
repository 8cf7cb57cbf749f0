"""Claims on a page: the table of a chapter and the numbers in its prose (see `fewbits.evidence`)."""

import html
import math

from fewbits.core.extras import extra
from fewbits.evidence.claims import SYMBOLS, Claim, interval, runs
from fewbits.evidence.records import load

_CELL = "padding: 0.3em 0.6em; text-align: left; vertical-align: top"
_HEADINGS = ("claim", "paper", "here", "seeds", "scale", "verdict")
# Background and text of the verdict badge. Both are given, so that a badge reads the same on light and dark pages.
_BADGES = {
    "reproduced": ("#d7f0dd", "#0b4a21"),
    "trend only": ("#fdeccb", "#5c3a00"),
    "not reproduced": ("#f9d9dc", "#7a0c1b"),
    "cited": ("#e4e6ea", "#333a44"),
}


def table(claims: str | list[Claim], *, ids: bool = False) -> "ClaimsTable":
    """The table "Paper and here": one row a claim, as HTML in Jupyter and as aligned text elsewhere.

    Args:
        claims: the name of a chapter, or claims as `load` returns them, in the order to show.
        ids: show the id of each claim below it, "chapter/name". In the built book such a table has a filter.
    """
    return ClaimsTable(load(claims) if isinstance(claims, str) else claims, ids)


class ClaimsTable:
    """Claims that display themselves; the same claims always give the same HTML and the same text."""

    def __init__(self, claims: list[Claim], ids: bool = False):
        self.claims, self.ids = claims, ids

    def __repr__(self) -> str:
        lines = [_HEADINGS, *(_cells(claim) for claim in self.claims)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
        lines.insert(1, tuple("-" * width for width in widths))
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="{_CELL}">{heading}</th>' for heading in _HEADINGS)
        body = "".join(f"<tr>{_html_cells(claim, self.ids)}</tr>\n" for claim in self.claims)
        # The class "dataframe" is what the book's theme styles, in light and in dark.
        return f'<table class="dataframe claims">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>'


def glue_claims(chapter: str) -> None:
    """Make the numbers of a chapter's claims available to its prose, as ``{glue:text}`mobileone/drop``` and so on.

    Keys, for a claim with id ``<id>`` (a key whose number the claim lacks is left out, so using it breaks the build):

    - ``<id>``: our value; with two seeds or more their mean, rounded to the digits that its spread leaves
    - ``<id>.spread``: half-width of the 95 % interval over seeds
    - ``<id>.text``: value, spread and unit, "0.90 ± 0.25 pt"
    - ``<id>.seeds``: number of seeds
    - ``<id>.paper``: the paper's value
    - ``<id>.verdict``: the verdict in words

    The separator is a dot because myst-nb takes what follows a colon for a format. From another page the format is
    needed: ``{glue:text}`mobileone.ipynb::mobileone/drop:s```.
    """
    # Imported here: it takes a second, and only a notebook needs it.
    with extra("book"):
        from myst_nb import glue

    for claim in load(chapter):
        for suffix, text in _prose(claim).items():
            glue(claim["id"] + suffix, text, display=False)


def _prose(claim: Claim) -> dict[str, str]:
    texts = {".verdict": claim["verdict"]}
    if "paper" in claim:
        texts[".paper"] = _number(claim["paper"]["value"])
    if "ours" in claim:
        value, spread = _value_and_spread(claim)
        texts |= {"": value, ".text": _here(claim)}
        if spread:
            texts[".spread"] = spread
        if _seeds(claim):
            texts[".seeds"] = _seeds(claim)
    return texts


def _cells(claim: Claim) -> tuple[str, ...]:
    scale = claim["ours"]["scale"] if "ours" in claim else ""
    badge = f"{SYMBOLS[claim['verdict']]} {claim['verdict']}"
    return claim["statement"], " · ".join(filter(None, _paper(claim))), _here(claim), _seeds(claim), scale, badge


def _html_cells(claim: Claim, with_id: bool) -> str:
    statement, _, here, seeds, scale, badge = map(html.escape, _cells(claim))
    value, source = map(html.escape, _paper(claim))
    background, colour = _BADGES[claim["verdict"]]
    style = f"background: {background}; color: {colour}; padding: 0.1em 0.4em; white-space: nowrap"
    name = claim["verdict"].replace(" ", "-")
    badge = f'<span class="verdict verdict-{name}" style="{style}">{badge}</span>'
    paper = f"{value}<br><small>{source}</small>" if source else value
    if with_id:
        statement += f'<br><small class="claim-id">{html.escape(claim["id"])}</small>'
    return "".join(f'<td style="{_CELL}">{cell}</td>' for cell in (statement, paper, here, seeds, scale, badge))


def _paper(claim: Claim) -> tuple[str, str]:
    """The paper's value with its unit, and where it stands."""
    if "paper" not in claim:
        return "–", ""
    paper = claim["paper"]
    return _with_unit(_number(paper["value"]), paper), f"{paper['key']}, {paper['where']}"


def _here(claim: Claim) -> str:
    if "ours" not in claim:
        return f"not run: {claim['reason']}"
    value, spread = _value_and_spread(claim)
    return _with_unit(f"{value} ± {spread}" if spread else value, claim["ours"])


def _seeds(claim: Claim) -> str:
    ours = claim.get("ours", {})
    count = len(ours.get("values", ours.get("seeds", [])))
    return str(count) if count else ""


def _with_unit(text: str, holder: dict) -> str:
    return f"{text} {holder['unit']}" if holder.get("unit") else text


def _value_and_spread(claim: Claim) -> tuple[str, str]:
    ours = claim["ours"]
    mean, half = interval(runs(ours))
    if math.isnan(half):
        return _number(runs(ours)[0]), ""
    if half < 1e-9 * max(1.0, abs(mean)):
        return _number(mean), "0"
    # Two digits of the half-width, and the mean to the same place.
    decimals = max(0, 1 - math.floor(math.log10(half)))
    return _minus(f"{mean:,.{decimals}f}"), f"{half:,.{decimals}f}"


def _number(value: float | str) -> str:
    """Four significant digits; whole numbers and numbers from 1000 up in full, with thousands separated."""
    if isinstance(value, str):
        return value
    return _minus(f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}")


def _minus(number: str) -> str:
    return number.replace("-", "−") if "e" not in number else number
