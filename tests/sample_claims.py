"""Claims of an imaginary chapter, for tests."""

from fewbits import evidence


def claim(values=(0.8, 0.9, 1.0), scale="full", **band) -> dict:
    """A paper's claim with one value a seed, not compared with the paper's number; at most 2 unless given."""
    part = evidence.part(values, unit="pt", paper=1.13, margin=1.0, **(band or {"high": 2.0}))
    paper = ("yokota2024", "Table 1", 1.13, "pt")
    statement = "5 bits cost at most 2 points"
    return evidence.paper_claim("demo/drop", statement, paper, part, scale=scale, independent="float networks")


def cited() -> dict:
    statement = "AlexNet reaches 50.3 % with <1-bit> weights & 4-bit activations"
    paper = ("zhou2016dorefa", "Table 3", 50.3, "%")
    return evidence.cited_claim("demo/imagenet", statement, paper, "ImageNet is not at hand")
