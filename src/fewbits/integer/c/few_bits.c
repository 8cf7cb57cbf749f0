/* Runs an integer-only network: codes of 8 bits in, int32 sums between, codes of 8 bits out.

   C99 with no floating point, no heap and no library but memcpy. The numbers are in a header, network.h, that
   fewbits.integer.write_c makes; they are the steps of an IntegerNetwork, and so are the results, bit for bit.

       cc -std=c99 -O2 -c few_bits.c                             the function network_run, for firmware
       cc -std=c99 -O2 -DFEW_BITS_MAIN few_bits.c -o network     a program: codes from stdin, codes to stdout
       ... -DFEW_BITS_NETWORK='"digits.h"' ...                   another network, with the function digits_run

   Codes lie one in a byte, in two's complement where their grid is signed; an image as (channel, row, column). */

#include <stdint.h>
#include <string.h>

enum Kind { LAYER, ADD, GLOBAL_AVERAGE, MAX_POOL };
enum Rounding { UPWARD, AWAY, EVEN, DOUBLE }; /* of ties; DOUBLE: gemmlowp's two roundings */

typedef struct {
    int32_t channels, height, width;
} Shape;

typedef struct {
    int32_t rows, columns;
} Pair;

typedef struct {
    enum Kind kind;
    int32_t from, to; /* places of input and output in the memory of codes */
    Shape in, out;
    int32_t zero_point; /* of the input */
    int in_signed;

    /* An addition has a second input; its two multipliers take the place of the one of the output. */
    int32_t from2, zero_point2, multiplier1, multiplier2;
    int in2_signed;

    /* Layers and pools; a linear layer is a convolution of one pixel. */
    Pair kernel, stride, padding, dilation;
    int32_t groups;
    const int8_t *weight;       /* (outputs, channels of a group, rows, columns) */
    const int16_t *wide_weight; /* instead, where a weight is +128 */
    const int32_t *bias;
    int32_t bias_unit; /* sums times this are in steps of the bias */

    /* From a sum to codes: sum * multiplier / 2^(31 + shift), rounded, plus the zero point, clipped. */
    const int32_t *multiplier, *shift;
    int per_channel; /* 1: as many as outputs, 0: one */
    enum Rounding rounding;
    int32_t out_zero_point, q_min, q_max;
} Step;

#define FEW_BITS_STEPS
#ifndef FEW_BITS_NETWORK
#define FEW_BITS_NETWORK "network.h"
#endif
#include FEW_BITS_NETWORK

static uint8_t memory[MEMORY_SIZE]; /* the codes of all steps; those that are not needed any more are written over */

static int32_t read_code(uint8_t byte, int is_signed) {
    return is_signed && byte > 127 ? byte - 256 : byte;
}

/* x / 2^places, rounded down. C leaves open what >> makes of a negative number. */
static int64_t shift_right(int64_t x, int32_t places) {
    return x >= 0 ? x >> places : ~(~x >> places);
}

/* x / 2^places, rounded to nearest. */
static int64_t rounding_shift(int64_t x, int32_t places, enum Rounding rounding) {
    if (places == 0)
        return x;
    int64_t half = (int64_t)1 << (places - 1);
    int64_t rounded = shift_right(x + half, places);
    int tie = rounded * ((int64_t)1 << places) == x + half;
    if (tie && ((rounding == AWAY && x < 0) || (rounding == EVEN && rounded % 2 != 0)))
        rounded -= 1;
    return rounded;
}

/* product / 2^(31 + shift), rounded. */
static int64_t shift_product(int64_t product, int32_t shift, enum Rounding rounding) {
    if (rounding != DOUBLE)
        return rounding_shift(product, 31 + shift, rounding);
    int32_t left = shift < 0 ? -shift : 0, right = shift > 0 ? shift : 0;
    int64_t high = rounding_shift(product * ((int64_t)1 << left), 31, UPWARD);
    return rounding_shift(high, right, AWAY);
}

/* Adds the zero point and clips: an integer in steps of the output becomes a code. */
static uint8_t saturate(const Step *step, int64_t scaled) {
    int64_t code = scaled + step->out_zero_point;
    return (uint8_t)(code < step->q_min ? step->q_min : code > step->q_max ? step->q_max : code);
}

static uint8_t requantize(const Step *step, int32_t sum, int32_t channel) {
    int32_t index = step->per_channel ? channel : 0;
    int64_t product = (int64_t)sum * step->multiplier[index];
    return saturate(step, shift_product(product, step->shift[index], step->rounding));
}

/* One sum of a layer: outputs of channel m at pixel (row, column). What is padded adds nothing. */
static int32_t layer_sum(const Step *step, const uint8_t *input, int32_t m, int32_t row, int32_t column) {
    int32_t depth = step->in.channels / step->groups;
    int32_t first = m / (step->out.channels / step->groups) * depth;
    int32_t index = m * depth * step->kernel.rows * step->kernel.columns;
    int32_t sum = 0;
    for (int32_t c = first; c < first + depth; c++)
        for (int32_t i = 0; i < step->kernel.rows; i++)
            for (int32_t j = 0; j < step->kernel.columns; j++, index++) {
                int32_t y = row * step->stride.rows - step->padding.rows + i * step->dilation.rows;
                int32_t x = column * step->stride.columns - step->padding.columns + j * step->dilation.columns;
                if (y < 0 || y >= step->in.height || x < 0 || x >= step->in.width)
                    continue;
                uint8_t byte = input[(c * step->in.height + y) * step->in.width + x];
                int32_t weight = step->wide_weight ? step->wide_weight[index] : step->weight[index];
                sum += weight * (read_code(byte, step->in_signed) - step->zero_point);
            }
    return sum * step->bias_unit + step->bias[m];
}

/* The greatest code of a window. */
static uint8_t window_maximum(const Step *step, const uint8_t *input, int32_t c, int32_t row, int32_t column) {
    int32_t greatest = step->in_signed ? -128 : 0;
    for (int32_t i = 0; i < step->kernel.rows; i++)
        for (int32_t j = 0; j < step->kernel.columns; j++) {
            int32_t y = row * step->stride.rows - step->padding.rows + i * step->dilation.rows;
            int32_t x = column * step->stride.columns - step->padding.columns + j * step->dilation.columns;
            if (y < 0 || y >= step->in.height || x < 0 || x >= step->in.width)
                continue;
            int32_t code = read_code(input[(c * step->in.height + y) * step->in.width + x], step->in_signed);
            if (code > greatest)
                greatest = code;
        }
    return (uint8_t)greatest;
}

static void run_windows(const Step *step, const uint8_t *input, uint8_t *output) {
    for (int32_t m = 0; m < step->out.channels; m++)
        for (int32_t row = 0; row < step->out.height; row++)
            for (int32_t column = 0; column < step->out.width; column++)
                *output++ = step->kind == LAYER ? requantize(step, layer_sum(step, input, m, row, column), m)
                                                : window_maximum(step, input, m, row, column);
}

static void run_add(const Step *step, const uint8_t *first, const uint8_t *second, uint8_t *output) {
    int32_t count = step->out.channels * step->out.height * step->out.width;
    for (int32_t i = 0; i < count; i++) {
        int64_t sum = (int64_t)step->multiplier1 * (read_code(first[i], step->in_signed) - step->zero_point) +
                      (int64_t)step->multiplier2 * (read_code(second[i], step->in2_signed) - step->zero_point2);
        output[i] = saturate(step, shift_product(sum, step->shift[0], step->rounding));
    }
}

static void run_global_average(const Step *step, const uint8_t *input, uint8_t *output) {
    int32_t pixels = step->in.height * step->in.width;
    for (int32_t c = 0; c < step->in.channels; c++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < pixels; i++)
            sum += read_code(*input++, step->in_signed) - step->zero_point;
        output[c] = requantize(step, sum, c); /* 1 / pixels is part of the multiplier */
    }
}

/* One image. Returns 0; or -1, with no output, where an input is no code of the input grid. */
int FEW_BITS_RUN(const uint8_t *input, uint8_t *output) {
    for (int32_t i = 0; i < INPUT_SIZE; i++) {
        int32_t code = read_code(input[i], INPUT_MIN < 0);
        if (code < INPUT_MIN || code > INPUT_MAX)
            return -1;
    }
    memcpy(memory + INPUT_PLACE, input, INPUT_SIZE);
    for (int32_t s = 0; s < STEP_COUNT; s++) {
        const Step *step = &steps[s];
        const uint8_t *from = memory + step->from;
        uint8_t *to = memory + step->to;
        switch (step->kind) {
        case LAYER:
        case MAX_POOL:
            run_windows(step, from, to);
            break;
        case ADD:
            run_add(step, from, memory + step->from2, to);
            break;
        case GLOBAL_AVERAGE:
            run_global_average(step, from, to);
            break;
        }
    }
    memcpy(output, memory + OUTPUT_PLACE, OUTPUT_SIZE);
    return 0;
}

#ifdef FEW_BITS_MAIN
#include <stdio.h>

int main(void) {
    static uint8_t image[INPUT_SIZE], result[OUTPUT_SIZE];
    size_t got;
    while ((got = fread(image, 1, INPUT_SIZE, stdin)) == INPUT_SIZE) {
        if (FEW_BITS_RUN(image, result)) {
            fprintf(stderr, "an input is no code of the input grid\n");
            return 1;
        }
        if (fwrite(result, 1, OUTPUT_SIZE, stdout) != OUTPUT_SIZE)
            return 1;
    }
    if (got)
        fprintf(stderr, "the last image is cut off\n");
    return got || ferror(stdin) || fflush(stdout);
}
#endif
