"""Metrics: numbers from outputs, with intervals. No torch in this room."""
