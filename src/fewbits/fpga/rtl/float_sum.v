// The sum of two float32 numbers. KIND = 0: float_add (IEEE-754), 5 cycles; else truncating_add, 4 cycles.
`default_nettype none

module float_sum #(
    parameter KIND = 0
) (
    input  wire        clk,
    input  wire [31:0] a,
    input  wire [31:0] b,
    output wire [31:0] sum
);
    generate
        if (KIND) begin : truncating
            truncating_add add (.clk(clk), .a(a), .b(b), .sum(sum));
        end else begin : rounding
            float_add add (.clk(clk), .a(a), .b(b), .sum(sum));
        end
    endgenerate
endmodule

`default_nettype wire
