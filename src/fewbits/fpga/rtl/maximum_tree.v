// The largest of N numbers, compared in pairs, then pairs of pairs, and so on.
//
//   terms    N unsigned numbers of WIDTH bits.
//   largest  WIDTH bits.
//
// Latency: $clog2(N) cycles, a new set of terms each cycle.
`default_nettype none

module maximum_tree #(
    parameter N = 32,
    parameter WIDTH = 9
) (
    input  wire               clk,
    input  wire [N*WIDTH-1:0] terms,
    output wire [WIDTH-1:0]   largest
);
    localparam LEAVES = 1 << $clog2(N);

    // Nodes as in adder_tree. Leaves without a term are 0.
    wire [2*LEAVES*WIDTH-1:0] node;
    assign node[WIDTH-1:0] = 0;
    assign node[LEAVES*WIDTH +: LEAVES*WIDTH] = terms;

    genvar k;
    generate
        for (k = 1; k < LEAVES; k = k + 1) begin : compare
            wire [WIDTH-1:0] left = node[2*k*WIDTH +: WIDTH];
            wire [WIDTH-1:0] right = node[(2*k+1)*WIDTH +: WIDTH];
            reg [WIDTH-1:0] greater;
            always @(posedge clk) greater <= (left > right) ? left : right;
            assign node[k*WIDTH +: WIDTH] = greater;
        end
    endgenerate

    assign largest = node[WIDTH +: WIDTH];
endmodule

`default_nettype wire
