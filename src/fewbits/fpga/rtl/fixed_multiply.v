// A fixed-point number times a fixed-point number: what shift_multiply saves.
//
//   x, weight  signed, WIDTH bits, FRACTION of them behind the binary point (Q16.16 by default).
//   product    signed, one bit wider than x as in shift_multiply, and with the same binary point: rounded down.
//              It wraps around: a product of two Q16.16 numbers may need 32 bits before the point.
//
// Latency: 2 cycles, a new pair each cycle.
`default_nettype none

module fixed_multiply #(
    parameter WIDTH = 32,
    parameter FRACTION = 16
) (
    input  wire                    clk,
    input  wire signed [WIDTH-1:0] x,
    input  wire signed [WIDTH-1:0] weight,
    output reg  signed [WIDTH:0]   product
);
    reg signed [2*WIDTH-1:0] exact;

    always @(posedge clk) begin
        exact   <= x * weight;
        product <= exact >>> FRACTION;
    end
endmodule

`default_nettype wire
