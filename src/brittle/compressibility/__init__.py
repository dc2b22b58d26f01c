"""What a weight matrix looks like: compressibility, ranks, sparsity, and Theorem 3.1, layer by layer."""
