// Processing element: a dot product of fixed-point numbers, one pair a cycle. It wraps around.
//
//   start      1 with the first pair of a dot product.
//   x, weight  a pair, signed, WIDTH bits, FRACTION of them behind the binary point; see fixed_multiply.
//   sum        signed, WIDTH bits: the sum since `start`, up to the pair that came 3 cycles ago.
//
// Latency: 3 cycles, a new pair each cycle, as shift_pe.
`default_nettype none

module fixed_pe #(
    parameter WIDTH = 32,
    parameter FRACTION = 16
) (
    input  wire                    clk,
    input  wire                    start,
    input  wire signed [WIDTH-1:0] x,
    input  wire signed [WIDTH-1:0] weight,
    output wire signed [WIDTH-1:0] sum
);
    wire signed [WIDTH:0] product;

    fixed_multiply #(.WIDTH(WIDTH), .FRACTION(FRACTION)) multiply (
        .clk(clk), .x(x), .weight(weight), .product(product)
    );

    reg [1:0] first;  // `start`, delayed as long as the product
    always @(posedge clk) first <= {first[0], start};

    accumulator #(.WIDTH(WIDTH)) accumulate (
        .clk(clk), .first(first[1]), .term(product), .sum(sum)
    );
endmodule

`default_nettype wire
