// One channel of a depthwise 3x3 convolution with bias and ReLU, nine multipliers in parallel.
//
//   column   three pixels, one above the other, the upper one in the lowest bits; the next column to the right follows
//            one cycle later. The line buffers that deliver it are memory and not part of this circuit.
//   weights  nine, in rows: the first row (its left one first) in the lowest bits. Their format is that of dot.
//   bias     signed, WIDTH bits.
//   y        the result for the window whose rightmost column came 7 cycles ago.
//
// The nine products are added as three rows of three: no product then waits longer than one cycle for another.
// Latency: 8 cycles (window 1, products 2, row sums 2, sum of rows 2, bias and ReLU 1), a new column each cycle.
`default_nettype none

module depthwise #(
    parameter SHIFT = 1,
    parameter WIDTH = 32,
    parameter EXPONENTS = 8,
    parameter WEIGHT_BITS = SHIFT ? 5 : WIDTH
) (
    input  wire                     clk,
    input  wire [3*WIDTH-1:0]       column,
    input  wire [9*WEIGHT_BITS-1:0] weights,
    input  wire [WIDTH-1:0]         bias,
    output wire [WIDTH-1:0]         y
);
    wire [3*WIDTH-1:0] row_sums;
    wire [WIDTH-1:0] sum;

    genvar r;
    generate
        for (r = 0; r < 3; r = r + 1) begin : row
            reg [3*WIDTH-1:0] window;  // the left pixel in the lowest bits
            always @(posedge clk) window <= {column[r*WIDTH +: WIDTH], window[3*WIDTH-1:WIDTH]};
            dot #(.N(3), .SHIFT(SHIFT), .WIDTH(WIDTH), .EXPONENTS(EXPONENTS)) products (
                .clk(clk), .x(window), .weights(weights[3*r*WEIGHT_BITS +: 3*WEIGHT_BITS]),
                .sum(row_sums[r*WIDTH +: WIDTH])
            );
        end
    endgenerate

    adder_tree #(.N(3), .WIDTH(WIDTH)) rows (.clk(clk), .terms(row_sums), .sum(sum));
    bias_relu #(.WIDTH(WIDTH)) finish (.clk(clk), .sum(sum), .bias(bias), .y(y));
endmodule

`default_nettype wire
