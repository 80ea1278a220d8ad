library(testthat)
library(spicestat)

test_check("spicestat")
