// A separable convolution, fixed point: CHANNELS depthwise 3x3 filters, then CHANNELS pointwise filters over them, with
// all CHANNELS * (9 + CHANNELS) multipliers in parallel. At 32 channels that is 1,312.
//
//   columns            for each channel the three pixels of depthwise, channel 0 in the lowest bits.
//   depthwise_weights  nine for each channel, pointwise_weights CHANNELS for each output; biases one for each.
//                      They stay as they are while pixels flow through.
//   y                  one pixel: CHANNELS numbers of WIDTH bits.
//
// SHIFT = 1: weights are 5-bit powers of two. SHIFT = 0: weights are fixed-point numbers and need multipliers.
// Latency: 11 + $clog2(CHANNELS) cycles, a new pixel (of all channels) each cycle.
`default_nettype none

module layer #(
    parameter CHANNELS = 32,
    parameter SHIFT = 1,
    parameter WIDTH = 32,
    parameter EXPONENTS = 8,
    parameter WEIGHT_BITS = SHIFT ? 5 : WIDTH
) (
    input  wire                                     clk,
    input  wire [CHANNELS*3*WIDTH-1:0]              columns,
    input  wire [CHANNELS*9*WEIGHT_BITS-1:0]        depthwise_weights,
    input  wire [CHANNELS*WIDTH-1:0]                depthwise_biases,
    input  wire [CHANNELS*CHANNELS*WEIGHT_BITS-1:0] pointwise_weights,
    input  wire [CHANNELS*WIDTH-1:0]                pointwise_biases,
    output wire [CHANNELS*WIDTH-1:0]                y
);
    wire [CHANNELS*WIDTH-1:0] between;

    genvar c;
    generate
        for (c = 0; c < CHANNELS; c = c + 1) begin : channel
            depthwise #(.SHIFT(SHIFT), .WIDTH(WIDTH), .EXPONENTS(EXPONENTS)) spatial (
                .clk(clk), .column(columns[c*3*WIDTH +: 3*WIDTH]),
                .weights(depthwise_weights[c*9*WEIGHT_BITS +: 9*WEIGHT_BITS]),
                .bias(depthwise_biases[c*WIDTH +: WIDTH]), .y(between[c*WIDTH +: WIDTH])
            );
            pointwise #(.CHANNELS(CHANNELS), .SHIFT(SHIFT), .WIDTH(WIDTH), .EXPONENTS(EXPONENTS)) mixing (
                .clk(clk), .x(between),
                .weights(pointwise_weights[c*CHANNELS*WEIGHT_BITS +: CHANNELS*WEIGHT_BITS]),
                .bias(pointwise_biases[c*WIDTH +: WIDTH]), .y(y[c*WIDTH +: WIDTH])
            );
        end
    endgenerate
endmodule

`default_nettype wire
