"""Results on disk."""

from xfelred.products.write import write

__all__ = ["write"]
