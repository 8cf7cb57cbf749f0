// Registers for N numbers that stay while pixels flow through: the weights, or the biases, of a layer.
//
//   load   1 takes over `next`, and each number moves on by one place towards the lowest bits.
//   held   the last N numbers that were loaded, the first of them in the lowest bits.
//
// Latency: 1 cycle. N * BITS flip-flops and no other gate.
`default_nettype none

module weight_store #(
    parameter N = 1312,
    parameter BITS = 5
) (
    input  wire              clk,
    input  wire              load,
    input  wire [BITS-1:0]   next,
    output reg  [N*BITS-1:0] held
);
    always @(posedge clk) if (load) held <= {next, held[N*BITS-1:BITS]};
endmodule

`default_nettype wire
