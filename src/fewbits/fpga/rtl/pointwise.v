// One output channel of a pointwise convolution with bias and ReLU: CHANNELS multipliers in parallel.
//
//   x        one pixel: CHANNELS signed numbers of WIDTH bits, channel 0 in the lowest bits.
//   weights  CHANNELS; their format is that of dot.
//   bias, y  signed, WIDTH bits.
//
// Latency: 3 + $clog2(CHANNELS) cycles, a new pixel each cycle.
`default_nettype none

module pointwise #(
    parameter CHANNELS = 32,
    parameter SHIFT = 1,
    parameter WIDTH = 32,
    parameter EXPONENTS = 8,
    parameter WEIGHT_BITS = SHIFT ? 5 : WIDTH
) (
    input  wire                            clk,
    input  wire [CHANNELS*WIDTH-1:0]       x,
    input  wire [CHANNELS*WEIGHT_BITS-1:0] weights,
    input  wire [WIDTH-1:0]                bias,
    output wire [WIDTH-1:0]                y
);
    wire [WIDTH-1:0] sum;

    dot #(.N(CHANNELS), .SHIFT(SHIFT), .WIDTH(WIDTH), .EXPONENTS(EXPONENTS)) products (
        .clk(clk), .x(x), .weights(weights), .sum(sum)
    );
    bias_relu #(.WIDTH(WIDTH)) finish (.clk(clk), .sum(sum), .bias(bias), .y(y));
endmodule

`default_nettype wire
