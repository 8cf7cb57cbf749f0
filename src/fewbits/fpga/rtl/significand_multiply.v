// The product of two significands of 24 bits, without a register.
//
// SOFT = 0 leaves the choice to the synthesis tool, which takes two multiplier blocks. SOFT = 1 adds the rows of
// multiplication on paper in pairs, then pairs of pairs: look-up tables and carry chains only.
`default_nettype none

module significand_multiply #(
    parameter SOFT = 0
) (
    input  wire [23:0] a,
    input  wire [23:0] b,
    output wire [47:0] product
);
    generate
        if (SOFT) begin : rows
            // Each sum is kept as it is written: otherwise the tool takes all rows apart into single bits.
            genvar i;
            for (i = 0; i < 12; i = i + 1) begin : two
                (* keep *) wire [25:0] sum = (b[2*i] ? a : 24'd0) + {b[2*i+1] ? a : 24'd0, 1'b0};
            end
            for (i = 0; i < 6; i = i + 1) begin : four
                (* keep *) wire [27:0] sum = two[2*i].sum + {two[2*i+1].sum, 2'd0};
            end
            for (i = 0; i < 3; i = i + 1) begin : eight
                (* keep *) wire [31:0] sum = four[2*i].sum + {four[2*i+1].sum, 4'd0};
            end
            (* keep *) wire [39:0] sixteen = eight[0].sum + {eight[1].sum, 8'd0};
            assign product = sixteen + {eight[2].sum, 16'd0};
        end else begin : block
            assign product = a * b;
        end
    endgenerate
endmodule

`default_nettype wire
