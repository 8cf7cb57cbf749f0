// Runs the program of a network: one instruction a layer, four counters (row, column, group, slice), one step a cycle.
//
//   start       1 for a cycle: begin with the first layer. `busy` is 1 from the next cycle to the end of the last layer.
//   side        half of the feature memory that is read; the other one is written.
//   flags .. window_one  fields of the instruction that the rest of the machine needs. They stand still during a layer.
//   step        1 in a cycle that counts. Of this step:
//     row, x           row in the middle, and word in that row; inside_image: which of rows row - 1 .. row + 2 exist.
//     part, entry      part of the word and window that a depthwise convolution takes.
//     clear, take      of the window.
//     weights, window_weights  addresses.
//     first, last      whether a sum begins and ends. slice: of the output channels.
//     first_pixel, last_pixel  of the output; out_row, out_word, out_part: where it goes.
//
// After its last step a layer waits for its results to be written. The fields of an instruction are explained in
// fewbits.fpga.accelerator, which writes the program.
`default_nettype none

module sequencer #(
    parameter PROGRAM = "program.mem",
    parameter LAYERS = 24,
    parameter PARTS = 1            // parts of a memory word
) (
    input  wire         clk,
    input  wire         start,
    output reg          busy,
    output reg          side,
    output wire [7:0]   flags, pool_shift, pre, window_pre,
    output wire [39:0]  one, window_one,
    output reg          step,
    output reg  [7:0]   row, x,
    output wire [3:0]   inside_image,
    output wire [7:0]   part, entry,
    output wire         clear, take,
    output wire [15:0]  weights, window_weights,
    output wire         first, last,
    output reg  [7:0]   slice,
    output wire         first_pixel, last_pixel,
    output wire [7:0]   out_row, out_word, out_part
);
    reg [215:0] program_memory [0:LAYERS-1];
    initial $readmemh(PROGRAM, program_memory);

    reg [7:0] layer, scan, column, group, running, pixel_row, pixel, waiting;
    wire [7:0] height, scans, columns, groups, slices, out_words, row_step, out_step, wait_cycles;
    wire [15:0] base, window_base;
    assign {flags, height, scans, columns, groups, slices, out_words, row_step, out_step, wait_cycles, pool_shift,
            pre, window_pre, base, window_base, one, window_one} = program_memory[layer];
    wire windowed = flags[0], split = flags[1], stride_2 = flags[3], pool = flags[5];

    // A window has a result with its right column: not with the first one, and with every second one if the stride is 2.
    wire emit = !windowed || (stride_2 ? column[0] : column != 0);
    wire beyond = windowed && !stride_2 && column == columns;  // the column to the right of the image
    wire slice_ends = slice == slices || (!emit && !split);
    wire group_ends = slice_ends && group == groups;
    wire column_ends = group_ends && column == columns;

    assign inside_image = {row + 8'd2 < height, row + 8'd1 < height, 1'b1, row != 0} & {4{!beyond}};
    assign part = split ? slice : 8'd0;
    assign entry = split ? running : group;
    assign clear = column == 0;
    assign take = step && (slice_ends || split);
    assign weights = base + running;
    assign window_weights = window_base + group;
    assign first = group == 0 || split;
    assign last = step && emit && (group == groups || split);
    assign first_pixel = pixel_row == 0 && pixel == 0;
    assign last_pixel = scan == scans && column == columns;
    assign out_row = pool ? 8'd0 : pixel_row;
    assign out_word = (pool ? 8'd0 : pixel) + (split ? group : slice / PARTS);
    assign out_part = split ? slice : slice % PARTS;

    always @(posedge clk) begin
        if (start) begin
            {layer, scan, row, pixel_row, column, x, pixel, group, slice, running} <= 0;
            {busy, step, side} <= 3'b110;
        end else if (step) begin
            slice <= slice_ends ? 8'd0 : slice + 8'd1;
            running <= group_ends ? 8'd0 : running + 8'd1;
            if (slice_ends) begin
                group <= group_ends ? 8'd0 : group + 8'd1;
                x <= column_ends ? 8'd0 : x + 8'd1;
            end
            if (group_ends) begin
                column <= column_ends ? 8'd0 : column + 8'd1;
                pixel <= column_ends ? 8'd0 : emit ? pixel + out_words : pixel;
            end
            if (column_ends) begin
                scan <= scan == scans ? 8'd0 : scan + 8'd1;
                row <= scan == scans ? 8'd0 : row + row_step;
                pixel_row <= scan == scans ? 8'd0 : pixel_row + out_step;
                step <= scan != scans;
            end
            waiting <= wait_cycles;
        end else if (busy) begin
            waiting <= waiting - 8'd1;
            if (waiting == 1) begin
                layer <= layer + 8'd1;
                side <= !side;
                step <= layer != LAYERS - 1;
                busy <= layer != LAYERS - 1;
            end
        end
    end
endmodule

`default_nettype wire
