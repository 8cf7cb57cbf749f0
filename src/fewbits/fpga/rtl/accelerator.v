// A whole network of separable convolutions, one layer after the other, on one array of shift-adders.
//
//   memories    images (two of them: one is computed, the next one written) and feature maps (two halves: a layer reads
//               one and writes the other) in block RAM, four rows at a time; weights, a word for the whole array each cycle.
//   array       COLUMNS columns of 32 elements (COLUMNS = 4, 8, 16 or 32). Pointwise convolutions and classifiers give all
//               columns the same 32 channels of a pixel, the first layer the same window of three channels; a depthwise
//               convolution gives each column the window of its own channel and has two outputs in one cycle.
//   STREAM      1 (needs COLUMNS = 32): another 9 * 32 elements compute the depthwise half of a separable convolution, and
//               its results go straight into the array, which computes the pointwise half.
//
//   image_write, image_address {half, row, column}, image_pixel: to write an image, channel 0 in the lowest bits.
//   start       1 for a cycle while not busy: compute the image in half `image_half`.
//   logits      COLUMNS of them, slice `logits_slice` of the classes, whenever logits_valid is 1; the last ones at the
//               latest in the last cycle in which `busy` is 1.
//
// Numbers have WIDTH bits in two's complement, and sums wrap around; where their point is, the files know.
// Latency of a step, from the counters to the feature memory: 13 cycles, 21 of a separable convolution.
`default_nettype none

module accelerator #(
    parameter WIDTH = 16,
    parameter COLUMNS = 32,
    parameter STREAM = 0,
    parameter LAYERS = 24,
    parameter WEIGHTS = 8,         // bits of a weight address: of the array,
    parameter WINDOW_WEIGHTS = 5,  // and of the depthwise elements if STREAM = 1
    parameter SLICE = 3,           // bits of the number of a slice of output channels,
    parameter ENTRY = 2,           // and of a window
    parameter LOW = 1,             // minus the lowest exponent n1 of a layer, at least 0
    parameter AMOUNT = 3,          // bits of n1 + LOW
    parameter PROGRAM = "program.mem",
    parameter WEIGHT_FILE = "weights.mem",
    parameter WINDOW_FILE = "window_weights.mem"
) (
    input  wire                     clk,
    input  wire                     image_write,
    input  wire [10:0]              image_address,
    input  wire [3*WIDTH-1:0]       image_pixel,
    input  wire                     start,
    input  wire                     image_half,
    output wire                     busy,
    output wire                     logits_valid,
    output wire [7:0]               logits_slice,
    output wire [COLUMNS*WIDTH-1:0] logits
);
    localparam BITS = WIDTH + 7;
    localparam PARTS = 32 / COLUMNS;

    // --- Control: a step, and the same step some cycles later ---
    wire side, step, clear, take, first, last, first_pixel, last_pixel;
    wire [7:0] flags, pool_shift, pre, window_pre, row, x, part, entry, slice, out_row, out_word, out_part;
    wire [39:0] one, window_one;
    wire [3:0] inside_image;
    wire [15:0] weights, window_weights;
    sequencer #(.PROGRAM(PROGRAM), .LAYERS(LAYERS), .PARTS(PARTS)) control (
        .clk(clk), .start(start), .busy(busy), .side(side), .flags(flags), .pool_shift(pool_shift), .pre(pre),
        .window_pre(window_pre), .one(one), .window_one(window_one), .step(step), .row(row), .x(x),
        .inside_image(inside_image), .part(part), .entry(entry), .clear(clear), .take(take), .weights(weights),
        .window_weights(window_weights), .first(first), .last(last), .slice(slice), .first_pixel(first_pixel),
        .last_pixel(last_pixel), .out_row(out_row), .out_word(out_word), .out_part(out_part)
    );
    wire split = flags[1], stem = flags[2], two_rows = split && !flags[3], separable = flags[4], pool = flags[5];
    wire relu = flags[6], final_layer = flags[7];

    // --- Four rows of a column of the image: 3 cycles ---
    wire [7:0] above = row - 8'd1;
    wire [4*32*WIDTH-1:0] features, words, rows;
    wire [4*3*WIDTH-1:0] image;
    wire [4*9-1:0] feature_address, image_read_address;
    genvar b, c, i;
    generate
        for (b = 0; b < 4; b = b + 1) begin : bank
            // Bank b has the row of above .. above + 3 whose number is b modulo 4: four rows further on if b lies before.
            wire [2:0] line = above[4:2] + (b < above[1:0]);
            assign feature_address[b*9 +: 9] = {side, line, x[4:0]};
            assign image_read_address[b*9 +: 9] = {read_half, line, x[4:0]};
            assign words[b*32*WIDTH +: 32*WIDTH] = {
                features[(b*32 + 3)*WIDTH +: 29*WIDTH],
                stem ? image[b*3*WIDTH +: 3*WIDTH] : features[b*32*WIDTH +: 3*WIDTH]
            };
        end
    endgenerate
    reg read_half;
    always @(posedge clk) if (start) read_half <= image_half;

    wire write_valid;
    wire [3:0] write_banks;
    wire [7:0] write_part;
    wire [8:0] write_address;
    wire [COLUMNS*WIDTH-1:0] upper_result, lower_result;
    feature_memory #(.CHANNELS(3), .PART(3), .WIDTH(WIDTH)) image_memory (
        .clk(clk), .read_address(image_read_address), .read(image), .write({3'b0, image_write} << image_address[6:5]),
        .part(8'd0), .write_address({image_address[10:7], image_address[4:0]}), .even(image_pixel), .odd(image_pixel)
    );
    feature_memory #(.CHANNELS(32), .PART(COLUMNS), .WIDTH(WIDTH)) memory (
        .clk(clk), .read_address(feature_address), .read(features), .write(write_banks), .part(write_part),
        .write_address(write_address), .even(upper_result), .odd(two_rows ? lower_result : upper_result)
    );
    wire [1:0] above_2;
    wire [3:0] inside_2;
    delay #(.WIDTH(6), .CYCLES(2)) to_2 (.clk(clk), .x({above[1:0], inside_image}), .y({above_2, inside_2}));
    row_select #(.WIDTH(32*WIDTH)) order (.clk(clk), .words(words), .top(above_2), .inside_image(inside_2), .rows(rows));

    // --- Windows of the channels of one part: 2 cycles more ---
    wire [7:0] part_3, entry_4;
    wire clear_4, take_4;
    delay #(.WIDTH(8), .CYCLES(3)) to_3 (.clk(clk), .x(part), .y(part_3));
    delay #(.WIDTH(10), .CYCLES(4)) to_4 (.clk(clk), .x({entry, clear, take}), .y({entry_4, clear_4, take_4}));
    wire [COLUMNS*4*WIDTH-1:0] strip;
    wire [COLUMNS*4*BITS-1:0] shifted_strip;
    wire [COLUMNS*12*BITS-1:0] windows;
    reg [COLUMNS*12*BITS-1:0] own;
    always @(posedge clk) own <= windows;
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : channel
            for (i = 0; i < 4; i = i + 1) begin : pixel
                assign strip[(c*4 + i)*WIDTH +: WIDTH] = rows[(i*32 + part_3*COLUMNS + c)*WIDTH +: WIDTH];
            end
        end
    endgenerate
    preshift #(.N(COLUMNS*4), .WIDTH(WIDTH), .LOW(LOW), .AMOUNT(AMOUNT)) window_shift (
        .clk(clk), .x(strip), .amount(window_pre[AMOUNT-1:0]), .y(shifted_strip)
    );
    window #(.CHANNELS(COLUMNS), .BITS(BITS), .ENTRY(ENTRY)) window (
        .clk(clk), .strip(shifted_strip), .entry(entry_4[ENTRY-1:0]), .clear(clear_4), .take(take_4), .y(windows)
    );

    // --- What all columns get: 2 cycles after the rows, 10 of a separable convolution ---
    localparam STEP = 16 + 1 + 1 + 8 + 1 + 1 + 8 + 8 + 8;
    wire [STEP-1:0] step_3, step_now;
    delay #(.WIDTH(STEP), .CYCLES(3)) control_3 (
        .clk(clk), .x({weights, first, last, slice, first_pixel, last_pixel, out_row, out_word, out_part}), .y(step_3)
    );
    wire [32*WIDTH-1:0] pixel_word;
    generate
        if (STREAM) begin : streaming
            wire [STEP-1:0] step_11;
            wire [32*WIDTH-1:0] depthwise;
            wire [32*50-1:0] window_codes;
            wire [15:0] address;
            delay #(.WIDTH(STEP), .CYCLES(8)) control_11 (.clk(clk), .x(step_3), .y(step_11));
            delay #(.WIDTH(16), .CYCLES(3)) to_weights (.clk(clk), .x(window_weights), .y(address));
            block_ram #(.WIDTH(32*50), .ADDRESS(WINDOW_WEIGHTS), .FILE(WINDOW_FILE)) window_memory (
                .clk(clk), .write(1'b0), .write_address({WINDOW_WEIGHTS{1'b0}}), .data({32*50{1'b0}}),
                .read_address(address[WINDOW_WEIGHTS-1:0]), .q(window_codes)
            );
            for (c = 0; c < 32; c = c + 1) begin : spatial
                depthwise_column #(.WIDTH(WIDTH)) filter (
                    .clk(clk), .own(own[c*12*BITS +: 12*BITS]), .one(window_one[BITS-1:0]),
                    .codes(window_codes[c*50 +: 50]), .y(depthwise[c*WIDTH +: WIDTH])
                );
            end
            assign pixel_word = separable ? depthwise : rows[32*WIDTH +: 32*WIDTH];
            assign step_now = separable ? step_11 : step_3;
        end else begin : shared
            assign pixel_word = rows[32*WIDTH +: 32*WIDTH];
            assign step_now = step_3;
        end
    endgenerate
    wire [32*BITS-1:0] shifted_word;
    wire [27*BITS-1:0] stem_window;
    reg [32*BITS-1:0] lanes;
    preshift #(.N(32), .WIDTH(WIDTH), .LOW(LOW), .AMOUNT(AMOUNT)) word_shift (
        .clk(clk), .x(pixel_word), .amount(pre[AMOUNT-1:0]), .y(shifted_word)
    );
    assign stem_window = {windows[24*BITS +: 9*BITS], windows[12*BITS +: 9*BITS], windows[0 +: 9*BITS]};
    always @(posedge clk)
        lanes <= {shifted_word[27*BITS +: 5*BITS], stem ? stem_window : shifted_word[0 +: 27*BITS]};

    // --- The array: 7 cycles ---
    wire [15:0] address_now;
    wire first_now, last_now, first_pixel_now, last_pixel_now;
    wire [7:0] slice_now, out_row_now, out_word_now, out_part_now;
    assign {address_now, first_now, last_now, slice_now, first_pixel_now, last_pixel_now, out_row_now, out_word_now,
            out_part_now} = step_now;
    wire [COLUMNS*165-1:0] codes;
    block_ram #(.WIDTH(COLUMNS*165), .ADDRESS(WEIGHTS), .FILE(WEIGHT_FILE)) weight_memory (
        .clk(clk), .write(1'b0), .write_address({WEIGHTS{1'b0}}), .data({COLUMNS*165{1'b0}}),
        .read_address(address_now[WEIGHTS-1:0]), .q(codes)
    );
    wire first_8;
    wire [SLICE-1:0] slice_8;
    delay #(.WIDTH(1 + SLICE), .CYCLES(8)) to_sums (
        .clk(clk), .x({first_now, slice_now[SLICE-1:0]}), .y({first_8, slice_8})
    );
    wire [COLUMNS*WIDTH-1:0] upper, lower;
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : array
            column #(.WIDTH(WIDTH), .SLICE(SLICE), .SPLIT(!STREAM)) filter (
                .clk(clk), .lanes(lanes), .own(own[c*12*BITS +: 12*BITS]), .one(one[BITS-1:0]),
                .codes(codes[c*165 +: 165]), .split(split), .relu(relu), .first(first_8), .slice(slice_8),
                .upper(upper[c*WIDTH +: WIDTH]), .lower(lower[c*WIDTH +: WIDTH])
            );
        end
    endgenerate

    // --- Back to the memory: 1 cycle ---
    wire last_9, first_pixel_9, last_pixel_9;
    wire [7:0] slice_9, out_row_10, out_word_10;
    delay #(.WIDTH(11), .CYCLES(9)) to_pool (
        .clk(clk), .x({last_now, first_pixel_now, last_pixel_now, slice_now}),
        .y({last_9, first_pixel_9, last_pixel_9, slice_9})
    );
    delay #(.WIDTH(24), .CYCLES(10)) to_memory (
        .clk(clk), .x({out_row_now, out_word_now, out_part_now}), .y({out_row_10, out_word_10, write_part})
    );
    average_pool #(.CHANNELS(COLUMNS), .WIDTH(WIDTH), .SLICE(SLICE)) average (
        .clk(clk), .pool(pool), .valid(last_9), .x(upper), .slice(slice_9[SLICE-1:0]), .first_pixel(first_pixel_9),
        .last_pixel(last_pixel_9), .shift(pool_shift[3:0]), .y_valid(write_valid), .y(upper_result)
    );
    delay #(.WIDTH(COLUMNS*WIDTH), .CYCLES(1)) lower_1 (.clk(clk), .x(lower), .y(lower_result));
    delay #(.WIDTH(8), .CYCLES(1)) to_logits (.clk(clk), .x(slice_9), .y(logits_slice));

    assign write_banks = {2'b00, two_rows && write_valid, write_valid} << out_row_10[1:0];
    assign write_address = {!side, out_row_10[4:2], out_word_10[4:0]};
    assign logits_valid = final_layer && write_valid;
    assign logits = upper_result;
endmodule

`default_nettype wire
