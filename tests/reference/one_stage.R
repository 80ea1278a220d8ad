# Reference values for tests/reference/test_one_stage.py: choices between two by weights of states, as glmer has them.
# Run from this folder: Rscript one_stage.R   (writes one_stage.json and one_stage_versions.json)
suppressMessages({library(lme4); library(jsonlite)})
set.seed(20261129)

control <- glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-8, maxfun = 1e5), check.conv.grad = "ignore")

case <- function(name, n, occasions, trials, mean, root, formula, within = 0) {
  K <- length(mean)
  d <- data.frame(person = rep(seq_len(n), each = occasions * trials), occasion = rep(rep(seq_len(occasions), each = trials), n))
  d$row <- (d$person - 1) * occasions + d$occasion
  z <- round(rnorm(n), 2)
  d$x <- if (occasions > 1) d$occasion - 1 else z[d$person]
  D <- matrix(round(rnorm(nrow(d) * K), 2), ncol = K, dimnames = list(NULL, paste0("d", seq_len(K))))
  u <- matrix(mean, n, K, byrow = TRUE) + matrix(rnorm(n * K), n) %*% t(root)
  b <- u[d$person, ] + outer(d$x, rep(.3, K)) + within * matrix(rnorm(n * occasions * K), ncol = K)[d$row, ]
  d$y <- rbinom(nrow(d), 1, plogis(rowSums(D * b)))
  fit <- glmer(formula, cbind(d, D), binomial, control = control)
  list(name = name, person = d$person, row = d$row, x = d$x, states = I(D), y = d$y, beta = unname(fixef(fit)),
       se = unname(sqrt(diag(as.matrix(vcov(fit))))), log_lik = as.numeric(logLik(fit)),
       covariances = lapply(VarCorr(fit), function(G) I(matrix(G, nrow(G)))))
}

root <- t(chol(matrix(c(.5, .2, -.1, .2, .4, 0, -.1, 0, .3), 3)))
cases <- list(
  case("people, three weights", 30, 1, 40, c(1, -.5, .4), root,
       y ~ 0 + d1 + d2 + d3 + d1:x + d2:x + d3:x + (0 + d1 + d2 + d3 | row)),
  case("occasions of people, two weights", 24, 2, 40, c(1, -.5), root[1:2, 1:2],
       y ~ 0 + d1 + d2 + d1:x + d2:x + (0 + d1 + d2 | person) + (0 + d1 + d2 | row), .5))
write_json(cases, "one_stage.json", digits = NA, auto_unbox = TRUE)
versions <- c(R = R.version.string, sapply(c("lme4", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "one_stage_versions.json", auto_unbox = TRUE, pretty = TRUE)
