// Processing element: x * weight + addend by truncating_multiply and truncating_add; ports as in float_pe.
//
// The addend comes 2 cycles after its pair.
// Latency: 6 cycles, a new pair each cycle.
`default_nettype none

module truncating_pe (
    input  wire        clk,
    input  wire [31:0] x,
    input  wire [31:0] weight,
    input  wire [31:0] addend,
    output wire [31:0] sum
);
    wire [31:0] product;

    truncating_multiply multiply (.clk(clk), .a(x), .b(weight), .product(product));
    truncating_add add (.clk(clk), .a(product), .b(addend), .sum(sum));
endmodule

`default_nettype wire
