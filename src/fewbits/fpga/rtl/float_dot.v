// N products of float32 numbers in parallel, and their sum by a tree of adders.
//
//   x, weights  N numbers each, the first in the lowest bits.
//
// KIND = 0: IEEE-754 units (float_multiply, float_add). KIND = 1: truncating_multiply and truncating_add. KIND = 2:
// fused_dot. The first SOFT multipliers are made of look-up tables, the others of multiplier blocks.
// Latency: 3 + 5 * $clog2(N) cycles, 2 + 4 * $clog2(N), or 6 + 2 * $clog2(N); a new set of inputs each cycle.
`default_nettype none

module float_dot #(
    parameter N = 32,
    parameter KIND = 0,
    parameter SOFT = 0
) (
    input  wire            clk,
    input  wire [N*32-1:0] x,
    input  wire [N*32-1:0] weights,
    output wire [31:0]     sum
);
    wire [N*32-1:0] terms;

    genvar i;
    generate
        if (KIND == 2) begin : fused
            fused_dot #(.N(N), .SOFT(SOFT)) compute (.clk(clk), .x(x), .weights(weights), .sum(sum));
        end else begin : pairs
            for (i = 0; i < N; i = i + 1) begin : lane
                if (KIND == 1) begin : truncating
                    truncating_multiply #(.SOFT(i < SOFT)) multiply (
                        .clk(clk), .a(x[i*32 +: 32]), .b(weights[i*32 +: 32]), .product(terms[i*32 +: 32])
                    );
                end else begin : rounding
                    float_multiply #(.SOFT(i < SOFT)) multiply (
                        .clk(clk), .a(x[i*32 +: 32]), .b(weights[i*32 +: 32]), .product(terms[i*32 +: 32])
                    );
                end
            end
            float_tree #(.N(N), .KIND(KIND)) tree (.clk(clk), .terms(terms), .sum(sum));
        end
    endgenerate
endmodule

`default_nettype wire
