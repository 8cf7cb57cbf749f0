// The sum of two IEEE-754 single precision numbers, rounded to nearest, ties to even.
//
// Subnormal numbers are flushed: on the way in they count as zero of their sign, and a sum whose magnitude lies below
// 2^-126 becomes zero of its sign. x + (-x) is +0. Every NaN that comes out is 7FC00000.
// Latency: 5 cycles (order, align, add, normalize, round), a new pair each cycle.
`default_nettype none

module float_add (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output reg  [31:0] sum
);
    // 1. Order by magnitude. IEEE-754 numbers without their sign compare like integers, and a NaN is the largest.
    wire swap = b[30:0] > a[30:0];
    wire [31:0] greater = swap ? b : a;
    wire [31:0] lesser = swap ? a : b;
    wire [7:0] distance = greater[30:23] - lesser[30:23];

    reg [23:0] greater1, lesser1;  // significands: 1.fraction, or 0 for zero and subnormal numbers
    reg [7:0] exponent1;
    reg [4:0] distance1;
    reg sign1, subtract1, nan1, infinite1;

    always @(posedge clk) begin
        greater1  <= (greater[30:23] == 0) ? 24'd0 : {1'b1, greater[22:0]};
        lesser1   <= (lesser[30:23] == 0) ? 24'd0 : {1'b1, lesser[22:0]};
        exponent1 <= greater[30:23];
        distance1 <= (distance > 31) ? 5'd31 : distance[4:0];  // beyond 26 nothing but `sticky` is left
        sign1     <= greater[31];
        subtract1 <= a[31] ^ b[31];
        infinite1 <= (greater[30:23] == 255);
        nan1      <= (greater[30:23] == 255) && ((greater[22:0] != 0) || ((lesser[30:23] == 255) && (a[31] ^ b[31])));
    end

    // 2. Align: move the smaller one to the right, by 16 places, then 8, 4, 2, 1. Three more bits (guard, round, sticky)
    //    are enough to round well; the last one says whether any bit that fell out was 1.
    wire [26:0] by0 = {lesser1, 3'b000};
    wire [26:0] by16 = distance1[4] ? {16'd0, by0[26:17], by0[16:0] != 0} : by0;
    wire [26:0] by8 = distance1[3] ? {8'd0, by16[26:9], by16[8:0] != 0} : by16;
    wire [26:0] by4 = distance1[2] ? {4'd0, by8[26:5], by8[4:0] != 0} : by8;
    wire [26:0] by2 = distance1[1] ? {2'd0, by4[26:3], by4[2:0] != 0} : by4;
    wire [26:0] aligned = distance1[0] ? {1'd0, by2[26:2], by2[1:0] != 0} : by2;

    reg [23:0] greater2;
    reg [26:0] lesser2;
    reg [7:0] exponent2;
    reg sign2, subtract2, nan2, infinite2;

    always @(posedge clk) begin
        greater2  <= greater1;
        lesser2   <= aligned;
        exponent2 <= exponent1;
        sign2     <= sign1;
        subtract2 <= subtract1;
        nan2      <= nan1;
        infinite2 <= infinite1;
    end

    // 3. Add or subtract. The larger comes first, so the result is not negative.
    //    -s is ~s + 1, and the 1 enters as a carry from one place below: both operands have `subtract2` there.
    wire [28:0] flipped = {{1'b0, lesser2} ^ {28{subtract2}}, subtract2};
    wire [28:0] both = {1'b0, greater2, 3'b000, subtract2} + flipped;
    reg [27:0] total;
    reg [7:0] exponent3;
    reg sign3, subtract3, nan3, infinite3;

    always @(posedge clk) begin
        total     <= both[28:1];
        exponent3 <= exponent2;
        sign3     <= sign2;
        subtract3 <= subtract2;
        nan3      <= nan2;
        infinite3 <= infinite2;
    end

    // 4. Normalize: look for leading zeros in 16 bits, then 8, 4, 2, 1, and shift them out as they are found.
    wire none16 = (total[27:12] == 0);
    wire [27:0] after16 = none16 ? {total[11:0], 16'd0} : total;
    wire none8 = (after16[27:20] == 0);
    wire [27:0] after8 = none8 ? {after16[19:0], 8'd0} : after16;
    wire none4 = (after8[27:24] == 0);
    wire [27:0] after4 = none4 ? {after8[23:0], 4'd0} : after8;
    wire none2 = (after4[27:26] == 0);
    wire [27:0] after2 = none2 ? {after4[25:0], 2'd0} : after4;
    wire none1 = !after2[27];
    wire [27:0] normal = none1 ? {after2[26:0], 1'b0} : after2;
    wire [4:0] zeros = {none16, none8, none4, none2, none1};

    reg signed [32:0] packed_bits;  // exponent and fraction side by side
    reg round_up, sign4, zero4, nan4, infinite4;

    always @(posedge clk) begin
        // The leading 1 now stands one place above where it was in `greater`: hence the + 1.
        packed_bits <= {{2'b00, exponent3} + 10'd1 - {5'd0, zeros}, normal[26:4]};
        round_up    <= normal[3] && ((normal[2:0] != 0) || normal[4]);
        zero4       <= !normal[27];
        sign4       <= sign3 && (normal[27] || !subtract3);  // x + (-x) is +0, -0 + -0 is -0
        nan4        <= nan3;
        infinite4   <= infinite3;
    end

    // 5. Round. A carry out of the fraction runs into the exponent, which is what it should do.
    wire signed [32:0] rounded = packed_bits + {32'd0, round_up};
    wire signed [9:0] final_exponent = rounded[32:23];

    always @(posedge clk)
        if (nan4)
            sum <= 32'h7FC00000;
        else if (infinite4 || (!zero4 && final_exponent >= 255))
            sum <= {sign4, 8'hFF, 23'd0};
        else if (zero4 || final_exponent <= 0)
            sum <= {sign4, 31'd0};
        else
            sum <= {sign4, rounded[30:0]};
endmodule

`default_nettype wire
