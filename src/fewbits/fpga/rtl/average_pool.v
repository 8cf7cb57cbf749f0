// The average over all pixels of an image, on the way to the memory: sums, and a shift that rounds down.
//
//   pool    0: everything passes. 1: only averages pass, with the last pixel.
//   x       CHANNELS signed numbers of WIDTH bits: one slice of the channels of a pixel.
//   slice   which one; first_pixel, last_pixel: where in the image it lies.
//   shift   log2 of the number of pixels, at most 8.
//
// Latency: 1 cycle.
`default_nettype none

module average_pool #(
    parameter CHANNELS = 32,
    parameter WIDTH = 16,
    parameter SLICE = 3
) (
    input  wire                      clk,
    input  wire                      pool,
    input  wire                      valid,
    input  wire [CHANNELS*WIDTH-1:0] x,
    input  wire [SLICE-1:0]          slice,
    input  wire                      first_pixel,
    input  wire                      last_pixel,
    input  wire [3:0]                shift,
    output reg                       y_valid,
    output reg  [CHANNELS*WIDTH-1:0] y
);
    localparam BITS = WIDTH + 8;

    always @(posedge clk) y_valid <= valid && (!pool || last_pixel);

    genvar c;
    generate
        for (c = 0; c < CHANNELS; c = c + 1) begin : channel
            (* ram_style = "distributed" *) reg [BITS-1:0] sums [0:(1<<SLICE)-1];
            wire signed [WIDTH-1:0] number = x[c*WIDTH +: WIDTH];
            wire signed [BITS-1:0] extended = number;
            wire signed [BITS-1:0] sum = extended + (first_pixel ? {BITS{1'b0}} : sums[slice]);
            wire signed [BITS-1:0] average = $signed(sum) >>> shift;
            always @(posedge clk) begin
                if (valid) sums[slice] <= sum;
                y[c*WIDTH +: WIDTH] <= pool ? average[WIDTH-1:0] : number;
            end
        end
    endgenerate
endmodule

`default_nettype wire
