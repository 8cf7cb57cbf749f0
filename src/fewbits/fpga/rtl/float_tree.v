// The sum of N float32 numbers, added in pairs, then pairs of pairs, and so on.
//
//   terms  N numbers, the first in the lowest bits. One without a partner waits as long as the adder takes.
//
// KIND as in float_sum.
//
// Latency: 5 * $clog2(N) cycles, or 4 * $clog2(N) if KIND > 0; a new set of terms each cycle.
`default_nettype none

module float_tree #(
    parameter N = 32,
    parameter KIND = 0
) (
    input  wire            clk,
    input  wire [N*32-1:0] terms,
    output wire [31:0]     sum
);
    localparam LEVELS = $clog2(N);
    localparam CYCLES = KIND ? 4 : 5;  // of an adder
    localparam LEAVES = 1 << LEVELS;

    // Node 1 is the root, node k adds nodes 2k and 2k + 1, and the leaves are the last LEAVES nodes.
    wire [2*LEAVES*32-1:0] node;
    assign node[LEAVES*32 +: LEAVES*32] = terms;

    genvar level, k;
    generate
        for (level = 1; level <= LEVELS; level = level + 1) begin : stage
            for (k = 0; k < (LEAVES >> level); k = k + 1) begin : pair
                // The first leaves below the two children are numbers 2k and 2k + 1, times the leaves of a child.
                localparam SELF = (LEAVES >> level) + k;
                if (((2*k+1) << (level-1)) < N) begin : both
                    float_sum #(.KIND(KIND)) add (
                        .clk(clk), .a(node[2*SELF*32 +: 32]), .b(node[(2*SELF+1)*32 +: 32]), .sum(node[SELF*32 +: 32])
                    );
                end else if (((2*k) << (level-1)) < N) begin : left_only
                    delay #(.CYCLES(CYCLES), .WIDTH(32)) hold (
                        .clk(clk), .x(node[2*SELF*32 +: 32]), .y(node[SELF*32 +: 32])
                    );
                end else begin : none
                    assign node[SELF*32 +: 32] = 32'd0;
                end
            end
        end
    endgenerate

    assign sum = node[32 +: 32];
endmodule

`default_nettype wire
