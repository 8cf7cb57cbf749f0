// The sum of N terms, added in pairs, and of a carry into each adder. It wraps around.
//
//   terms  N numbers of WIDTH bits, the first in the lowest bits.
//   ones   N bits that are added too: bit i is the carry into adder i + 1. There is one adder less than terms if N is a
//          power of two; the last bit is then left out, and somebody else has to add it.
//   sum    WIDTH bits.
//
// Latency: $clog2(N) cycles, a new set of terms each cycle. One register after each adder.
`default_nettype none

module carry_tree #(
    parameter N = 16,
    parameter WIDTH = 16
) (
    input  wire               clk,
    input  wire [N*WIDTH-1:0] terms,
    input  wire [N-1:0]       ones,
    output wire [WIDTH-1:0]   sum
);
    localparam LEVELS = $clog2(N);
    localparam LEAVES = 1 << LEVELS;

    // As in adder_tree: node 1 is the root, node k adds nodes 2k and 2k + 1, and the leaves are the last LEAVES nodes.
    wire [2*LEAVES*WIDTH-1:0] node;
    assign node[WIDTH-1:0] = 0;  // there is no node 0
    assign node[LEAVES*WIDTH +: LEAVES*WIDTH] = terms;

    genvar k;
    generate
        for (k = 1; k < LEAVES; k = k + 1) begin : add
            // The carry waits until the terms have come up to its adder.
            wire carry;
            if (k <= N) begin : real_one
                delay #(.CYCLES(LEVELS - $clog2(k + 1))) wait_for_terms (.clk(clk), .x(ones[k-1]), .y(carry));
            end else begin : no_one
                assign carry = 0;
            end
            reg [WIDTH:0] total;  // its lowest bit only makes the carry
            always @(posedge clk)
                total <= {node[2*k*WIDTH +: WIDTH], 1'b1} + {node[(2*k+1)*WIDTH +: WIDTH], carry};
            assign node[k*WIDTH +: WIDTH] = total[WIDTH:1];
        end
    endgenerate

    assign sum = node[WIDTH +: WIDTH];
endmodule

`default_nettype wire
