# Reference values for tests/reference/test_max_t.py.
# Run from this folder: Rscript max_t.R   (writes max_t.json and max_t_versions.json)
#
# multtest::mt.maxT (step-down) with all permutations (B = 0); the single-step p-values come from the same
# permutations' statistics (mt.sample.teststat). multcomp's single-step p-values with mvtnorm at a tight tolerance.
suppressMessages({library(multtest); library(multcomp); library(mvtnorm); library(jsonlite)})
set.seed(20261126)

permuted <- function(name, X, label, test) {
  found <- mt.maxT(X, label, test = test, B = 0, side = "abs")
  found <- found[order(found$index), ]
  all <- sapply(seq_len(nrow(X)), function(row) mt.sample.teststat(X[row, ], label, test = test, B = 0))
  largest <- apply(abs(all), 1, max)
  single <- sapply(found$teststat, function(t) mean(largest >= abs(t) * (1 - 1e-10)))
  list(name = name, test = test, x = I(as.vector(X)), label = I(label), m = nrow(X), n_permutations = nrow(all),
       statistic = I(found$teststat), raw = I(found$rawp), step_down = I(found$adjp), single_step = I(single))
}
correlated <- function(m, n, rho) {
  shared <- rnorm(n)
  t(sapply(seq_len(m), function(row) sqrt(rho) * shared + sqrt(1 - rho) * rnorm(n)))
}
effect <- function(X, label, rows, by) { X[rows, label == 1] <- X[rows, label == 1] + by; X }
two <- rep(0:1, c(5, 5)); uneven <- rep(0:1, c(4, 7)); three <- rep(0:2, c(3, 3, 3))
permutations <- list(
  permuted("two groups, equal variances", effect(correlated(6, 10, .5), two, 1:2, 2.5), two, "t.equalvar"),
  permuted("two groups, Welch", effect(correlated(5, 11, .3), uneven, 3, 2), uneven, "t"),
  permuted("nothing there", correlated(8, 10, .8), two, "t.equalvar"),
  permuted("three groups, F", effect(correlated(4, 9, .2), three, 1, 3), three, "f"))

joint <- function(name, statistic, R, df) {
  precise <- GenzBretz(maxpts = 5e6, abseps = 1e-7, releps = 0)
  p <- sapply(statistic, function(t) 1 - pmvt(-rep(abs(t), nrow(R)), rep(abs(t), nrow(R)), corr = R,
                                               df = if (is.finite(df)) df else 0, algorithm = precise)[1])
  list(name = name, statistic = I(statistic), correlation = I(as.vector(R)), df = if (is.finite(df)) df else NA, p = I(p))
}
dunnett <- function() {
  data <- data.frame(group = factor(rep(c("healthy", "bipolar", "depression", "anxiety"), c(12, 8, 9, 10)),
                                    levels = c("healthy", "bipolar", "depression", "anxiety")))
  data$y <- rnorm(nrow(data)) + 0.9 * (data$group == "depression")
  tests <- glht(aov(y ~ group, data), mcp(group = "Dunnett"))
  found <- summary(tests, test = adjusted("single-step", maxpts = 5e6, abseps = 1e-7, releps = 0))
  V <- vcov(tests)
  list(name = "multcomp, Dunnett", statistic = I(unname(found$test$tstat)), correlation = I(as.vector(cov2cor(V))),
       df = found$df, p = I(as.vector(found$test$pvalues)))
}
tukey <- function() {
  found <- glht(aov(breaks ~ tension, warpbreaks), mcp(tension = "Tukey"))
  result <- summary(found, test = adjusted("single-step", maxpts = 5e6, abseps = 1e-7, releps = 0))
  list(name = "multcomp, Tukey (singular correlation)", statistic = I(unname(result$test$tstat)),
       correlation = I(as.vector(cov2cor(vcov(found)))), df = result$df, p = I(as.vector(result$test$pvalues)))
}
R5 <- cov2cor(crossprod(matrix(rnorm(40), 8)))
equal <- matrix(.9, 6, 6); diag(equal) <- 1
joints <- list(
  joint("five tests, t(18)", c(3.4, -2.2, 1.1, .3, -4.8), R5, 18),
  joint("five tests, normal", c(3.4, -2.2, 1.1, .3, -4.8), R5, Inf),
  joint("six tests, strongly correlated, t(7)", c(2.5, 2.4, 3.8, -.9, 1.7, 2.9), equal, 7),
  joint("independent", c(2.5, 1, 3.2), diag(3), Inf),
  dunnett(), tukey())
write_json(list(permutations = permutations, joint = joints), "max_t.json", digits = NA, auto_unbox = TRUE)
versions <- c(R = R.version.string,
              sapply(c("multtest", "multcomp", "mvtnorm", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "max_t_versions.json", auto_unbox = TRUE, pretty = TRUE)
