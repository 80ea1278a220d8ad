# Reference values for tests/reference/test_icc.py: intraclass correlations, model selection.
# Run from this folder: Rscript icc.R   (writes icc.json and icc_versions.json)
#
# Bayesian model selection has no R package in Debian: the values are from the formulas of Stephan et al. (2009) and
# Rigoux et al. (2014), by other routes than the Python code where there are some: the free energy as data term minus
# divergence of the Dirichlet distributions, exceedance probabilities by integrating over the largest competitor, and
# the exact evidence of two models by integrate().
suppressMessages({library(psych); library(jsonlite)})
set.seed(20261123)

icc_case <- function(name, x, level = .95) {
  # lmer = FALSE: mean squares of aov, as Shrout & Fleiss; the default sets negative components to zero
  kept <- x[stats::complete.cases(x), , drop = FALSE]
  fit <- suppressMessages(ICC(kept, lmer = FALSE, alpha = 1 - level))
  r <- fit$results
  list(name = name, ratings = x, level = level, n = nrow(kept), type = r$type, estimate = r$ICC, statistic = r$F, num_df = r$df1,
       den_df = r$df2, p_value = r$p, conf_low = r[["lower bound"]], conf_high = r[["upper bound"]])
}
judges <- matrix(c(9, 2, 5, 8, 6, 1, 3, 2, 8, 4, 6, 8, 7, 1, 2, 6, 10, 5, 6, 9, 6, 2, 4, 7), ncol = 4, byrow = TRUE)
target <- rnorm(30)
two <- cbind(target + rnorm(30, 0, .5), target + .3 + rnorm(30, 0, .5))
holes <- two; holes[3, 1] <- NA; holes[17, 2] <- NA
icc <- list(
  icc_case("Shrout and Fleiss", judges),
  icc_case("Shrout and Fleiss, 90 %", judges, .9),
  icc_case("two sessions", two),
  icc_case("two sessions, missing", holes),
  icc_case("four sessions, small units", 1e-5 * (target + matrix(rnorm(120), 30))),
  icc_case("nothing in common: negative", matrix(rnorm(24), 8)),
  icc_case("two targets", matrix(c(1, 2, 4, 6, 5, 8.5), 2)))

select_models <- function(L, a0 = 1) {
  n <- nrow(L); K <- ncol(L); a <- rep(a0, K)
  repeat {
    u <- exp(sweep(L - apply(L, 1, max), 2, digamma(a) - digamma(sum(a)), "+"))
    g <- u / rowSums(u)
    new <- a0 + colSums(g)
    if (max(abs(new - a)) < 1e-13 * sum(new)) break
    a <- new
  }
  # F1 = log evidence bound, term by term: E[log p(y, m | r)] + entropy of m - KL of the two Dirichlet distributions
  e <- digamma(a) - digamma(sum(a))
  data <- sum(g * sweep(L, 2, e, "+")) - sum(ifelse(g > 0, g * log(g), 0))
  kl <- lgamma(sum(a)) - sum(lgamma(a)) - lgamma(K * a0) + K * lgamma(a0) + sum((a - a0) * e)
  F1 <- data - kl
  F0 <- sum(apply(L, 1, function(l) max(l) + log(mean(exp(l - max(l))))))
  # p(k wins) = 1 - E over the largest competitor: density of the maximum of the others, times F_k
  wins <- sapply(seq_len(K), function(k) {
    others <- setdiff(seq_len(K), k)
    density <- function(x) sapply(x, function(z) sum(sapply(others, function(j)
      dgamma(z, a[j]) * prod(pgamma(z, a[setdiff(others, j)])))) * pgamma(z, a[k], lower.tail = FALSE))
    top <- qgamma(1e-14, max(a), lower.tail = FALSE)
    cuts <- sort(unique(c(0, qgamma(c(.001, .5, .999), max(a[others])), top)))
    sum(sapply(seq_len(length(cuts) - 1), function(i)
      integrate(density, cuts[i], cuts[i + 1], rel.tol = 1e-10, abs.tol = 1e-14, subdivisions = 1000)$value))
  })
  if (K == 2) wins <- c(pbeta(.5, a[1], a[2], lower.tail = FALSE), pbeta(.5, a[1], a[2]))
  bor <- 1 / (1 + exp(F1 - F0))
  exact <- if (K == 2 && a0 == 1) {
    f <- function(r) sapply(r, function(q) exp(sum(log(q * exp(L[, 1] - apply(L, 1, max)) + (1 - q) * exp(L[, 2] - apply(L, 1, max))))))
    log(integrate(f, 0, 1, rel.tol = 1e-10)$value) + sum(apply(L, 1, max))
  } else NA
  list(evidence = L, prior = a0, alpha = a, frequency = a / sum(a), exceedance = wins, bor = bor,
       protected = wins * (1 - bor) + bor / K, free_energy = F1, null_free_energy = F0, exact = exact, attribution = g)
}
draw <- function(n, K, shares, size) {
  L <- matrix(rnorm(n * K, -100, 3), n)
  who <- sample(K, n, replace = TRUE, prob = shares)
  L[cbind(seq_len(n), who)] <- L[cbind(seq_len(n), who)] + size
  L
}
selection <- list(
  select_models(draw(20, 2, c(.7, .3), 4)),
  select_models(draw(20, 2, c(.5, .5), 0)),
  select_models(draw(30, 3, c(.6, .3, .1), 5)),
  select_models(draw(12, 4, c(.7, .1, .1, .1), 8)),
  select_models(draw(25, 3, c(.4, .3, .3), 3), a0 = .5))

write_json(list(icc = icc, selection = selection), "icc.json", digits = NA,
           auto_unbox = TRUE, na = "null", pretty = FALSE)
versions <- c(R = R.version.string, sapply(c("psych", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "icc_versions.json", auto_unbox = TRUE, pretty = TRUE)
