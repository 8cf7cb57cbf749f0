// The product of two IEEE-754 single precision numbers, rounded to nearest, ties to even.
//
// Subnormal numbers are flushed: on the way in they count as zero of their sign, and a product whose magnitude, rounded
// to 24 bits, lies below 2^-126 becomes zero of its sign. Every NaN that comes out is 7FC00000.
// Latency: 3 cycles (multiply, normalize, round), a new pair each cycle. SOFT as in significand_multiply.
`default_nettype none

module float_multiply #(
    parameter SOFT = 0
) (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output reg  [31:0] product
);
    wire a_zero = (a[30:23] == 0);
    wire b_zero = (b[30:23] == 0);
    wire a_huge = (a[30:23] == 255);  // infinity or NaN
    wire b_huge = (b[30:23] == 255);
    wire a_nan = a_huge && (a[22:0] != 0);
    wire b_nan = b_huge && (b[22:0] != 0);

    wire [47:0] digits;
    significand_multiply #(.SOFT(SOFT)) multiply (.a({1'b1, a[22:0]}), .b({1'b1, b[22:0]}), .product(digits));

    // 1. Multiply the significands (1.fraction, so 1 <= product < 4), add the exponents, settle the special cases.
    reg [47:0] exact;
    reg signed [9:0] exponent;
    reg sign1, nan1, infinite1, zero1;

    always @(posedge clk) begin
        exact     <= digits;
        exponent  <= a[30:23] + b[30:23] - 10'd127;
        sign1     <= a[31] ^ b[31];
        nan1      <= a_nan || b_nan || (a_huge && b_zero) || (a_zero && b_huge);
        infinite1 <= a_huge || b_huge;
        zero1     <= a_zero || b_zero;
    end

    // 2. Normalize: from 2 on, one place to the right. Of the bits that do not fit only two facts are kept: the first
    //    one (guard), and whether any other is 1 (sticky).
    wire high = exact[47];
    wire [23:0] kept = high ? exact[47:24] : exact[46:23];
    wire guard = high ? exact[23] : exact[22];
    wire sticky = (exact[21:0] != 0) || (high && exact[22]);
    reg signed [32:0] packed_bits;  // exponent and fraction side by side
    reg round_up, sign2, nan2, infinite2, zero2;

    always @(posedge clk) begin
        packed_bits <= {exponent + {9'd0, high}, kept[22:0]};
        round_up    <= guard && (sticky || kept[0]);
        sign2       <= sign1;
        nan2        <= nan1;
        infinite2   <= infinite1;
        zero2       <= zero1;
    end

    // 3. Round. A carry out of the fraction runs into the exponent, which is what it should do.
    wire signed [32:0] rounded = packed_bits + {32'd0, round_up};
    wire signed [9:0] final_exponent = rounded[32:23];

    always @(posedge clk)
        if (nan2)
            product <= 32'h7FC00000;
        else if (infinite2 || (!zero2 && final_exponent >= 255))
            product <= {sign2, 8'hFF, 23'd0};
        else if (zero2 || final_exponent <= 0)
            product <= {sign2, 31'd0};
        else
            product <= {sign2, rounded[30:0]};
endmodule

`default_nettype wire
