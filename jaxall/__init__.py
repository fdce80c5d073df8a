"""Train, check and use classifiers of leukemia in blood-smear pictures, in JAX."""

__version__ = "0.1.0"
