// N numbers, shifted by the exponent n1 of a layer: what all weights of the layer have in common.
//
//   x       N signed numbers of WIDTH bits.
//   amount  n1 + LOW, with LOW >= 0 the same for all layers: -LOW is the lowest n1.
//   y       floor(x * 2^n1), the low WIDTH + 7 bits of it. An element then shifts right by 0 to 7 places and keeps WIDTH
//           bits, so no bit that counts is lost.
//
// Latency: 1 cycle.
`default_nettype none

module preshift #(
    parameter N = 32,
    parameter WIDTH = 16,
    parameter LOW = 1,
    parameter AMOUNT = 3           // bits of `amount`
) (
    input  wire                   clk,
    input  wire [N*WIDTH-1:0]     x,
    input  wire [AMOUNT-1:0]      amount,
    output reg  [N*(WIDTH+7)-1:0] y
);
    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : lane
            wire signed [WIDTH-1:0] number = x[i*WIDTH +: WIDTH];
            wire signed [WIDTH+7+LOW-1:0] extended = number;
            wire [WIDTH+7+LOW-1:0] moved = extended << amount;
            always @(posedge clk) y[i*(WIDTH+7) +: WIDTH+7] <= moved[LOW +: WIDTH+7];
        end
    endgenerate
endmodule

`default_nettype wire
