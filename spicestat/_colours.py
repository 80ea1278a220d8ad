"""Colours of all figures: Okabe & Ito (2008), told apart with every common kind of colour vision."""

__all__ = ["BLACK", "BLUE", "COLOURS", "GREEN", "ORANGE", "PURPLE"]

COLOURS = BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#333333"
