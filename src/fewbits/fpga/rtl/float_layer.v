// A separable convolution in float32, all CHANNELS * (9 + CHANNELS) multipliers in parallel; ports as in layer.
//
// KIND of the units as in float_dot. SOFT multipliers of the pointwise half are made of look-up tables, spread evenly
// over its outputs: at 32 channels 52, as the ZCU102 has multiplier blocks for 1,260 of 1,312.
// Latency, a new pixel (of all channels) each cycle: 37 + 5 * $clog2(CHANNELS) cycles, 29 + 4 * $clog2(CHANNELS), or
// 29 + 2 * $clog2(CHANNELS).
`default_nettype none

module float_layer #(
    parameter CHANNELS = 32,
    parameter KIND = 0,
    parameter SOFT = 0
) (
    input  wire                            clk,
    input  wire [CHANNELS*3*32-1:0]        columns,
    input  wire [CHANNELS*9*32-1:0]        depthwise_weights,
    input  wire [CHANNELS*32-1:0]          depthwise_biases,
    input  wire [CHANNELS*CHANNELS*32-1:0] pointwise_weights,
    input  wire [CHANNELS*32-1:0]          pointwise_biases,
    output wire [CHANNELS*32-1:0]          y
);
    wire [CHANNELS*32-1:0] between;

    genvar c;
    generate
        for (c = 0; c < CHANNELS; c = c + 1) begin : channel
            float_depthwise #(.KIND(KIND)) spatial (
                .clk(clk), .column(columns[c*3*32 +: 3*32]), .weights(depthwise_weights[c*9*32 +: 9*32]),
                .bias(depthwise_biases[c*32 +: 32]), .y(between[c*32 +: 32])
            );
            float_pointwise #(.CHANNELS(CHANNELS), .KIND(KIND), .SOFT((SOFT + CHANNELS - 1 - c) / CHANNELS)) mixing (
                .clk(clk), .x(between), .weights(pointwise_weights[c*CHANNELS*32 +: CHANNELS*32]),
                .bias(pointwise_biases[c*32 +: 32]), .y(y[c*32 +: 32])
            );
        end
    endgenerate
endmodule

`default_nettype wire
