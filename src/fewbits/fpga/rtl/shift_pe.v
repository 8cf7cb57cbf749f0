// Processing element: a dot product of fixed-point numbers and powers of two, one pair a cycle.
//
//   start    1 with the first pair of a dot product.
//   x, code  a pair; see shift_multiply.
//   sum      signed, WIDTH bits: the sum since `start`, up to the pair that came 3 cycles ago.
//
// SATURATE = 0 wraps around, so that the order of the additions does not matter. SATURATE = 1 stops at the largest and
// the smallest number after each addition, and then the order does matter.
// Latency: 3 cycles, a new pair each cycle.
`default_nettype none

module shift_pe #(
    parameter WIDTH = 32,
    parameter EXPONENTS = 8,
    parameter RIGHT = 0,
    parameter SATURATE = 0
) (
    input  wire                    clk,
    input  wire                    start,
    input  wire signed [WIDTH-1:0] x,
    input  wire        [4:0]       code,
    output wire signed [WIDTH-1:0] sum
);
    wire signed [WIDTH:0] product;

    shift_multiply #(.WIDTH(WIDTH), .EXPONENTS(EXPONENTS), .RIGHT(RIGHT)) multiply (
        .clk(clk), .x(x), .code(code), .product(product)
    );

    reg [1:0] first;  // `start`, delayed as long as the product
    always @(posedge clk) first <= {first[0], start};

    accumulator #(.WIDTH(WIDTH), .SATURATE(SATURATE)) accumulate (
        .clk(clk), .first(first[1]), .term(product), .sum(sum)
    );
endmodule

`default_nettype wire
