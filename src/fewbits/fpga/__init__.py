"""Hardware: models of processors whose time and circuits follow from the number of bits."""
