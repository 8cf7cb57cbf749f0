// Processing element: x * weight + addend in IEEE-754 single precision, rounded twice (after the product and the sum).
//
//   x, weight  a pair.
//   addend     what the product is added to; it comes 3 cycles after its pair.
//   sum        the result, 8 cycles after the pair.
//
// A sum of its own cannot be fed back each cycle, as shift_pe does: the adder takes 5.
// Latency: 8 cycles, a new pair each cycle.
`default_nettype none

module float_pe (
    input  wire        clk,
    input  wire [31:0] x,
    input  wire [31:0] weight,
    input  wire [31:0] addend,
    output wire [31:0] sum
);
    wire [31:0] product;

    float_multiply multiply (.clk(clk), .a(x), .b(weight), .product(product));
    float_add add (.clk(clk), .a(product), .b(addend), .sum(sum));
endmodule

`default_nettype wire
