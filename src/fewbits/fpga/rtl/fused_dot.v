// N products of float32 numbers and their sum, normalized once; zero is the only special case, as in
// truncating_multiply.
//
//   x, weights  N numbers each, the first in the lowest bits; N is 2 to 32.
//   sum         one number. Each product is cut off 24 places after the point of the largest one, and the sum after
//               24 bits.
//
// All products are moved to the largest exponent among them and then added as integers, so that the steps of a
// floating-point adder are done once and not N - 1 times. A sum below 2^-126 becomes 0; one of 2^129 or more wraps
// around.
// Latency: 6 + 2 * $clog2(N) cycles (multiply 1, largest exponent, distance 1, align 1, negate 1, tree, magnitude 1,
// normalize 1), a new set of inputs each cycle. The first SOFT products are made of look-up tables.
`default_nettype none

module fused_dot #(
    parameter N = 32,
    parameter SOFT = 0
) (
    input  wire            clk,
    input  wire [N*32-1:0] x,
    input  wire [N*32-1:0] weights,
    output reg  [31:0]     sum
);
    localparam LEVELS = $clog2(N);
    localparam DIGITS = 26;                    // of a product: two before the point, 24 after it
    localparam TERM = DIGITS + 1 + LEVELS;     // a sign, and room for the sum

    wire [N*9-1:0] exponents;
    wire [N*TERM-1:0] terms;
    wire [8:0] largest;
    wire [TERM-1:0] total;

    maximum_tree #(.N(N), .WIDTH(9)) compare (.clk(clk), .terms(exponents), .largest(largest));

    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : lane
            wire [31:0] a = x[i*32 +: 32];
            wire [31:0] b = weights[i*32 +: 32];
            wire zero = (a[30:23] == 0) || (b[30:23] == 0);
            wire [47:0] exact;
            significand_multiply #(.SOFT(i < SOFT)) multiply (
                .a({1'b1, a[22:0]}), .b({1'b1, b[22:0]}), .product(exact)
            );

            // 1. Multiply. The exponent is the sum of both fields, and 0 for a product of zero: its digits are then moved
            //    out, or the whole sum is below 2^-126.
            reg [DIGITS-1:0] digits;
            reg [8:0] exponent;
            reg negative;
            assign exponents[i*9 +: 9] = exponent;

            // 2. Wait until the largest exponent is known.
            wire [DIGITS-1:0] late_digits;
            wire [8:0] late_exponent;
            wire late_negative;
            delay #(.CYCLES(LEVELS), .WIDTH(DIGITS + 10)) hold (
                .clk(clk), .x({digits, exponent, negative}), .y({late_digits, late_exponent, late_negative})
            );

            // 3. to 5. How far to move, move, apply the sign.
            wire [8:0] away = largest - late_exponent;
            reg [4:0] distance;
            reg [DIGITS-1:0] waiting, aligned;
            reg negative3, negative4;
            reg signed [DIGITS:0] signed_digits;

            always @(posedge clk) begin
                digits        <= exact[47:22];
                exponent      <= zero ? 0 : a[30:23] + b[30:23];
                negative      <= a[31] ^ b[31];
                distance      <= (away > 31) ? 5'd31 : away[4:0];
                waiting       <= late_digits;
                negative3     <= late_negative;
                aligned       <= waiting >> distance;
                negative4     <= negative3;
                signed_digits <= ({1'b0, aligned} ^ {(DIGITS+1){negative4}}) + negative4;
            end
            wire signed [TERM-1:0] term = signed_digits;
            assign terms[i*TERM +: TERM] = term;
        end
    endgenerate

    adder_tree #(.N(N), .WIDTH(TERM)) tree (.clk(clk), .terms(terms), .sum(total));

    // The largest exponent waits as long as digits move, change sign, and are added; 1 more for the magnitude.
    wire [8:0] scale;
    delay #(.CYCLES(4 + LEVELS), .WIDTH(9)) hold_scale (.clk(clk), .x(largest), .y(scale));

    reg [31:0] magnitude;
    reg sign;

    // Normalize: look for leading zeros in 16 bits, then 8, 4, 2, 1, and shift them out as they are found.
    wire none16 = (magnitude[31:16] == 0);
    wire [31:0] after16 = none16 ? {magnitude[15:0], 16'd0} : magnitude;
    wire none8 = (after16[31:24] == 0);
    wire [31:0] after8 = none8 ? {after16[23:0], 8'd0} : after16;
    wire none4 = (after8[31:28] == 0);
    wire [31:0] after4 = none4 ? {after8[27:0], 4'd0} : after8;
    wire none2 = (after4[31:30] == 0);
    wire [31:0] after2 = none2 ? {after4[29:0], 2'd0} : after4;
    wire none1 = !after2[31];
    wire [31:0] normal = none1 ? {after2[30:0], 1'b0} : after2;
    // A product of exponent fields that add up to `scale` has its digit for 1 at bit 24, and that of `magnitude` is 31.
    wire signed [10:0] exponent = {2'd0, scale} - 11'd120 - {6'd0, none16, none8, none4, none2, none1};

    always @(posedge clk) begin
        magnitude <= (total ^ {TERM{total[TERM-1]}}) + total[TERM-1];
        sign      <= total[TERM-1];
        sum       <= (!normal[31] || exponent <= 0) ? 32'd0 : {sign, exponent[7:0], normal[30:8]};
    end
endmodule

`default_nettype wire
