// What came in CYCLES cycles ago. Synthesis makes shift registers of it, which are look-up tables used as memory.
`default_nettype none

module delay_line #(
    parameter CYCLES = 5,
    parameter WIDTH = 32
) (
    input  wire             clk,
    input  wire [WIDTH-1:0] next,
    output wire [WIDTH-1:0] late
);
    reg [CYCLES*WIDTH-1:0] waiting;
    always @(posedge clk) waiting <= {waiting, next};
    assign late = waiting[(CYCLES-1)*WIDTH +: WIDTH];
endmodule

`default_nettype wire
