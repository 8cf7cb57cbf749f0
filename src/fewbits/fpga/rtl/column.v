// A column of the array: 32 elements and one for the bias, two trees of adders, and a sum for each output channel.
//
//   lanes   32 numbers from `preshift`, the same for all columns.
//   own     a window of `window`, this column's channel. With `split` = 1 elements 0 .. 8 take its upper three rows,
//           16 .. 24 its lower three, and 9 and 25 take `one`: two outputs of a depthwise convolution with their biases.
//   codes   33 fields of 5 bits for the elements, the one of the bias last; `one` is the constant 1.0, preshifted.
//   first, slice   6 cycles after the lanes: whether a sum begins (with the bias), and which. A pixel has several sums at
//           a time: each word of 32 input channels is used for all output channels before the next word comes.
//   upper   the sum after max(., 0) if `relu`; lower: the second output if `split`.
//
// Latency: 7 cycles, new lanes each cycle. All numbers WIDTH bits, modulo 2^WIDTH; lanes and windows have 7 more.
`default_nettype none

module column #(
    parameter WIDTH = 16,
    parameter SLICE = 3,           // bits of `slice`
    parameter SPLIT = 1            // 0: no depthwise convolutions, `own` is not used
) (
    input  wire                     clk,
    input  wire [32*(WIDTH+7)-1:0]  lanes,
    input  wire [12*(WIDTH+7)-1:0]  own,
    input  wire [WIDTH+6:0]         one,
    input  wire [33*5-1:0]          codes,
    input  wire                     split,
    input  wire                     relu,
    input  wire                     first,
    input  wire [SLICE-1:0]         slice,
    output reg  [WIDTH-1:0]         upper,
    output reg  [WIDTH-1:0]         lower
);
    /*verilator hier_block*/
    localparam BITS = WIDTH + 7;

    wire [32*WIDTH-1:0] terms;
    wire [31:0] negative;

    genvar i;
    generate
        for (i = 0; i < 32; i = i + 1) begin : element
            wire [BITS-1:0] x;
            if (SPLIT && i % 16 < 9) begin : window_pixel
                assign x = split ? own[(i / 16 * 3 + i % 16)*BITS +: BITS] : lanes[i*BITS +: BITS];
            end else if (SPLIT && i % 16 == 9) begin : window_bias
                assign x = split ? one : lanes[i*BITS +: BITS];
            end else begin : lane
                assign x = lanes[i*BITS +: BITS];
            end
            shift_term #(.WIDTH(WIDTH)) multiply (
                .clk(clk), .x(x), .code(codes[i*5 +: 5]), .term(terms[i*WIDTH +: WIDTH]), .negative(negative[i])
            );
        end
    endgenerate

    wire [WIDTH-1:0] upper_half, lower_half;
    carry_tree #(.N(16), .WIDTH(WIDTH)) upper_tree (
        .clk(clk), .terms(terms[0 +: 16*WIDTH]), .ones(negative[15:0]), .sum(upper_half)
    );
    carry_tree #(.N(16), .WIDTH(WIDTH)) lower_tree (
        .clk(clk), .terms(terms[16*WIDTH +: 16*WIDTH]), .ones(negative[31:16]), .sum(lower_half)
    );

    // The two carries that found no adder in the trees, and the bias, wait for the sum.
    wire carry_15, carry_31;
    delay #(.CYCLES(4)) wait_15 (.clk(clk), .x(negative[15]), .y(carry_15));
    delay #(.CYCLES(5)) wait_31 (.clk(clk), .x(negative[31]), .y(carry_31));

    wire [WIDTH-1:0] bias_term, bias;
    wire bias_negative;
    shift_term #(.WIDTH(WIDTH)) bias_multiply (
        .clk(clk), .x(one), .code(codes[32*5 +: 5]), .term(bias_term), .negative(bias_negative)
    );
    delay #(.WIDTH(WIDTH), .CYCLES(5)) wait_bias (.clk(clk), .x(bias_term + bias_negative), .y(bias));

    reg [WIDTH:0] total;
    reg [WIDTH-1:0] second;
    (* ram_style = "distributed" *) reg [WIDTH-1:0] sums [0:(1<<SLICE)-1];
    wire [WIDTH-1:0] start = first ? bias : sums[slice];
    wire [WIDTH:0] sum = {start, 1'b1} + {total[WIDTH:1], carry_31};

    always @(posedge clk) begin
        total  <= {upper_half, 1'b1} + {split ? {WIDTH{1'b0}} : lower_half, carry_15};
        second <= lower_half;
        sums[slice] <= sum[WIDTH:1];
        upper <= relu && sum[WIDTH] ? {WIDTH{1'b0}} : sum[WIDTH:1];
        lower <= relu && second[WIDTH-1] ? {WIDTH{1'b0}} : second;
    end
endmodule

`default_nettype wire
