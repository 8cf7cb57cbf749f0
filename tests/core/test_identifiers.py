"""Names of layers as identifiers: never equal, never a word of the language, short enough for any compiler."""

import re

import strategies  # noqa: F401  (loads the profile of the property tests)
from hypothesis import given
from hypothesis import strategies as st

from fewbits.core.identifiers import comment, identifiers


def test_by_hand():
    names = ["layer1.0.conv", "", "int", "größe", "a_b", "a.b"]
    assert identifiers(names, "s") == {
        "layer1.0.conv": "s0_layer1_0_conv",
        "": "s1",
        "int": "s2_int",
        "größe": "s3_gr_e",
        "a_b": "s4_a_b",
        "a.b": "s5_a_b",
    }
    assert comment("*/ x\n`größe` layer1.0 /*") == "__ x__gr__e_ layer1.0 __"


@given(st.lists(st.text() | st.sampled_from(["a.b", "a_b", "A_b", "x" * 99, "x" * 98]), unique=True))
def test_any_names(names):
    found = identifiers(names, "L")
    assert list(found) == names
    assert len({each.lower() for each in found.values()}) == len(names)
    assert all(re.fullmatch(r"L\d+(_\w{1,30})?", each, re.ASCII) for each in found.values())


@given(st.text())
def test_a_comment_stays_one(text):
    assert re.fullmatch(r"[A-Za-z0-9_ .:-]*", comment(text))
