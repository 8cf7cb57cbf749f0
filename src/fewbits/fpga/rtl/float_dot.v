// N products of IEEE-754 single precision numbers in parallel, and their sum by a tree of adders.
//
//   x, weights  N numbers each, the first in the lowest bits.
//
// Latency: 3 + 5 * $clog2(N) cycles, a new set of inputs each cycle.
`default_nettype none

module float_dot #(
    parameter N = 32
) (
    input  wire            clk,
    input  wire [N*32-1:0] x,
    input  wire [N*32-1:0] weights,
    output wire [31:0]     sum
);
    wire [N*32-1:0] terms;

    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : lane
            float_multiply multiply (
                .clk(clk), .a(x[i*32 +: 32]), .b(weights[i*32 +: 32]), .product(terms[i*32 +: 32])
            );
        end
    endgenerate

    float_tree #(.N(N)) tree (.clk(clk), .terms(terms), .sum(sum));
endmodule

`default_nettype wire
