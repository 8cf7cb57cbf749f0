"""The Verilog of the package uses no word that SystemVerilog reserves: tools that read that take it as well."""

import re

import pytest

from fewbits.fpga.synthesis import rtl

# Words that IEEE 1800-2017 reserves and IEEE 1364-2005 does not.
WORDS = """
accept_on alias always_comb always_ff always_latch assert assume before bind bins binsof bit break byte chandle
checker class clocking const constraint context continue cover covergroup coverpoint cross dist do endchecker endclass
endclocking endgroup endinterface endpackage endprogram endproperty endsequence enum eventually expect export extends
extern final first_match foreach forkjoin global iff ignore_bins illegal_bins implements implies import inside int
interconnect interface intersect join_any join_none let local logic longint matches modport nettype new nexttime null
package packed priority program property protected pure rand randc randcase randsequence ref reject_on restrict return
s_always s_eventually s_nexttime s_until s_until_with sequence shortint shortreal soft solve static string strong
struct super sync_accept_on sync_reject_on tagged this throughout timeprecision timeunit type typedef union unique
unique0 until until_with untyped uwire var virtual void wait_order weak wildcard with within
"""
SYSTEMVERILOG = set(WORDS.split())


def reserved(text: str) -> set[str]:
    """Words of Verilog, comments and strings left out, that SystemVerilog reserves."""
    code = re.sub(r'//[^\n]*|/\*.*?\*/|"[^"\n]*"', " ", text, flags=re.DOTALL)
    return set(re.findall(r"(?<![\w$`'])[A-Za-z_][\w$]*", code)) & SYSTEMVERILOG


@pytest.mark.parametrize("name", sorted(rtl()))
def test_no_word_of_systemverilog(name):
    assert reserved(rtl()[name]) == set()


def test_the_check_sees_a_bad_case():
    assert reserved("wire before = 1; // inside\n") == {"before"}
    assert reserved('/* bit */ reg [3:0] first; initial $display("type"); always @(*) x = 4\'do1;') == set()
    assert reserved("module m (input logic a); endmodule") == {"logic"}
