# Reference values for tests/reference/test_rubin.py.
# Run from this folder: Rscript rubin.R   (writes rubin.json and rubin_versions.json)
#
# mice::pool.scalar: pooled estimate, total variance, Barnard & Rubin's degrees of freedom.
suppressMessages({library(mice); library(jsonlite)})
set.seed(20261128)

case <- function(m, n, k, spread) {
  estimate <- rnorm(m, 0.4, spread); variance <- runif(m, 0.02, 0.05)
  found <- pool.scalar(estimate, variance, n = n, k = k)
  list(estimate = estimate, variance = variance, complete = n - k, pooled = found$qbar, total = found$t, df = found$df)
}
cases <- list(case(5, 40, 3, 0.1), case(20, 24, 2, 0.05), case(20, 101, 4, 0.3), case(50, 1000, 2, 0.01))
write_json(cases, "rubin.json", digits = NA, auto_unbox = TRUE, pretty = TRUE)
versions <- list(R = R.version.string, mice = as.character(packageVersion("mice")),
                 jsonlite = as.character(packageVersion("jsonlite")))
write_json(versions, "rubin_versions.json", auto_unbox = TRUE, pretty = TRUE)
