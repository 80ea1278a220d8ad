"""Integrals over participants: modes, quadrature, EM."""
