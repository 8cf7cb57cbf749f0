// Feature maps: four banks, row r of an image in bank r mod 4, so that four rows can be read at once.
//
//   A word is one pixel of CHANNELS numbers. It is written in parts of PART channels, part 0 in the lowest bits.
//   read_address   one for each bank, bank 0 in the lowest bits. read: the four words, 2 cycles later.
//   write          which banks take a word. Even banks take `even`, odd banks take `odd`, both at `write_address`.
//
// Latency: 2 cycles to read; what is written can be read from the next cycle on.
`default_nettype none

module feature_memory #(
    parameter CHANNELS = 32,
    parameter PART = 32,
    parameter WIDTH = 16,
    parameter ADDRESS = 9
) (
    input  wire                        clk,
    input  wire [4*ADDRESS-1:0]        read_address,
    output wire [4*CHANNELS*WIDTH-1:0] read,
    input  wire [3:0]                  write,
    input  wire [7:0]                  part,
    input  wire [ADDRESS-1:0]          write_address,
    input  wire [PART*WIDTH-1:0]       even,
    input  wire [PART*WIDTH-1:0]       odd
);
    genvar b, p;
    generate
        for (b = 0; b < 4; b = b + 1) begin : bank
            for (p = 0; p < CHANNELS / PART; p = p + 1) begin : piece
                block_ram #(.WIDTH(PART*WIDTH), .ADDRESS(ADDRESS)) ram (
                    .clk(clk), .write(write[b] && part == p), .write_address(write_address),
                    .data(b % 2 ? odd : even), .read_address(read_address[b*ADDRESS +: ADDRESS]),
                    .q(read[(b*CHANNELS + p*PART)*WIDTH +: PART*WIDTH])
                );
            end
        end
    endgenerate
endmodule

`default_nettype wire
