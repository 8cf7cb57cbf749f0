// N fixed-point products in parallel and their sum.
//
//   x        N signed numbers of WIDTH bits, the first in the lowest bits.
//   weights  SHIFT = 1: N codes of 5 bits (shift_multiply). SHIFT = 0: N numbers of WIDTH bits (fixed_multiply).
//   sum      signed, WIDTH bits. SATURATE = 0 wraps around. SATURATE = 1 adds without loss and stops at the limits
//            once, at the end, so that no order of the additions needs to be agreed on.
//
// Latency: 2 + $clog2(N) cycles, one more if SATURATE = 1; a new set of inputs each cycle.
`default_nettype none

module dot #(
    parameter N = 32,
    parameter SHIFT = 1,
    parameter WIDTH = 32,
    parameter EXPONENTS = 8,
    parameter RIGHT = 0,
    parameter SATURATE = 0,
    parameter WEIGHT_BITS = SHIFT ? 5 : WIDTH
) (
    input  wire                     clk,
    input  wire [N*WIDTH-1:0]       x,
    input  wire [N*WEIGHT_BITS-1:0] weights,
    output wire [WIDTH-1:0]         sum
);
    // N terms of WIDTH + 1 bits need $clog2(N) more.
    localparam TERM = SATURATE ? WIDTH + 1 + $clog2(N) : WIDTH;

    wire [N*TERM-1:0] terms;
    wire [TERM-1:0] total;

    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : lane
            wire signed [WIDTH:0] product;
            if (SHIFT) begin : power_of_two
                shift_multiply #(.WIDTH(WIDTH), .EXPONENTS(EXPONENTS), .RIGHT(RIGHT)) multiply (
                    .clk(clk), .x(x[i*WIDTH +: WIDTH]), .code(weights[i*WEIGHT_BITS +: WEIGHT_BITS]),
                    .product(product)
                );
            end else begin : fixed_point
                fixed_multiply #(.WIDTH(WIDTH)) multiply (
                    .clk(clk), .x(x[i*WIDTH +: WIDTH]), .weight(weights[i*WEIGHT_BITS +: WEIGHT_BITS]),
                    .product(product)
                );
            end
            wire signed [TERM-1:0] term = product;
            assign terms[i*TERM +: TERM] = term;
        end
    endgenerate

    adder_tree #(.N(N), .WIDTH(TERM)) tree (.clk(clk), .terms(terms), .sum(total));

    generate
        if (SATURATE) begin : clip
            wire fits = (&total[TERM-1:WIDTH-1]) || !(|total[TERM-1:WIDTH-1]);
            reg [WIDTH-1:0] clipped;
            always @(posedge clk)
                clipped <= fits ? total[WIDTH-1:0] : {total[TERM-1], {(WIDTH-1){~total[TERM-1]}}};
            assign sum = clipped;
        end else begin : wrap
            assign sum = total;
        end
    endgenerate
endmodule

`default_nettype wire
