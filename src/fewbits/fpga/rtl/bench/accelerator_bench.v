// Runs images through an accelerator, one after the other; the next one is written while one is computed.
//
// Reads images.mem: +images=N images, at most CAPACITY, of PIXELS words in rows of ROW pixels. Writes logits.txt: for each
// image a line for each slice of logits, then one with the cycles from start to the last cycle in which it is busy. With
// +dump it writes maps.txt too: each word that goes into the feature memory, with layer, banks, part and address.
`timescale 1ns / 1ns
`default_nettype none

module accelerator_bench;
    `include "parameters.vh"

    reg clk = 0, start = 0, image_write = 0, image_half = 0;
    reg [10:0] image_address = 0;
    reg [3*WIDTH-1:0] image_pixel = 0;
    wire busy, logits_valid;
    wire [7:0] logits_slice;
    wire [COLUMNS*WIDTH-1:0] logits;
    accelerator #(
        .WIDTH(WIDTH), .COLUMNS(COLUMNS), .STREAM(STREAM), .LAYERS(LAYERS), .WEIGHTS(WEIGHTS),
        .WINDOW_WEIGHTS(WINDOW_WEIGHTS), .SLICE(SLICE), .ENTRY(ENTRY), .LOW(LOW), .AMOUNT(AMOUNT)
    ) dut (
        .clk(clk), .image_write(image_write), .image_address(image_address), .image_pixel(image_pixel), .start(start),
        .image_half(image_half), .busy(busy), .logits_valid(logits_valid), .logits_slice(logits_slice), .logits(logits)
    );

    reg [3*WIDTH-1:0] images [0:CAPACITY*PIXELS-1];
    integer count = 1, dump = 0, image = -1, pixel = 0, cycles = 0, file, maps;
    initial begin
        if (!$value$plusargs("images=%d", count)) count = 1;
        dump = $test$plusargs("dump");
        $readmemh("images.mem", images, 0, count*PIXELS - 1);
        file = $fopen("logits.txt", "w");
        if (dump) maps = $fopen("maps.txt", "w");
    end

    always #1 clk = !clk;

    // Inputs change with the falling edge, outputs are read there: half a cycle from the edge that counts.
    always @(negedge clk) begin
        start <= 0;
        image_write <= 0;
        if (logits_valid) $fdisplay(file, "slice %0d %h", logits_slice, logits);
        if (dump) if (dut.write_valid)
            $fdisplay(maps, "%0d %b %0d %0d %h %h", dut.control.layer, dut.write_banks, dut.write_part,
                      dut.write_address[7:0], dut.upper_result, dut.lower_result);
        if (busy) cycles <= cycles + 1;
        if (pixel < PIXELS && image + 1 < count) begin
            image_write <= 1;
            image_address <= {!image_half, 10'd0} + pixel / ROW * 32 + pixel % ROW;
            image_pixel <= images[(image + 1)*PIXELS + pixel];
            pixel <= pixel + 1;
        end else if (!busy && !start) begin
            if (image >= 0) $fdisplay(file, "image %0d cycles %0d", image, cycles);
            if (image + 1 == count) begin
                $fclose(file);
                if (dump) $fclose(maps);
                $finish;
            end else begin
                image <= image + 1;
                pixel <= 0;
                cycles <= 0;
                start <= 1;
                image_half <= !image_half;
            end
        end
    end
endmodule

`default_nettype wire
