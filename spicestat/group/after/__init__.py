"""What follows a fitted group model: marginal means, contrasts, effects, derived quantities."""
