"""What an equation is: candidate terms, sets of equations, units."""
