"""Coefficients by the likelihood of the choices."""
