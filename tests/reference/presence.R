# Reference values for tests/reference/test_presence.py.
# Run from this folder: Rscript presence.R   (writes presence.json and presence_versions.json)
#
# Coefficients and standard errors: brglm2 (type AS_mean, which is Firth's for a logistic regression).
# Tests and intervals as logistf defines them, in which the penalty keeps the full information matrix while a
# coefficient is held fixed (brglm2 with an offset would drop its column from the penalty): maxima by BFGS,
# limits by uniroot. logistf itself is not in Debian.
suppressMessages({library(brglm2); library(jsonlite)})
set.seed(20261125)

penalised <- function(beta, y, X) {
  eta <- as.vector(X %*% beta)
  w <- exp(dlogis(eta, log = TRUE))
  sum(plogis(ifelse(y == 1, eta, -eta), log.p = TRUE)) + determinant(crossprod(X * sqrt(w)))$modulus[1] / 2
}
score <- function(beta, y, X) {
  p <- plogis(as.vector(X %*% beta)); w <- p * (1 - p)
  h <- rowSums(qr.Q(qr(X * sqrt(w)))^2)
  as.vector(crossprod(X, y - p + h * (0.5 - p)))
}
# maximum over all coefficients but `fixed`, which stay at `start`
restricted <- function(y, X, start, fixed) {
  free <- setdiff(seq_along(start), fixed)
  if (!length(free)) return(list(beta = start, value = penalised(start, y, X)))
  full <- function(part) replace(start, free, part)
  best <- start[free]
  for (again in 1:20) {
    found <- optim(best, function(b) -penalised(full(b), y, X), function(b) -score(full(b), y, X)[free],
                   method = "BFGS", control = list(reltol = 1e-16, maxit = 5000))
    best <- found$par
  }
  list(beta = full(best), value = -found$value)
}
limit <- function(y, X, beta, value, se, j, side, level = 0.95) {
  excess <- function(d) 2 * (value - restricted(y, X, replace(beta, j, beta[j] + side * d), j)$value) - qchisq(level, 1)
  far <- 1.5 * se
  while (excess(far) < 0) far <- 1.5 * far
  beta[j] + side * uniroot(excess, c(0, far), tol = 1e-11)$root
}

case <- function(name, formula, data) {
  fit <- glm(formula, binomial, data, method = "brglmFit", type = "AS_mean", epsilon = 1e-13, maxit = 100000)
  X <- model.matrix(formula, data); y <- model.response(model.frame(formula, data)); p <- ncol(X)
  beta <- unname(coef(fit)); se <- unname(summary(fit)$coefficients[, "Std. Error"])
  value <- penalised(beta, y, X)
  statistic <- sapply(seq_len(p), function(j) 2 * (value - restricted(y, X, replace(beta, j, 0), j)$value))
  slopes <- which(colnames(X) != "(Intercept)")
  list(name = name, y = I(y), matrix = I(as.vector(X)), terms = I(colnames(X)), beta = I(beta), se = I(se),
       covariance = I(as.vector(vcov(fit))), log_lik = value, statistic = I(statistic),
       p = I(pchisq(statistic, 1, lower.tail = FALSE)),
       low = I(sapply(seq_len(p), function(j) limit(y, X, beta, value, se[j], j, -1))),
       high = I(sapply(seq_len(p), function(j) limit(y, X, beta, value, se[j], j, 1))),
       hat = I(unname(hatvalues(fit))), pearson = I(unname(rstandard(fit, type = "pearson"))),
       cooks = I(unname(cooks.distance(fit))),
       slopes = I(slopes - 1), joint = 2 * (value - restricted(y, X, replace(beta, slopes, 0), slopes)$value))
}

data(endometrial, package = "brglm2")
n <- 60
people <- data.frame(age = round(runif(n, 18, 70)), diagnosis = rep_len(c("healthy", "bipolar", "depression"), n))
people$has <- as.numeric(runif(n) < plogis(-2 + 0.04 * people$age))
small <- data.frame(has = c(0, 0, 0, 0, 1, 1, 1), age = c(21, 25, 30, 34, 40, 41, 60))
level <- transform(people, has = as.numeric(ifelse(diagnosis == "bipolar", 1, runif(n) < 0.4)))
rare <- transform(people, has = as.numeric(seq_len(n) %in% c(5, 17)))
born <- transform(people, born = 2026 - age)
cases <- list(
  case("endometrial (Heinze & Schemper 2002), quasi-separation", HG ~ NV + PI + EH, endometrial),
  case("no separation", has ~ age + diagnosis, people),
  case("interaction", has ~ age * diagnosis, people),
  case("intercept only", has ~ 1, people),
  case("complete separation, seven people", has ~ age, small),
  case("one level of a factor always has it", has ~ diagnosis + age, level),
  case("two of sixty have it", has ~ age, rare),
  case("covariate far from zero", has ~ born, born),
  case("no intercept", has ~ 0 + diagnosis, people))
write_json(cases, "presence.json", digits = NA, auto_unbox = TRUE)
versions <- c(R = R.version.string, sapply(c("brglm2", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "presence_versions.json", auto_unbox = TRUE, pretty = TRUE)
