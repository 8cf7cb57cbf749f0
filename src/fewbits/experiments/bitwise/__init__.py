"""The experiment ``bitwise``: what trains and measures for the records of its chapter."""
