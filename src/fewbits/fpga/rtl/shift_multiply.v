// A fixed-point number times a 5-bit power of two: a shift and a conditional negation, no multiplier.
//
//   x        signed fixed point, WIDTH bits. Where the binary point is does not matter here.
//   code     the field of an INQ code, {sign, exponent e}, as fewbits.inq.codebook has it. e = 0 is the weight 0;
//            e = 1 .. EXPONENTS is 2^(n2 + e - 1), where n2 = 1 - EXPONENTS - RIGHT is wired in: each e doubles the one
//            before. Larger e are not used. EXPONENTS = 8 is INQ's own range; 15 is a wider element that uses every
//            field. A tensor enters either one as it is stored: only the wired n2 has to be that of the tensor.
//   product  signed, one bit wider than x, because -(-2^(WIDTH-1)) needs it. Whoever wraps around drops that bit.
//
// Each product is rounded down (towards minus infinity) before it is negated: -(x >> n), which is not (-x) >> n.
// Latency: 2 cycles, a new pair each cycle. One register after the shift, one after the negation.
`default_nettype none

module shift_multiply #(
    parameter WIDTH = 32,
    parameter EXPONENTS = 8,
    parameter RIGHT = 0            // shift of the largest weight, >= 0: it is 2^-RIGHT; with 8 exponents -n1
) (
    input  wire                    clk,
    input  wire signed [WIDTH-1:0] x,
    input  wire        [4:0]       code,
    output reg  signed [WIDTH:0]   product
);
    localparam BITS = $clog2(EXPONENTS);

    wire [3:0] exponent = code[3:0];
    wire [BITS-1:0] distance = EXPONENTS - exponent;

    // A shift by a constant is wires, one by `distance` a tree of multiplexers.
    // `>>>` copies the sign bit down.
    wire signed [WIDTH-1:0] largest = x >>> RIGHT;
    wire signed [WIDTH-1:0] moved = largest >>> distance;

    reg signed [WIDTH-1:0] shifted;
    reg negative;

    // -s is ~s + 1: one exclusive or for each bit, and the 1 enters as the adder's carry.
    wire [WIDTH:0] flipped = {shifted[WIDTH-1], shifted} ^ {(WIDTH+1){negative}};

    always @(posedge clk) begin
        shifted  <= (exponent == 0) ? 0 : moved;
        negative <= code[4];
        product  <= flipped + negative;
    end
endmodule

`default_nettype wire
