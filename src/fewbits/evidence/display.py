"""Claims on a page: the table of a chapter and the numbers in its prose (see `fewbits.evidence`)."""

import html
import math
from collections import Counter
from collections.abc import Sequence

from fewbits.core.extras import extra
from fewbits.evidence.citations import paper_name
from fewbits.evidence.claims import Claim, Part
from fewbits.evidence.intervals import EXACT, centre, ends
from fewbits.evidence.records import load
from fewbits.evidence.verdicts import OWN_WORDS, SYMBOLS, WORDS, agrees, holds

_CELL = "text-align: left; vertical-align: top"
_HEADINGS = ("word", "claim", "paper", "here, 95 %", "runs", "scale")
_COLUMNS = _HEADINGS[:4]  # of a page, where runs and scale stand below what came out here
_UNFOLDED = 10  # rows of a table before the fold
_FEW = 2  # rows that are too few for a fold
_SCALES = ("full", "reduced", "notebook", None)  # as pages sort them
# Chapters as the side bar names them.
TITLES = {
    "uniform": "Uniform grids",
    "binary": "Binary networks",
    "ternary": "Ternary networks",
    "low_bitwidth": "Low bit widths",
    "learned_step": "Learned step size",
    "logarithmic": "Logarithmic grids",
    "inq": "INQ",
    "mobileone": "MobileOne",
    "mixed_precision": "Mixed precision",
    "vector": "Shared weights",
    "bn_folding": "Batch norm folding",
    "compensation": "Compensation",
    "integer": "Integer-only networks",
    "bitwise": "Bit operations on a CPU",
    "fpga": "Shifts and additions",
    "fpga_gates": "From integers to gates",
    "fpga_network": "A network on one chip",
    "real_network": "A real network",
    "method_map": "The map of methods",
    "noise": "Noise",
}
# Background and text of the badge of a word. Both are given, so that a badge reads the same on light and dark pages.
_GREEN, _SAND, _GREY = ("#d7f0dd", "#0b4a21"), ("#fdeccb", "#5c3a00"), ("#e4e6ea", "#333a44")
_ORANGE, _RED, _BLUE = ("#fbdcc4", "#6b2a00"), ("#f9d9dc", "#7a0c1b"), ("#dbe7f8", "#123a6b")
_BADGES = {
    "reproduced": _GREEN,
    "carries over": _SAND,
    "undecided": _GREY,
    "does not carry over": _ORANGE,
    "not reproduced": _RED,
    "cited": _GREY,
    "holds": _BLUE,
    "does not hold": _BLUE,
}


def table(claims: str | list[Claim], *, details: bool = False) -> "ClaimsTable":
    """The table "Paper and here": one row a claim, as HTML in Jupyter and as aligned text elsewhere.

    A page shows the first ten claims, and the others in a fold below them.

    Args:
        claims: the name of a chapter, whose claims are shown in the order of `by_weight`, or claims in their order.
        details: show below each claim its id, what its runs are, the band and the two answers of each part, the
            difference from the paper's number, and every departure from the paper's protocol. There is then a fold for
            each chapter, and in the built book a filter.
    """
    return ClaimsTable(by_weight(load(claims)) if isinstance(claims, str) else claims, details)


def overview(claims: list[Claim]) -> "PapersTable":
    """What became of the claims that the papers are known for: the headlines among ``claims``, one row a paper."""
    return PapersTable([claim for claim in claims if claim.get("headline")])


def by_weight(claims: list[Claim]) -> list[Claim]:
    """``claims`` as an outsider reads them: headlines first, then what papers claim, the larger scale first."""
    words = [*WORDS, *OWN_WORDS]

    def weight(claim: Claim) -> tuple:
        scale = _SCALES.index(claim.get("scale"))
        return not claim.get("headline"), claim["kind"] == "own", scale, words.index(claim["word"]), claim["id"]

    return sorted(claims, key=weight)


class ClaimsTable:
    """Claims that display themselves; the same claims always give the same HTML and the same text."""

    def __init__(self, claims: list[Claim], details: bool = False):
        self.claims, self.details = claims, details

    def __repr__(self) -> str:
        lines = [_HEADINGS, *(_cells(claim) for claim in self.claims)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
        lines.insert(1, tuple("-" * width for width in widths))
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        if self.details:
            chapters = dict.fromkeys(claim["id"].partition("/")[0] for claim in self.claims)
            return "\n".join(map(self._chapter, sorted(chapters, key=_place)))
        shown = len(self.claims) if len(self.claims) <= _UNFOLDED + _FEW else _UNFOLDED
        pieces = [self._table(self.claims[:shown])]
        if rest := self.claims[shown:]:
            pieces.append(_fold("claims-more", f"{len(rest)} more claims: {_counts(rest)}", self._table(rest)))
        return "\n".join(pieces)

    def _chapter(self, chapter: str) -> str:
        """The fold of one chapter."""
        claims = [claim for claim in self.claims if claim["id"].partition("/")[0] == chapter]
        number = f"{len(claims)} claims" if len(claims) > 1 else "1 claim"
        said = f"<strong>{html.escape(TITLES.get(chapter, chapter))}</strong> {number}: {_counts(claims)}"
        return _fold("claims-chapter", said, self._table(claims))

    def _table(self, claims: list[Claim]) -> str:
        rows = [f"<tr {_attributes(claim)}>{_html_cells(claim, self.details)}</tr>" for claim in claims]
        return _html_table("claims", _COLUMNS, rows)


def _html_table(name: str, headings: Sequence[str], rows: list[str]) -> str:
    # The class "dataframe" is what the book's theme styles, in light and in dark.
    head = "".join(f'<th scope="col" style="{_CELL}">{heading}</th>' for heading in headings)
    body = "\n".join(rows)
    return f'<table class="dataframe {name}">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>'


def _fold(name: str, summary: str, content: str) -> str:
    return f'<details class="{name}"><summary>{summary}</summary>\n{content}\n</details>'


def _counts(claims: list[Claim]) -> str:
    """How many claims have which word: "reproduced 5, undecided 2"."""
    found = Counter(claim["word"] for claim in claims)
    return ", ".join(f"{word} {found[word]}" for word in {**WORDS, **OWN_WORDS} if word in found)


def _place(chapter: str) -> tuple[int, str]:
    """Chapters in the order of the book; one that it does not have comes last."""
    return (list(TITLES).index(chapter) if chapter in TITLES else len(TITLES)), chapter


class PapersTable:
    """Claims by paper, one row a paper; the same claims always give the same HTML and the same text."""

    def __init__(self, claims: list[Claim]):
        self.papers: dict[str, list[Claim]] = {}
        for claim in sorted(claims, key=lambda claim: (claim["paper"]["key"], claim["id"])):
            self.papers.setdefault(claim["paper"]["key"], []).append(claim)

    def __repr__(self) -> str:
        return "\n".join(
            f"{paper_name(key)}\n" + "\n".join(f"  {SYMBOLS[c['word']]} {c['word']}: {c['statement']}" for c in found)
            for key, found in self.papers.items()
        )

    def _repr_html_(self) -> str:
        rows = [
            f'<tr><th scope="row" style="{_CELL}">{_cite(key)}</th>'
            f'<td style="{_CELL}">{"".join(map(_line, found))}</td></tr>'
            for key, found in self.papers.items()
        ]
        return _html_table("papers", ("paper", "what became of it"), rows)


def _cite(key: str) -> str:
    """A paper by its name; the build of the book makes it a link to the paper's entry in the references."""
    return f'<cite data-paper="{html.escape(key)}">{html.escape(paper_name(key))}</cite>'


def _line(claim: Claim) -> str:
    """One claim of a paper: its word, the statement, both numbers, and below them why it may fail here."""
    numbers = [f"paper {_paper(claim)[0]}"] + ([f"here {'; '.join(_here(claim))}"] if claim["parts"] else [])
    said = f"{html.escape(claim['statement'])} <small>({html.escape(', '.join(numbers))})</small>{_why(claim)}"
    return f'<div style="margin-bottom: 0.4em">{_badge(claim)} {said}</div>'


def _why(claim: Claim) -> str:
    """Of a claim that does not carry over: the first departure that could explain it, and how many more there are."""
    if claim["word"] != "does not carry over":
        return ""
    first, *others = [item["what"].rstrip(".") for item in claim["departs"] if item["could_explain"]]
    more = f" (and {len(others)} more)" if others else ""
    return f'<br><small class="claim-why">departs: {html.escape(first)}{more}</small>'


def _badge(claim: Claim) -> str:
    background, colour = _BADGES[claim["word"]]
    style = f"background: {background}; color: {colour}; padding: 0.1em 0.4em; white-space: nowrap"
    word = f"{SYMBOLS[claim['word']]} {claim['word']}"
    return f'<span class="verdict verdict-{claim["word"].replace(" ", "-")}" style="{style}">{word}</span>'


def glue_claims(chapter: str) -> None:
    """Make the numbers of a chapter's claims available to its prose, as ``{glue:text}`mobileone/drop``` and so on.

    Keys, for a claim with id ``<id>`` (a key whose number the claim lacks is left out, so using it breaks the build):

    - ``<id>``: the number of its first part; with two runs or more rounded to the digits that its spread leaves
    - ``<id>.spread``: half-width of the 95 % interval
    - ``<id>.text``: number, spread and unit, "0.90 ± 0.25 pt"
    - ``<id>.runs``: number of independent runs
    - ``<id>.paper``: the paper's value
    - ``<id>.word``: the word

    The first three are there for every named part as well, as ``<id>.<name>``, ``<id>.<name>.spread``, …, with hyphens
    for the spaces of the name. The separator is a dot because myst-nb takes what follows a colon for a format. From
    another page the format is needed: ``{glue:text}`mobileone.ipynb::mobileone/drop:s```.
    """
    # Imported here: it takes a second, and only a notebook needs it.
    with extra("book"):
        from myst_nb import glue

    for claim in load(chapter):
        for suffix, text in _prose(claim).items():
            glue(claim["id"] + suffix, text, display=False)


def _prose(claim: Claim) -> dict[str, str]:
    texts = {".word": claim["word"]}
    if "paper" in claim:
        texts[".paper"] = _number(claim["paper"]["value"])
    measured = [part for part in claim["parts"] if part["values"]]
    for index, part in enumerate(measured):
        prefixes = [""] if index == 0 else []
        prefixes += [f".{part['name'].replace(' ', '-')}"] if "name" in part else []
        value, spread = _value_and_spread(part)
        for prefix in prefixes:
            texts |= {prefix: value, f"{prefix}.text": _measured(part)}
            texts |= {f"{prefix}.spread": spread} if spread else {}
    if _runs(claim):
        texts[".runs"] = _runs(claim)
    return texts


def _cells(claim: Claim) -> tuple[str, ...]:
    value, where = _paper(claim)
    source = f" · {paper_name(claim['paper']['key'])}, {where}" if where else ""
    here = "; ".join(_here(claim))
    badge = f"{SYMBOLS[claim['word']]} {claim['word']}"
    return badge, claim["statement"], value + source, here, _runs(claim), claim.get("scale", "")


def _html_cells(claim: Claim, details: bool) -> str:
    statement, (value, where) = html.escape(claim["statement"]), map(html.escape, _paper(claim))
    paper = f"{value}<br><small>{_cite(claim['paper']['key'])}, {where}</small>" if where else value
    here = "<br>".join(map(html.escape, _here(claim)))
    runs = _runs(claim)
    below = [f"{runs} {'run' if runs == '1' else 'runs'}"] if runs not in ("", "0") else []
    below += [f"{claim['scale']} scale"] if "scale" in claim else []
    here += f"<br><small>{', '.join(below)}</small>" if below else ""
    if details:
        answered, protocol = ("".join(f"<br>{html.escape(line)}" for line in lines) for lines in _details(claim))
        name = f'<span class="claim-id">{html.escape(claim["id"])}</span>'
        statement += f"<br><small>{name}{answered}</small>"
        if protocol:
            statement += _fold("claim-runs", "runs and departures", protocol[4:])
    cells = zip(_COLUMNS, (_badge(claim), statement, paper, here), strict=True)
    return "".join(f'<td data-label="{name}" style="{_CELL}">{cell}</td>' for name, cell in cells)


def _attributes(claim: Claim) -> str:
    """What the filter of the built page reads."""
    return f'data-kind="{claim["kind"]}" data-scale="{claim.get("scale", "")}"'


def _details(claim: Claim) -> tuple[list[str], list[str]]:
    """The answers of each part, and what stands behind them: runs, code paths, departures, reason."""
    answered, protocol = [], [f"independent: {claim['independent']}"] if "independent" in claim else []
    for part in claim["parts"]:
        name = f"{part['name']}: " if "name" in part else ""
        answered.append(f"{name}holds if {_band(part)}: {holds(part)}")
        if "agrees" in part and part["values"]:
            value, margin = part["agrees"]["value"], part["agrees"]["margin"]
            away = _with_unit(f"{'+' if centre(part) >= value else ''}{_number(centre(part) - value)}", part)
            answered.append(f"{name}{away} from the paper's {_number(value)}; within {_number(margin)}: {agrees(part)}")
        if "path" in part:
            protocol.append(f"{name}{part['path']}, {part['processor']}")
        if "method" in part:
            protocol.append(f"{name}interval: {part['method']}")
    if "band" in claim:
        when = "before" if claim["band"]["before_run"] else "after"
        protocol.append(f"band set {when} the runs, {claim['band']['commit'][:7]}")
    for item in claim["departs"]:
        protocol.append(f"departs: {item['what']}" + ("" if item["could_explain"] else " (harmless)"))
    return answered, protocol + ([f"reason: {claim['reason']}"] if "reason" in claim and claim["parts"] else [])


def _band(part: Part) -> str:
    low, high = part["holds"].get("min"), part["holds"].get("max")
    if low == high:
        return f"= {_number(low)}"
    if low is None or high is None:
        return f"≥ {_number(low)}" if high is None else f"≤ {_number(high)}"
    return f"{_number(low)} to {_number(high)}"


def _paper(claim: Claim) -> tuple[str, str]:
    """The paper's value with its unit, and where it stands in the paper."""
    if "paper" not in claim:
        return "–", ""
    return _with_unit(_number(claim["paper"]["value"]), claim["paper"]), claim["paper"]["where"]


def _here(claim: Claim) -> list[str]:
    """One line a part: what came out here. Parts that were not run share a line if others were."""
    if not claim["parts"]:
        return [f"not run: {claim['reason']}"]
    done = [part for part in claim["parts"] if part["values"]]
    if not done:
        return ["not run yet"]
    lines = [(f"{part['name']}: " if "name" in part else "") + _measured(part) for part in done]
    missing = len(claim["parts"]) - len(done)
    return lines + ([f"{missing} of {len(claim['parts'])} parts not run yet"] if missing else [])


def _measured(part: Part) -> str:
    if not part["values"]:
        return "not run yet"
    value, spread = _value_and_spread(part)
    if not spread:
        return _with_unit(value, part)
    return _with_unit(f"{value} ({spread})" if "to" in spread else f"{value} ± {spread}", part)


def _runs(claim: Claim) -> str:
    counts = {len(part["values"]) for part in claim["parts"] if part["type"] not in EXACT}
    return "–".join(map(str, sorted({min(counts), max(counts)}))) if counts else ""


def _with_unit(text: str, holder: dict) -> str:
    return f"{text} {holder['unit']}" if holder.get("unit") else text


def _value_and_spread(part: Part) -> tuple[str, str]:
    """The number of a part, and the half-width of its interval, or "low to high" where that is not symmetric."""
    middle, (low, high) = centre(part), ends(part)
    if part["type"] in EXACT or math.isnan(low):
        value = part["values"][0] if len(set(part["values"])) == 1 else middle
        return _minus(f"{value:.3g}") if part["type"] == "speed" and abs(value) < 1000 else _number(value), ""
    half = (high - low) / 2
    if half < 1e-9 * max(1.0, abs(middle)):
        return _number(middle), "0"
    # Two digits of the half-width, and the centre to the same place; of a speed, three digits at most.
    decimals = max(0, 1 - math.floor(math.log10(half)))
    if part["type"] == "speed":
        decimals = min(decimals, max(0, 2 - math.floor(math.log10(abs(middle)))))
    shown = _minus(f"{middle:,.{decimals}f}")
    if abs(middle - low - half) < 1e-6 * half:
        return shown, f"{half:,.{decimals}f}"
    return shown, f"{_minus(f'{low:,.{decimals}f}')} to {_minus(f'{high:,.{decimals}f}')}"


def _number(value: float | str | None) -> str:
    """Four significant digits; whole numbers and numbers from 1000 up in full, with thousands separated."""
    if value is None or isinstance(value, str):
        return value or ""
    return _minus(f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}")


def _minus(number: str) -> str:
    return number.replace("-", "−") if "e" not in number else number
