// Adds one term a cycle.
//
//   first  1 with the first term of a sum: what was there before is dropped.
//   term   signed, WIDTH + 1 bits.
//   sum    signed, WIDTH bits. It wraps around, or stops at its limits if SATURATE = 1.
//
// Latency: 1 cycle.
`default_nettype none

module accumulator #(
    parameter WIDTH = 32,
    parameter SATURATE = 0
) (
    input  wire                    clk,
    input  wire                    first,
    input  wire signed [WIDTH:0]   term,
    output reg  signed [WIDTH-1:0] sum
);
    // Two bits wider than the sum, so that nothing is lost yet.
    wire signed [WIDTH+1:0] sum_before = first ? 0 : sum;
    wire signed [WIDTH+1:0] total = sum_before + term;

    // It fits if all bits above the sum's sign are copies of it.
    wire fits = (total[WIDTH+1:WIDTH-1] == 3'b000) || (total[WIDTH+1:WIDTH-1] == 3'b111);
    wire [WIDTH-1:0] limit = {total[WIDTH+1], {(WIDTH-1){~total[WIDTH+1]}}};

    always @(posedge clk) sum <= (SATURATE && !fits) ? limit : total[WIDTH-1:0];
endmodule

`default_nettype wire
