// The sum of N numbers, added in pairs, then pairs of pairs, and so on. It wraps around.
//
//   terms  N signed numbers of WIDTH bits, the first in the lowest bits.
//   sum    signed, WIDTH bits.
//
// Latency: $clog2(N) cycles, a new set of terms each cycle. One register after each adder.
`default_nettype none

module adder_tree #(
    parameter N = 32,
    parameter WIDTH = 32
) (
    input  wire               clk,
    input  wire [N*WIDTH-1:0] terms,
    output wire [WIDTH-1:0]   sum
);
    localparam LEAVES = 1 << $clog2(N);

    // Node 1 is the root, node k adds nodes 2k and 2k + 1, and the leaves are the last LEAVES nodes. Leaves without a
    // term are 0: adding 0 leaves a register, which keeps the other terms in step.
    wire [2*LEAVES*WIDTH-1:0] node;
    assign node[WIDTH-1:0] = 0;  // there is no node 0
    assign node[LEAVES*WIDTH +: LEAVES*WIDTH] = terms;

    genvar k;
    generate
        for (k = 1; k < LEAVES; k = k + 1) begin : add
            reg [WIDTH-1:0] total;
            always @(posedge clk) total <= node[2*k*WIDTH +: WIDTH] + node[(2*k+1)*WIDTH +: WIDTH];
            assign node[k*WIDTH +: WIDTH] = total;
        end
    endgenerate

    assign sum = node[WIDTH +: WIDTH];
endmodule

`default_nettype wire
