// One element of the array: a number times a weight's field, but for the 1 that a negation adds.
//
//   x         a number that `preshift` has shifted by the layer's n1; WIDTH + 7 bits.
//   code      the field of an INQ code, {sign, e}: e = 0 is the weight 0, e = 1 .. 8 is 2^(n1 + e - 8).
//   term      WIDTH bits: x shifted right by 8 - e places, inverted if the weight is negative. -s is ~s + 1: whoever adds
//             the terms adds `negative` too, as the carry of an adder (carry_tree). Exact modulo 2^WIDTH.
//
// Latency: 1 cycle.
`default_nettype none

module shift_term #(
    parameter WIDTH = 16
) (
    input  wire             clk,
    input  wire [WIDTH+6:0] x,
    input  wire [4:0]       code,
    output reg  [WIDTH-1:0] term,
    output reg              negative
);
    wire [2:0] distance = -code[2:0];  // 8 - e is -e modulo 8
    wire [WIDTH+6:0] moved = x >> distance;

    always @(posedge clk) begin
        term <= (moved[WIDTH-1:0] ^ {WIDTH{code[4]}}) & {WIDTH{code[3:0] != 0}};
        negative <= code[4];
    end
endmodule

`default_nettype wire
