"""Names of layers as identifiers of C and Verilog, and as names of files."""

import re
from collections.abc import Iterable

_LONGEST = 30  # a compiler of C99 has to tell names apart by their first 63 characters only


def identifiers(names: Iterable[str], letter: str) -> dict[str, str]:
    """An identifier for each name: ``letter``, the place in the list, and what of the name may stand in one.

    No two are equal, not even where upper and lower case are the same, and none is a word of the language: the place
    sees to that. "layer1.0.conv" in the third place becomes ``s2_layer1_0_conv`` with the letter s.
    """
    plain = {name: re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[:_LONGEST] for name in names}
    return {name: f"{letter}{place}_{rest}".rstrip("_") for place, (name, rest) in enumerate(plain.items())}


def comment(text: str) -> str:
    """``text`` as it may stand in a comment: other characters than letters, digits, space and ``._:-`` become "_"."""
    return re.sub(r"[^\w .:-]", "_", text, flags=re.ASCII)
