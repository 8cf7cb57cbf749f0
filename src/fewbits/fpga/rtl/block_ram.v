// A memory with a port to write and a port to read, as a block RAM has them.
//
//   data  is in the memory from the next cycle on.
//   q     the word at `read_address` of two cycles ago: the memory reads in the first, its register takes it in the second.
//
// Latency: 2 cycles, a new word each cycle.
`default_nettype none

module block_ram #(
    parameter WIDTH = 512,
    parameter ADDRESS = 9,
    parameter FILE = ""            // for $readmemh; a memory without one starts empty
) (
    input  wire               clk,
    input  wire               write,
    input  wire [ADDRESS-1:0] write_address,
    input  wire [WIDTH-1:0]   data,
    input  wire [ADDRESS-1:0] read_address,
    output reg  [WIDTH-1:0]   q
);
    (* ram_style = "block" *) reg [WIDTH-1:0] memory [0:(1<<ADDRESS)-1];
    reg [WIDTH-1:0] found;

    generate
        if (FILE != "") begin : load
            initial $readmemh(FILE, memory);
        end
    endgenerate

    always @(posedge clk) begin
        if (write) memory[write_address] <= data;
        found <= memory[read_address];
        q <= found;
    end
endmodule

`default_nettype wire
