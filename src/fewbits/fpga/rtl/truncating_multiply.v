// The product of two float32 numbers, cut off after 24 bits; zero is the only special case.
//
// An exponent field of 0 is the number 0 whatever follows it, and 0 comes out as 32 bits of 0. All other fields, 255 as
// well, are ordinary numbers. A product below 2^-126 becomes 0. One of 2^129 or more does not fit and wraps around: the
// user has to keep numbers below that, as with fixed point.
// Latency: 2 cycles (multiply, normalize), a new pair each cycle. SOFT as in significand_multiply.
`default_nettype none

module truncating_multiply #(
    parameter SOFT = 0
) (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output reg  [31:0] product
);
    wire [47:0] digits;
    significand_multiply #(.SOFT(SOFT)) multiply (.a({1'b1, a[22:0]}), .b({1'b1, b[22:0]}), .product(digits));

    reg [24:0] exact;  // what may still be needed of 48 bits
    reg signed [9:0] exponent;
    reg sign, zero;

    wire signed [9:0] final_exponent = exponent + {9'd0, exact[24]};

    always @(posedge clk) begin
        // 1. Multiply the significands (1 <= product < 4) and add the exponents.
        exact    <= digits[47:23];
        exponent <= a[30:23] + b[30:23] - 10'd127;
        sign     <= a[31] ^ b[31];
        zero     <= (a[30:23] == 0) || (b[30:23] == 0);
        // 2. Normalize: from 2 on, one place to the right.
        product  <= (zero || final_exponent <= 0) ? 32'd0
                  : {sign, final_exponent[7:0], exact[24] ? exact[23:1] : exact[22:0]};
    end
endmodule

`default_nettype wire
