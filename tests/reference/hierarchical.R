# Reference values for tests/reference/test_hierarchical.py: binomial choices with normal logits between participants.
# Run from this folder: Rscript hierarchical.R   (writes hierarchical.json and hierarchical_versions.json)
#
# lme4 has adaptive quadrature (nAGQ = 25) for one random effect only. So the marginal likelihood is
# written out here, on a dense grid instead of a quadrature rule, and its maximum is polished by Newton steps with
# numDeriv; 'raw' is what lme4 found by itself. For two coins per
# participant, with correlated logits, only the grid counts.
suppressMessages({library(lme4); library(numDeriv); library(jsonlite)})

log_sum <- function(M) { top <- apply(M, 1, max); top + log(rowSums(exp(M - top))) }

case <- function(name, seed, n, d, throws, beta, Sigma) {
  set.seed(seed)
  x <- round(rnorm(n), 3); X <- cbind(1, x)
  u <- X %*% matrix(beta, 2) + matrix(rnorm(n * d), n) %*% chol(Sigma)
  N <- matrix(sample(throws, n * d, replace = TRUE), n)
  y <- matrix(rbinom(n * d, N, plogis(u)), n)
  p <- 2 * d; low <- lower.tri(diag(d), diag = TRUE)
  side <- if (d == 1) seq(-9, 9, length.out = 181) else seq(-7.2, 7.2, length.out = 61)
  grid <- as.matrix(expand.grid(rep(list(side), d))); step <- (side[2] - side[1])^d
  log_grid <- rowSums(dnorm(grid, log = TRUE)) + log(step)
  root <- function(par) { L <- matrix(0, d, d); L[low] <- par[-seq_len(p)]; diag(L) <- exp(diag(L)); L }
  joint <- function(par) {
    mu <- X %*% matrix(par[seq_len(p)], 2); shift <- grid %*% t(root(par))
    total <- matrix(log_grid, n, nrow(grid), byrow = TRUE)
    for (k in seq_len(d)) {
      eta <- outer(mu[, k], shift[, k], "+")
      total <- total + y[, k] * eta - N[, k] * log1p(exp(eta)) + lchoose(N[, k], y[, k])
    }
    total
  }
  value <- function(par) sum(log_sum(joint(par)))
  par <- c(beta, (function(L) { diag(L) <- log(diag(L)); L[low] })(t(chol(Sigma))))
  par <- optim(par, value, method = "BFGS", control = list(fnscale = -1, reltol = 1e-12, maxit = 200))$par
  for (newton in 1:3) { H <- hessian(value, par); par <- par - solve(H, grad(value, par)) }
  H <- hessian(value, par)
  stopifnot(max(abs(solve(H, grad(value, par)))) < 1e-7)
  inverse <- solve(-H)
  L <- root(par); S <- tcrossprod(L)
  # standard deviations by the delta method
  spread <- function(par) sqrt(diag(tcrossprod(root(par))))
  J <- jacobian(spread, par)
  # posterior moments on the logit scale
  M <- joint(par); w <- exp(M - log_sum(M)); mu <- X %*% matrix(par[seq_len(p)], 2)
  shift <- grid %*% t(L); mean <- mu + w %*% shift
  sd <- sqrt(w %*% shift^2 - (w %*% shift)^2)
  raw <- NULL
  if (d == 1) {
    frame <- data.frame(y = y[, 1], N = N[, 1], x = x, id = factor(seq_len(n)))
    fit <- glmer(cbind(y, N - y) ~ x + (1 | id), frame, binomial, nAGQ = 25,
                 control = glmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-9)))
    raw <- list(beta = unname(fixef(fit)), se = unname(sqrt(diag(as.matrix(vcov(fit))))), sd = unname(getME(fit, "theta")))
  }
  list(name = name, x = x, y = I(y), N = I(N), beta = par[seq_len(p)], se = sqrt(diag(inverse))[seq_len(p)],
       covariance = I(inverse[seq_len(p), seq_len(p)]), sigma = I(S), sd = I(spread(par)),
       sd_se = I(sqrt(diag(J %*% inverse %*% t(J)))), log_lik = value(par), mean = I(mean), posterior_sd = I(sd), raw = raw)
}

cases <- list(
  case("one coin, 40 participants", 1, 40, 1, 15:30, c(.4, .5), matrix(.6)),
  case("one coin, few throws", 2, 60, 1, 4:8, c(-.3, .4), matrix(1)),
  case("one coin, extreme", 3, 50, 1, 10, c(1.8, .8), matrix(1.5)),
  case("two coins, correlated", 4, 30, 2, 12:20, c(.3, .4, -.2, .3), matrix(c(.7, .3, .3, .5), 2)))
write_json(cases, "hierarchical.json", digits = NA, auto_unbox = TRUE, null = "null")
versions <- c(R = R.version.string, sapply(c("lme4", "numDeriv", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "hierarchical_versions.json", auto_unbox = TRUE, pretty = TRUE)
