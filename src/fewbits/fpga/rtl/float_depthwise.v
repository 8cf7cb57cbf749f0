// One channel of a depthwise 3x3 convolution with bias and ReLU in IEEE-754 single precision; ports as in depthwise.
//
// Latency: 29 cycles (window 1, products 3, row sums 10, sum of rows 10, bias and ReLU 5), a new column each cycle.
`default_nettype none

module float_depthwise (
    input  wire            clk,
    input  wire [3*32-1:0] column,
    input  wire [9*32-1:0] weights,
    input  wire [31:0]     bias,
    output wire [31:0]     y
);
    wire [3*32-1:0] row_sums;
    wire [31:0] sum;

    genvar r;
    generate
        for (r = 0; r < 3; r = r + 1) begin : row
            reg [3*32-1:0] window;  // the left pixel in the lowest bits
            always @(posedge clk) window <= {column[r*32 +: 32], window[3*32-1:32]};
            float_dot #(.N(3)) products (
                .clk(clk), .x(window), .weights(weights[3*r*32 +: 3*32]), .sum(row_sums[r*32 +: 32])
            );
        end
    endgenerate

    float_tree #(.N(3)) rows (.clk(clk), .terms(row_sums), .sum(sum));
    float_bias_relu finish (.clk(clk), .sum(sum), .bias(bias), .y(y));
endmodule

`default_nettype wire
