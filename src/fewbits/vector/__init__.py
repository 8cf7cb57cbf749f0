"""Weights that share values: codebooks, Deep Compression, soft weight-sharing."""

from fewbits.core.packing import index_bits
from fewbits.core.quantizer import plain_state
from fewbits.core.vector_codes import VectorCodes
from fewbits.vector.clustering import INITS, assign, initial_centroids, kmeans, lloyd, optimal_centroids, squared_error
from fewbits.vector.deep_compression import DeepCompression, load_network
from fewbits.vector.shared_weights import ProductQuantizer, SharedWeights, share_weights
from fewbits.vector.soft_sharing import MixturePrior, SoftSharing

__all__ = [
    "INITS",
    "DeepCompression",
    "MixturePrior",
    "ProductQuantizer",
    "SharedWeights",
    "SoftSharing",
    "VectorCodes",
    "assign",
    "index_bits",
    "initial_centroids",
    "kmeans",
    "lloyd",
    "load_network",
    "optimal_centroids",
    "plain_state",
    "share_weights",
    "squared_error",
]
