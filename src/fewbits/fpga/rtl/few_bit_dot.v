// N products of weights of few bits and activations of few bits in parallel, and their sum without loss.
//
//   x        N unsigned activations of A bits (KIND 0: one bit is a sign, 1 for +1), the first in the lowest bits.
//   weights  N codes of W bits; what they mean depends on KIND:
//              0  sign times sign (A = 1): 1 for +1, 0 for -1. `sum` counts the products that are +1.
//              1  sign: 1 for +1, 0 for -1.
//              2  ternary: bit 0 is 1 unless the weight is 0, bit 1 is 1 for a negative weight.
//              3  power of two: the top bit is 1 for a negative weight, the others are e: 0, or 2^(e-1) for e <= EXPONENTS.
//              4  integer: two's complement.
//              5  index into `entries`.
//              6  choice: 1 for 1, 0 for 0.
//   entries  KIND 5: the codebook, 2^W signed numbers of E bits. Not used by the others.
//   sum      signed; wide enough.
//
// Latency: 1 + $clog2(N) cycles, a new set of inputs each cycle.
`default_nettype none

module few_bit_dot #(
    parameter N = 32,
    parameter KIND = 4,
    parameter W = 8,
    parameter A = 8,
    parameter E = 8,
    parameter EXPONENTS = 8,
    // Bits of one product, and of the sum.
    parameter PRODUCT = KIND == 3 ? A + EXPONENTS : KIND == 4 ? A + W : KIND == 5 ? A + E : A + 1,
    parameter SUM = PRODUCT + $clog2(N)
) (
    input  wire               clk,
    input  wire [N*A-1:0]     x,
    input  wire [N*W-1:0]     weights,
    input  wire [(1<<W)*E-1:0] entries,
    output wire [SUM-1:0]     sum
);
    wire [N*SUM-1:0] terms;

    genvar i;
    generate
        for (i = 0; i < N; i = i + 1) begin : lane
            wire signed [A:0] activation = {1'b0, x[i*A +: A]};
            wire [W-1:0] code = weights[i*W +: W];
            wire signed [PRODUCT-1:0] product;
            if (KIND == 0) begin : xnor_of_signs
                assign product = {1'b0, ~(x[i] ^ code[0])};
            end else if (KIND == 1) begin : by_sign
                assign product = (activation ^ {(A+1){!code[0]}}) + !code[0];  // -x is ~x + 1
            end else if (KIND == 2) begin : by_ternary
                wire signed [A:0] chosen = activation & {(A+1){code[0]}};
                assign product = (chosen ^ {(A+1){code[1]}}) + code[1];
            end else if (KIND == 3) begin : by_shift
                wire [W-2:0] exponent = code[W-2:0];
                wire signed [PRODUCT-1:0] extended = exponent == 0 ? 0 : activation;
                wire signed [PRODUCT-1:0] shifted = extended << (exponent - 1'b1);
                assign product = (shifted ^ {PRODUCT{code[W-1]}}) + code[W-1];
            end else if (KIND == 4) begin : by_integer
                assign product = activation * $signed(code);
            end else if (KIND == 5) begin : by_entry
                wire signed [E-1:0] entry = entries[code*E +: E];
                assign product = activation * entry;
            end else begin : by_choice
                assign product = activation & {(A+1){code[0]}};
            end
            reg signed [PRODUCT-1:0] held;
            always @(posedge clk) held <= product;
            wire signed [SUM-1:0] term = held;
            assign terms[i*SUM +: SUM] = term;
        end
    endgenerate

    adder_tree #(.N(N), .WIDTH(SUM)) tree (.clk(clk), .terms(terms), .sum(sum));
endmodule

`default_nettype wire
