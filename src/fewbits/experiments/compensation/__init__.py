"""The experiment ``compensation``: what chooses settings and measures for the records of its chapter."""
