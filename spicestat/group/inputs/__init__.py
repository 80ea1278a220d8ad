"""What a group method is given: coefficients of the participants, their design, links and choices."""
