"""What every method is built from: checks, bit streams, stored forms, the quantizer interface, counters."""
