// A separable convolution that holds its own weights and biases in registers: layer or float_layer, and weight_store.
//
//   load_weight  1 takes over `weight`: the 9 of each depthwise filter, then CHANNELS for each output, as in layer.
//   load_bias    1 takes over `bias`: those of the depthwise filters, then those of the outputs.
//   columns, y   as in layer.
//
// FLOAT = 0: SHIFT, WIDTH and EXPONENTS as in layer. FLOAT = 1: KIND and SOFT as in float_layer, and WIDTH is 32.
// Latency: that of the layer. Loading takes CHANNELS * (9 + CHANNELS) cycles, the biases beside the weights.
`default_nettype none

module stored_layer #(
    parameter CHANNELS = 32,
    parameter FLOAT = 0,
    parameter SHIFT = 1,
    parameter WIDTH = 32,
    parameter EXPONENTS = 8,
    parameter KIND = 0,
    parameter SOFT = 0,
    parameter WEIGHT_BITS = (SHIFT && !FLOAT) ? 5 : WIDTH
) (
    input  wire                        clk,
    input  wire                        load_weight,
    input  wire [WEIGHT_BITS-1:0]      weight,
    input  wire                        load_bias,
    input  wire [WIDTH-1:0]            bias,
    input  wire [CHANNELS*3*WIDTH-1:0] columns,
    output wire [CHANNELS*WIDTH-1:0]   y
);
    localparam SPATIAL = CHANNELS * 9;
    localparam MIXING = CHANNELS * CHANNELS;

    wire [(SPATIAL+MIXING)*WEIGHT_BITS-1:0] weights;
    wire [2*CHANNELS*WIDTH-1:0] biases;

    weight_store #(.N(SPATIAL + MIXING), .BITS(WEIGHT_BITS)) hold_weights (
        .clk(clk), .load(load_weight), .next(weight), .held(weights)
    );
    weight_store #(.N(2 * CHANNELS), .BITS(WIDTH)) hold_biases (
        .clk(clk), .load(load_bias), .next(bias), .held(biases)
    );

    generate
        if (FLOAT) begin : floating_point
            float_layer #(.CHANNELS(CHANNELS), .KIND(KIND), .SOFT(SOFT)) compute (
                .clk(clk), .columns(columns), .y(y),
                .depthwise_weights(weights[0 +: SPATIAL*WEIGHT_BITS]),
                .pointwise_weights(weights[SPATIAL*WEIGHT_BITS +: MIXING*WEIGHT_BITS]),
                .depthwise_biases(biases[0 +: CHANNELS*WIDTH]),
                .pointwise_biases(biases[CHANNELS*WIDTH +: CHANNELS*WIDTH])
            );
        end else begin : fixed_point
            layer #(.CHANNELS(CHANNELS), .SHIFT(SHIFT), .WIDTH(WIDTH), .EXPONENTS(EXPONENTS)) compute (
                .clk(clk), .columns(columns), .y(y),
                .depthwise_weights(weights[0 +: SPATIAL*WEIGHT_BITS]),
                .pointwise_weights(weights[SPATIAL*WEIGHT_BITS +: MIXING*WEIGHT_BITS]),
                .depthwise_biases(biases[0 +: CHANNELS*WIDTH]),
                .pointwise_biases(biases[CHANNELS*WIDTH +: CHANNELS*WIDTH])
            );
        end
    endgenerate
endmodule

`default_nettype wire
