# Table 2 settled with the vendor's tool: places and routes one layer for the ZCU102 and reports what it takes.
#   vivado -mode batch -source tools/vivado.tcl -tclargs shift          (or: float, truncating, fused)
# The report is shift.rpt; fewbits.fpga.vivado.read_utilization reads it. The float layers do not fit: their report is
# that after synthesis.
set design [expr {$argc > 0 ? [lindex $argv 0] : "shift"}]
# The same circuits as in data/results/fpga_gates_resources.csv: 52 float multipliers beyond the DSPs are made of LUTs.
set generics(shift) {FLOAT=0}
set generics(float) {FLOAT=1 SOFT=52 KIND=0}
set generics(truncating) {FLOAT=1 SOFT=52 KIND=1}
set generics(fused) {FLOAT=1 SOFT=52 KIND=2}
read_verilog [glob src/fewbits/fpga/rtl/*.v]
synth_design -top stored_layer -part xczu9eg-ffvb1156-2-e -mode out_of_context -generic $generics($design)
report_utilization -file $design.rpt
create_clock -name clk -period 5.0 [get_ports clk]
if {$design eq "shift"} {
    opt_design
    place_design
    route_design
    report_utilization -file $design.rpt
    report_timing_summary -file ${design}_timing.rpt
}
