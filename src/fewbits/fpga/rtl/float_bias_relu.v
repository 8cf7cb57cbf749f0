// Adds the bias, then max(., 0), in float32. KIND as in float_sum.
//
// Latency: 5 cycles, or 4 if KIND > 0 (float_sum); the ReLU looks at the sign and costs no register.
`default_nettype none

module float_bias_relu #(
    parameter KIND = 0
) (
    input  wire        clk,
    input  wire [31:0] sum,
    input  wire [31:0] bias,
    output wire [31:0] y
);
    wire [31:0] total;

    float_sum #(.KIND(KIND)) add (.clk(clk), .a(sum), .b(bias), .sum(total));
    assign y = total[31] ? 32'd0 : total;
endmodule

`default_nettype wire
