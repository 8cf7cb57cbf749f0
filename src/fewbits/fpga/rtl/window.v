// Windows of four rows and three columns, for as many channels as the array has columns. Pixels come column by column, all
// entries (groups of channels) of one before the next; each entry has a window of its own.
//
//   strip   four pixels of each channel, one above the other: channel 0 in the lowest bits, its upper pixel first.
//   entry   whose window this is.
//   clear   1 in the first column of an image: there is nothing to its left.
//   take    1 if the next column of this entry comes in another cycle; 0 if this one stays for another cycle.
//   y       for each channel twelve pixels in rows, the upper left one in the lowest bits. The right ones are `strip`.
//
// Latency: none, y is not registered.
`default_nettype none

module window #(
    parameter CHANNELS = 32,
    parameter BITS = 23,           // of a pixel
    parameter ENTRY = 2            // bits of `entry`
) (
    input  wire                        clk,
    input  wire [CHANNELS*4*BITS-1:0]  strip,
    input  wire [ENTRY-1:0]            entry,
    input  wire                        clear,
    input  wire                        take,
    output wire [CHANNELS*12*BITS-1:0] y
);
    (* ram_style = "distributed" *) reg [CHANNELS*4*BITS-1:0] left [0:(1<<ENTRY)-1];
    (* ram_style = "distributed" *) reg [CHANNELS*4*BITS-1:0] middle [0:(1<<ENTRY)-1];
    wire [CHANNELS*4*BITS-1:0] left_one = left[entry];
    wire [CHANNELS*4*BITS-1:0] middle_one = middle[entry];

    always @(posedge clk)
        if (take) begin
            left[entry] <= clear ? {CHANNELS*4*BITS{1'b0}} : middle_one;
            middle[entry] <= strip;
        end

    genvar k;
    generate
        for (k = 0; k < CHANNELS * 4; k = k + 1) begin : pixels
            assign y[k*3*BITS +: 3*BITS] =
                {strip[k*BITS +: BITS], middle_one[k*BITS +: BITS], left_one[k*BITS +: BITS]};
        end
    endgenerate
endmodule

`default_nettype wire
