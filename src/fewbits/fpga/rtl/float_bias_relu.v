// Adds the bias, then max(., 0), in IEEE-754 single precision.
//
// Latency: 5 cycles (float_add); the ReLU looks at the sign and costs no register.
`default_nettype none

module float_bias_relu (
    input  wire        clk,
    input  wire [31:0] sum,
    input  wire [31:0] bias,
    output wire [31:0] y
);
    wire [31:0] total;

    float_add add (.clk(clk), .a(sum), .b(bias), .sum(total));
    assign y = total[31] ? 32'd0 : total;
endmodule

`default_nettype wire
