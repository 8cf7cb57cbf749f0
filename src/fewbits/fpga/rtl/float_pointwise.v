// One output channel of a pointwise convolution with bias and ReLU in float32; ports as in pointwise, KIND and SOFT as
// in float_dot.
//
// Latency: 8 + 5 * $clog2(CHANNELS) cycles, 6 + 4 * $clog2(CHANNELS), or 10 + 2 * $clog2(CHANNELS); a new pixel each
// cycle.
`default_nettype none

module float_pointwise #(
    parameter CHANNELS = 32,
    parameter KIND = 0,
    parameter SOFT = 0
) (
    input  wire                   clk,
    input  wire [CHANNELS*32-1:0] x,
    input  wire [CHANNELS*32-1:0] weights,
    input  wire [31:0]            bias,
    output wire [31:0]            y
);
    wire [31:0] sum;

    float_dot #(.N(CHANNELS), .KIND(KIND), .SOFT(SOFT)) products (.clk(clk), .x(x), .weights(weights), .sum(sum));
    float_bias_relu #(.KIND(KIND)) finish (.clk(clk), .sum(sum), .bias(bias), .y(y));
endmodule

`default_nettype wire
