"""What a product with a small floating point weight costs in an FPGA: E2M1 weights in blocks, 8-bit activations.

As the units of the map of methods, so that the two can be compared: 32 products and their sum, of look-up tables alone.
"""

import time

import pandas as pd

from fewbits import evidence
from fewbits.experiments.common import merge_rows, recorded
from fewbits.experiments.method_map.circuits import PRODUCTS
from fewbits.fpga.synthesis import Synthesis, rtl, synthesize

# E2M1's numbers, doubled, are 0, 1, 2, 3, 4, 6, 8 and 12, so a product is a choice between 0, x, 2x and 3x, shifted.
# The scale of a block is applied to the sum of its products. SCALE 0: none. 1: E8M0 for all 32 products, of which the
# lowest four bits count: 16 powers. 2: E4M3 for each 16 products, 4 bits of significand and a shift.
E2M1_DOT = """
module e2m1_dot #(
    parameter N = 32, parameter A = 8, parameter SCALE = 0,
    parameter BLOCK = SCALE == 2 ? 16 : N,
    parameter PRODUCT = A + 5, parameter SUM = PRODUCT + $clog2(BLOCK),
    parameter WIDE = SUM + (SCALE == 0 ? 0 : SCALE == 1 ? 15 : 19), parameter OUT = WIDE + $clog2(N / BLOCK)
) (
    input wire clk, input wire [N*A-1:0] x, input wire [N*4-1:0] weights, input wire [(N/BLOCK)*8-1:0] scales,
    output wire [OUT-1:0] sum
);
    genvar b, i;
    wire [(N/BLOCK)*OUT-1:0] scaled;
    generate for (b = 0; b < N / BLOCK; b = b + 1) begin : block
        wire [BLOCK*SUM-1:0] terms;
        for (i = 0; i < BLOCK; i = i + 1) begin : lane
            wire [A-1:0] value = x[(b*BLOCK+i)*A +: A];
            wire [3:0] code = weights[(b*BLOCK+i)*4 +: 4];
            wire [1:0] exponent = code[2:1];
            wire [A+1:0] significand = (code[0] ? value : 0) + (exponent == 0 ? 0 : {value, 1'b0});
            wire [PRODUCT-2:0] size = exponent < 2 ? significand : exponent == 2 ? {significand, 1'b0}
                                                                                : {significand, 2'b0};
            wire signed [PRODUCT-1:0] product = ({1'b0, size} ^ {PRODUCT{code[3]}}) + code[3];
            reg signed [SUM-1:0] term;
            always @(posedge clk) term <= product;
            assign terms[i*SUM +: SUM] = term;
        end
        wire signed [SUM-1:0] total;
        adder_tree #(.N(BLOCK), .WIDTH(SUM)) tree (.clk(clk), .terms(terms), .sum(total));
        wire [7:0] field = scales[b*8 +: 8];
        reg signed [OUT-1:0] result;
        if (SCALE == 0) begin : plain
            always @(*) result = total;
        end else if (SCALE == 1) begin : power
            wire signed [OUT-1:0] extended = total;
            always @(posedge clk) result <= extended <<< field[3:0];
        end else begin : number
            wire signed [4:0] significand = {1'b0, field[6:3] != 0, field[2:0]};
            reg signed [SUM+4:0] multiplied;
            reg [3:0] distance;
            wire signed [OUT-1:0] extended = multiplied;
            always @(posedge clk) begin
                multiplied <= total * significand;
                distance <= field[6:3] == 0 ? 0 : field[6:3] - 1;
                result <= extended <<< distance;
            end
        end
        assign scaled[b*OUT +: OUT] = result;
    end endgenerate
    generate if (N == BLOCK) begin : one
        assign sum = scaled;
    end else begin : several
        adder_tree #(.N(N/BLOCK), .WIDTH(OUT)) tree (.clk(clk), .terms(scaled), .sum(sum));
    end endgenerate
endmodule
"""
UNITS = {"E2M1 × 8 bits": 0, "MXFP4 × 8 bits": 1, "NVFP4 × 8 bits": 2}


def synthesize_unit(name: str) -> Synthesis:
    """The circuit of one unit, without multiplier blocks.

    Raises:
        ValueError: there is no such unit.
    """
    if name not in UNITS:
        raise ValueError(f"unknown unit {name!r}; there are {list(UNITS)}")
    return synthesize("e2m1_dot", {"N": PRODUCTS, "SCALE": UNITS[name]}, sources=sources(), dsp=False)


def sources() -> dict[str, str]:
    """The circuit, and the tree of adders of the package."""
    return {"e2m1_dot.v": E2M1_DOT, "adder_tree.v": rtl()["adder_tree.v"]}


def measure_units(command: str) -> None:
    """Write ``compensation_units.csv``: look-up tables of 32 products with their sum; what is there stays."""
    for name in UNITS:
        if (recorded("compensation_units", ["unit"]).unit == name).any():
            continue
        started = time.perf_counter()
        found = synthesize_unit(name)
        row = {"unit": name, "LUT": found.luts, "packed_LUT": found.packed_luts, "FF": found.flip_flops}
        spent = time.perf_counter() - started
        print(row, flush=True)
        merge_rows("compensation_units", evidence.stamped(pd.DataFrame([row]), command, spent), ["unit"])
