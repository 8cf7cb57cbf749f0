// Four rows in their order, from four banks: row i is in bank (top + i) mod 4. Rows outside the image are 0.
//
//   words  a word of each bank, bank 0 in the lowest bits.
//   top    bank of the upper row.
//   inside_image  which rows lie in the image, the upper one in bit 0.
//   rows   the upper one in the lowest bits.
//
// Latency: 1 cycle.
`default_nettype none

module row_select #(
    parameter WIDTH = 512
) (
    input  wire               clk,
    input  wire [4*WIDTH-1:0] words,
    input  wire [1:0]         top,
    input  wire [3:0]         inside_image,
    output reg  [4*WIDTH-1:0] rows
);
    wire [7*WIDTH-1:0] twice = {words[3*WIDTH-1:0], words};

    genvar i;
    generate
        for (i = 0; i < 4; i = i + 1) begin : row
            wire [WIDTH-1:0] chosen = top == 0 ? twice[i*WIDTH +: WIDTH] : top == 1 ? twice[(i+1)*WIDTH +: WIDTH] :
                                      top == 2 ? twice[(i+2)*WIDTH +: WIDTH] : twice[(i+3)*WIDTH +: WIDTH];
            always @(posedge clk) rows[i*WIDTH +: WIDTH] <= inside_image[i] ? chosen : {WIDTH{1'b0}};
        end
    endgenerate
endmodule

`default_nettype wire
