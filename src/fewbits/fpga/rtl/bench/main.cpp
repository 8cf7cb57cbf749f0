// Runs the test bench in Verilator until it finishes. (Verilator's own `--main` cannot be used with `--hierarchical`.)

#include "Vaccelerator_bench.h"
#include "verilated.h"

int main(int count, char** arguments) {
    VerilatedContext context;
    context.commandArgs(count, arguments);
    Vaccelerator_bench bench{&context};
    while (!context.gotFinish()) {
        bench.eval();
        if (!bench.eventsPending()) break;
        context.time(bench.nextTimeSlot());
    }
    bench.final();
    return 0;
}
