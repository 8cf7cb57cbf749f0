// One channel of a depthwise 3x3 convolution with bias and ReLU in float32; ports as in depthwise, KIND as in
// float_dot.
//
// Latency, a new column each cycle:
//   KIND = 0  29 cycles: window 1, products 3, row sums 10, sum of rows 10, bias and ReLU 5.
//   KIND = 1  23 cycles: window 1, products 2, row sums 8, sum of rows 8, bias and ReLU 4.
//   KIND = 2  19 cycles: window 1, nine products fused 14, bias and ReLU 4.
`default_nettype none

module float_depthwise #(
    parameter KIND = 0
) (
    input  wire            clk,
    input  wire [3*32-1:0] column,
    input  wire [9*32-1:0] weights,
    input  wire [31:0]     bias,
    output wire [31:0]     y
);
    wire [9*32-1:0] pixels;
    wire [3*32-1:0] row_sums;
    wire [31:0] sum;

    genvar r;
    generate
        for (r = 0; r < 3; r = r + 1) begin : row
            reg [3*32-1:0] window;  // the left pixel in the lowest bits
            always @(posedge clk) window <= {column[r*32 +: 32], window[3*32-1:32]};
            assign pixels[3*r*32 +: 3*32] = window;
            if (KIND != 2) begin : separate
                float_dot #(.N(3), .KIND(KIND)) products (
                    .clk(clk), .x(window), .weights(weights[3*r*32 +: 3*32]), .sum(row_sums[r*32 +: 32])
                );
            end
        end
        if (KIND == 2) begin : fused
            float_dot #(.N(9), .KIND(2)) products (.clk(clk), .x(pixels), .weights(weights), .sum(sum));
        end else begin : rows
            float_tree #(.N(3), .KIND(KIND)) add (.clk(clk), .terms(row_sums), .sum(sum));
        end
    endgenerate

    float_bias_relu #(.KIND(KIND)) finish (.clk(clk), .sum(sum), .bias(bias), .y(y));
endmodule

`default_nettype wire
