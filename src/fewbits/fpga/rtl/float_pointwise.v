// One output channel of a pointwise convolution with bias and ReLU in IEEE-754 single precision; ports as in pointwise.
//
// Latency: 8 + 5 * $clog2(CHANNELS) cycles, a new pixel each cycle.
`default_nettype none

module float_pointwise #(
    parameter CHANNELS = 32
) (
    input  wire                   clk,
    input  wire [CHANNELS*32-1:0] x,
    input  wire [CHANNELS*32-1:0] weights,
    input  wire [31:0]            bias,
    output wire [31:0]            y
);
    wire [31:0] sum;

    float_dot #(.N(CHANNELS)) products (.clk(clk), .x(x), .weights(weights), .sum(sum));
    float_bias_relu finish (.clk(clk), .sum(sum), .bias(bias), .y(y));
endmodule

`default_nettype wire
