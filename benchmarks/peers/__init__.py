"""The opponents, each written as its best users would write it."""
