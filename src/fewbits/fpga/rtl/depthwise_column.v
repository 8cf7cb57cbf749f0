// One channel of a depthwise 3x3 convolution with bias and ReLU, in front of the array: nine elements and one for the bias.
//
//   own    a window of `window`; its upper three rows are used.
//   codes  ten fields of 5 bits, the one of the bias last; `one` is the constant 1.0, preshifted.
//   y      WIDTH bits, modulo 2^WIDTH, then max(., 0).
//
// Latency: 6 cycles, a new window each cycle.
`default_nettype none

module depthwise_column #(
    parameter WIDTH = 16
) (
    input  wire                    clk,
    input  wire [12*(WIDTH+7)-1:0] own,
    input  wire [WIDTH+6:0]        one,
    input  wire [10*5-1:0]         codes,
    output reg  [WIDTH-1:0]        y
);
    /*verilator hier_block*/
    localparam BITS = WIDTH + 7;

    wire [10*BITS-1:0] x = {one, own[9*BITS-1:0]};
    wire [10*WIDTH-1:0] terms;
    wire [9:0] negative;
    wire [WIDTH-1:0] sum;

    genvar i;
    generate
        for (i = 0; i < 10; i = i + 1) begin : element
            shift_term #(.WIDTH(WIDTH)) multiply (
                .clk(clk), .x(x[i*BITS +: BITS]), .code(codes[i*5 +: 5]),
                .term(terms[i*WIDTH +: WIDTH]), .negative(negative[i])
            );
        end
    endgenerate

    carry_tree #(.N(10), .WIDTH(WIDTH)) tree (.clk(clk), .terms(terms), .ones(negative), .sum(sum));
    always @(posedge clk) y <= sum[WIDTH-1] ? {WIDTH{1'b0}} : sum;
endmodule

`default_nettype wire
