"""This package's models in other benchmarks: IMDL-BenCo and ForensicHub."""
