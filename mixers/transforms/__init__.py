"""What spectral and separable mixers compute with: matrices, plane transforms and the ways to apply them."""
