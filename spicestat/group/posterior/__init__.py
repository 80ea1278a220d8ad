"""Sampled posteriors: everything that needs JAX and numpyro (the extra 'bayes')."""
