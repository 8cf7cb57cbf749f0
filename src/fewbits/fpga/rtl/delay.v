// The input, CYCLES cycles later. Shift registers: on an FPGA a look-up table holds 32 bits of one.
//
// Latency: CYCLES cycles.
`default_nettype none

module delay #(
    parameter WIDTH = 1,
    parameter CYCLES = 1
) (
    input  wire             clk,
    input  wire [WIDTH-1:0] x,
    output wire [WIDTH-1:0] y
);
    generate
        if (CYCLES == 0) begin : none
            assign y = x;
        end else begin : some
            reg [CYCLES*WIDTH-1:0] line;
            always @(posedge clk) line <= {line, x};
            assign y = line[(CYCLES-1)*WIDTH +: WIDTH];
        end
    endgenerate
endmodule

`default_nettype wire
