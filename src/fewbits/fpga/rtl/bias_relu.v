// Adds the bias, then max(., 0). It wraps around.
//
//   sum, bias  signed, WIDTH bits.
//   y          WIDTH bits, never negative.
//
// Latency: 1 cycle.
`default_nettype none

module bias_relu #(
    parameter WIDTH = 32
) (
    input  wire             clk,
    input  wire [WIDTH-1:0] sum,
    input  wire [WIDTH-1:0] bias,
    output reg  [WIDTH-1:0] y
);
    wire [WIDTH-1:0] total = sum + bias;
    always @(posedge clk) y <= total[WIDTH-1] ? 0 : total;
endmodule

`default_nettype wire
