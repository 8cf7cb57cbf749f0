// The sum of two float32 numbers, cut off; zero is the only special case, as in truncating_multiply.
//
// The smaller number is cut off one place below the last digit of the larger one, and the sum after 24 bits. A sum
// below 2^-126 becomes 0; one of 2^129 or more wraps around.
// Latency: 4 cycles (order, align, add, normalize), a new pair each cycle.
`default_nettype none

module truncating_add (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output reg  [31:0] sum
);
    // 1. Order by magnitude.
    wire swap = b[30:0] > a[30:0];
    wire [31:0] greater = swap ? b : a;
    wire [31:0] lesser = swap ? a : b;
    wire [7:0] distance = greater[30:23] - lesser[30:23];

    reg [23:0] greater1, lesser1;  // significands: 1.fraction, or 0 for zero
    reg [7:0] exponent1;
    reg [4:0] distance1;
    reg sign1, subtract1;

    // 2. Align: one place below (the guard) is kept.
    reg [23:0] greater2;
    reg [24:0] lesser2;
    reg [7:0] exponent2;
    reg sign2, subtract2;

    // 3. Add or subtract; the larger comes first, so the result is not negative. -s is ~s + 1.
    reg [25:0] total;
    reg [7:0] exponent3;
    reg sign3;

    // 4. Normalize: look for leading zeros in 16 bits, then 8, 4, 2, 1, and shift them out as they are found.
    wire none16 = (total[25:10] == 0);
    wire [25:0] after16 = none16 ? {total[9:0], 16'd0} : total;
    wire none8 = (after16[25:18] == 0);
    wire [25:0] after8 = none8 ? {after16[17:0], 8'd0} : after16;
    wire none4 = (after8[25:22] == 0);
    wire [25:0] after4 = none4 ? {after8[21:0], 4'd0} : after8;
    wire none2 = (after4[25:24] == 0);
    wire [25:0] after2 = none2 ? {after4[23:0], 2'd0} : after4;
    wire none1 = !after2[25];
    wire [25:0] normal = none1 ? {after2[24:0], 1'b0} : after2;
    // The leading 1 stands one place above where it was in `greater`: hence the + 1.
    wire signed [9:0] final_exponent = {2'b00, exponent3} + 10'd1 - {5'd0, none16, none8, none4, none2, none1};

    always @(posedge clk) begin
        greater1  <= (greater[30:23] == 0) ? 24'd0 : {1'b1, greater[22:0]};
        lesser1   <= (lesser[30:23] == 0) ? 24'd0 : {1'b1, lesser[22:0]};
        exponent1 <= greater[30:23];
        distance1 <= (distance > 31) ? 5'd31 : distance[4:0];
        sign1     <= greater[31];
        subtract1 <= a[31] ^ b[31];

        greater2  <= greater1;
        lesser2   <= {lesser1, 1'b0} >> distance1;
        exponent2 <= exponent1;
        sign2     <= sign1;
        subtract2 <= subtract1;

        total     <= {1'b0, greater2, 1'b0} + ({1'b0, lesser2} ^ {26{subtract2}}) + subtract2;
        exponent3 <= exponent2;
        sign3     <= sign2;

        sum       <= (!normal[25] || final_exponent <= 0) ? 32'd0 : {sign3, final_exponent[7:0], normal[24:2]};
    end
endmodule

`default_nettype wire
