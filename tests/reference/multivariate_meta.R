# Reference values for tests/reference/test_multivariate_meta.py.
# Run from this folder: Rscript multivariate_meta.R   (writes multivariate_meta.json and multivariate_meta_versions.json)
#
# rma.mv maximises with a general-purpose optimiser and numerical derivatives, which leaves errors of about 1e-4
# relative in Sigma. So its optimum is polished here, by Newton steps with numDeriv on the likelihood written out in
# R, and rma.mv is run again with tau2 and rho held there: all values below are what rma.mv gives at that point,
# 'raw' is what it found by itself.
suppressMessages({library(metafor); library(numDeriv); library(jsonlite)})
set.seed(20261123)

people <- function(n) data.frame(age = round(runif(n, 18, 70)), diagnosis = rep_len(c("bipolar", "depression", "healthy"), n))

# Meta-regressions of single coefficients: ML and normal tests -----------------------------------------------

meta_case <- function(name, y, v, data, formula, method, test) {
  control <- list(threshold = 1e-13, maxiter = 10000)
  fit <- rma(y, v, mods = formula, data = data, method = method, test = test, control = control)
  c(list(name = paste(name, method, test), formula = paste(deparse(formula), collapse = ""), method = method, test = test,
         y = y, v = v, age = data$age, diagnosis = data$diagnosis), meta_values(fit))
}
meta_values <- function(fit) list(
  beta = I(as.vector(fit$beta)), se = I(fit$se), zval = I(fit$zval), pval = I(fit$pval), ci_lb = I(fit$ci.lb),
  ci_ub = I(fit$ci.ub), tau2 = fit$tau2, se_tau2 = fit$se.tau2, i2 = fit$I2, h2 = fit$H2, qe = fit$QE, qep = fit$QEp,
  qm = fit$QM, qmp = fit$QMp, log_lik = as.numeric(logLik(fit)), aic = fit$fit.stats["AIC", fit$method],
  bic = fit$fit.stats["BIC", fit$method], aicc = fit$fit.stats["AICc", fit$method])

meta <- list()
for (method in c("REML", "ML")) for (test in c("knha", "z")) {
  if (method == "REML" && test == "knha") next # these are in group_models.R
  set.seed(7)
  d60 <- people(60); d30 <- people(30); d8 <- people(8); v60 <- runif(60, .02, .2)
  cases <- list(
    meta_case("intercept only", .3 + rnorm(60, 0, .4) + rnorm(60, 0, sqrt(v60)), v60, d60, ~ 1, method, test),
    meta_case("factor, continuous and interaction", .3 + .01 * d60$age + rnorm(60, 0, .3) + rnorm(60, 0, sqrt(v60)), v60,
              d60, ~ diagnosis * age, method, test),
    meta_case("tau2 is zero", .3 + .2 * rnorm(60) * sqrt(v60), v60, d60, ~ age, method, test),
    meta_case("eight participants", rnorm(8, .3, .5), runif(8, .01, .1), d8, ~ age, method, test),
    meta_case("unequal variances", .3 + rnorm(30, 0, .3), 10^runif(30, -3, 0), d30, ~ age, method, test))
  meta <- c(meta, cases)
}

# Data on which metafor's Fisher scoring fails: it ends with an error, or with the warning that it may be stuck and
# sets tau2 to 0 although the likelihood is higher elsewhere. The maximum is then searched on a fine grid.
profile_maximum <- function(y, v, method) {
  value <- function(tau2) {
    w <- 1 / (v + tau2); mu <- sum(w * y) / sum(w)
    .5 * (sum(log(w)) - sum(w * (y - mu)^2) - (method == "REML") * log(sum(w)))
  }
  grid <- c(0, 10^seq(-12, 2, length.out = 4000))
  best <- which.max(vapply(grid, value, 0))
  if (best == 1) return(0)
  # the score, so that the root is exact
  score <- function(tau2) {
    w <- 1 / (v + tau2); mu <- sum(w * y) / sum(w)
    sum(w^2 * (y - mu)^2) - sum(w) + (method == "REML") * sum(w^2) / sum(w)
  }
  uniroot(score, grid[c(best - 1, best + 1)], tol = 1e-16)$root
}
failing <- list()
for (method in c("REML", "ML")) {
  kept <- c(error = 0, warning = 0)
  for (seed in 1:6000) {
    set.seed(seed)
    n <- sample(6:14, 1); v <- 10^runif(n, -5, 0); y <- rnorm(n, 0, .02) + rnorm(n, 0, sqrt(v))
    kind <- "none"; message <- NULL
    fit <- tryCatch(rma(y, v, method = method), error = function(e) { kind <<- "error"; message <<- conditionMessage(e) },
                    warning = function(w) { kind <<- "warning"; message <<- conditionMessage(w) })
    if (kind == "warning" && !grepl("stuck", message)) next
    if (kind == "none" || kept[kind] == 3) next
    tau2 <- profile_maximum(y, v, method)
    top <- suppressWarnings(rma(y, v, method = method, tau2 = tau2))
    if (kind == "warning") {
      theirs <- suppressWarnings(rma(y, v, method = method))
      if (logLik(top) - logLik(theirs) < .01) next
    }
    kept[kind] <- kept[kind] + 1
    failing <- c(failing, list(list(method = method, y = y, v = v, kind = kind, message = message, tau2 = tau2,
                                    log_lik = as.numeric(logLik(top)), beta = as.vector(top$beta), se = top$se)))
    if (all(kept == 3)) break
  }
}

# Multivariate ----------------------------------------------------------------------------------------------------

sampling <- function(n, d, size) lapply(seq_len(n), function(i) {
  A <- matrix(rnorm(d * (d + 3)), d); size[i] * tcrossprod(A) / (d + 3)
})
draw <- function(S) { e <- eigen(S); as.vector(e$vectors %*% (sqrt(pmax(e$values, 0)) * rnorm(nrow(S)))) }

joint_case <- function(name, n, Sigma, size, formula, method, units = rep(1, nrow(Sigma)), missing = 0, singular = FALSE,
                       fixed = NULL) {
  d <- nrow(Sigma); data <- people(n)
  V <- sampling(n, d, size(n))
  mean <- outer(seq_len(d), data$age, function(k, a) .3 * k + .01 * a * (k == 1))
  y <- t(mean) + t(sapply(seq_len(n), function(i) draw(Sigma))) + t(sapply(V, draw))
  y <- sweep(y, 2, units, "*"); V <- lapply(V, function(S) S * outer(units, units))
  there <- matrix(runif(n * d) >= missing, n)
  X <- model.matrix(formula, data); p <- ncol(X)
  long <- data.frame(id = rep(seq_len(n), each = d), outcome = factor(rep(seq_len(d), n)), y = as.vector(t(y)))
  keep <- as.vector(t(there))
  big <- matrix(0, n * d, n * d)
  for (i in seq_len(n)) big[(i - 1) * d + seq_len(d), (i - 1) * d + seq_len(d)] <- V[[i]]
  # design in the order of our coefficients: outcome by outcome, all covariates
  D <- do.call(cbind, lapply(seq_len(d), function(k) X[long$id, , drop = FALSE] * (long$outcome == k)))
  colnames(D) <- paste0("b", seq_len(ncol(D)))
  frame <- cbind(long, D)[keep, ]; M <- big[keep, keep]
  mods <- reformulate(c("0", colnames(D)))
  model <- function(...) suppressWarnings(rma.mv(y, M, mods = mods, random = ~ outcome | id, struct = "UN", data = frame,
                                                 method = method, test = "t", ...))
  pair <- function(S) list(tau2 = diag(S), rho = stats::cov2cor(S)[lower.tri(S)])
  at <- function(S) { v <- pair(S); model(tau2 = v$tau2, rho = v$rho) }
  DD <- D[keep, ]; who <- frame$id; which <- as.integer(frame$outcome); same <- outer(who, who, "==")
  value <- function(S) {
    W <- tryCatch(chol(M + same * S[which, which]), error = function(e) NULL)
    if (is.null(W)) return(-Inf)
    Z <- backsolve(W, cbind(DD, frame$y), transpose = TRUE); q <- qr(Z[, seq_len(ncol(DD))])
    rss <- sum(qr.resid(q, Z[, ncol(Z)])^2)
    -.5 * (2 * sum(log(diag(W))) + rss + (method == "REML") * 2 * sum(log(abs(diag(qr.R(q))))))
  }
  if (!is.null(fixed)) {
    fit <- at(fixed); raw <- NULL; S <- fixed
  } else {
    fits <- lapply(list(list(optimizer = "nlminb", rel.tol = 1e-14, iter.max = 5000, eval.max = 10000),
                        list(optimizer = "optim", optmethod = "BFGS", reltol = 1e-15, maxit = 5000)),
                   function(control) tryCatch(model(control = control), error = function(e) NULL))
    fits <- Filter(Negate(is.null), fits)
    raw <- fits[[which.max(vapply(fits, function(f) as.numeric(logLik(f)), 0))]]
    S <- raw$G
    # scale-free parameters of the Cholesky root, then Newton until it stands still
    unit <- sqrt(diag(S)); low <- lower.tri(S, diag = TRUE)
    if (!singular) {
      root <- function(par) { L <- matrix(0, d, d); L[low] <- par; unit * L }
      objective <- function(par) value(tcrossprod(root(par)))
      par <- t(chol(S / outer(unit, unit)))[low]
      slope <- function(par) grad(objective, par)
      par <- optim(par, objective, slope, method = "BFGS", control = list(fnscale = -1, reltol = 1e-14, maxit = 1000))$par
      for (step in 1:5) par <- par - solve(hessian(objective, par), slope(par))
      stopifnot(max(abs(solve(hessian(objective, par), slope(par)))) < 1e-8)
      S <- tcrossprod(root(par))
    }
    fit <- if (singular) raw else at(S)
  }
  parameters <- ncol(D) + d * (d + 1) / 2
  y[!there] <- NA
  list(name = name, method = method, formula = paste(deparse(formula), collapse = ""), age = data$age,
       diagnosis = data$diagnosis, y = I(y), V = I(lapply(V, function(S) I(S))), singular = singular, fixed = !is.null(fixed),
       terms = I(colnames(X)), beta = I(as.vector(fit$beta)), vb = I(as.vector(vcov(fit))), se = I(fit$se), sigma = I(unname(S)),
       log_lik = as.numeric(logLik(fit)), n_par = parameters,
       aic = if (is.null(raw)) NULL else raw$fit.stats["AIC", method], bic = if (is.null(raw)) NULL else raw$fit.stats["BIC", method],
       raw_log_lik = if (is.null(raw)) NULL else as.numeric(logLik(raw)), raw_sigma = if (is.null(raw)) NULL else I(unname(raw$G)))
}

S2 <- matrix(c(.3, .1, .1, .2), 2); S3 <- matrix(c(.3, .1, -.05, .1, .2, .04, -.05, .04, .25), 3)
S4 <- diag(c(.3, .2, .4, .1)) + .08
size <- function(n) runif(n, .05, .5)
joint <- list(
  joint_case("two outcomes", 40, S2, size, ~ age, "REML"),
  joint_case("two outcomes", 40, S2, size, ~ age, "ML"),
  joint_case("three outcomes, factor and continuous", 50, S3, size, ~ diagnosis + age, "REML"),
  joint_case("three outcomes, factor and continuous", 50, S3, size, ~ diagnosis + age, "ML"),
  joint_case("three outcomes, missing", 60, S3, size, ~ age, "REML", missing = .25),
  joint_case("three outcomes, missing", 60, S3, size, ~ age, "ML", missing = .25),
  joint_case("other units", 40, S3, size, ~ age, "REML", units = c(1e-3, 1, 50)),
  joint_case("hugely unequal precision", 60, S3, function(n) 10^runif(n, -3, 1), ~ age, "REML"),
  joint_case("four outcomes", 45, S4, size, ~ 1, "REML"),
  joint_case("correlation of 1", 40, tcrossprod(c(.5, .4, .6)), size, ~ age, "REML", singular = TRUE),
  joint_case("correlation of 1", 40, tcrossprod(c(.5, .4, .6)), size, ~ age, "ML", singular = TRUE),
  joint_case("a variance of 0", 40, diag(c(.3, 0)), function(n) runif(n, .3, .6), ~ age, "REML", singular = TRUE),
  joint_case("no variance at all", 40, diag(c(0, 0)), function(n) runif(n, .3, .6), ~ age, "REML", singular = TRUE),
  joint_case("known Sigma", 40, S3, size, ~ diagnosis + age, "REML", missing = .2, fixed = S3),
  joint_case("known Sigma", 40, S3, size, ~ diagnosis + age, "ML", missing = .2, fixed = S3),
  joint_case("known singular Sigma", 40, S2, size, ~ age, "REML", fixed = tcrossprod(c(.5, .4))))

write_json(list(meta = meta, failing = failing, joint = joint), "multivariate_meta.json", digits = NA, auto_unbox = TRUE,
           na = "null", null = "null")
versions <- c(R = R.version.string, sapply(c("metafor", "numDeriv", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "multivariate_meta_versions.json", auto_unbox = TRUE, pretty = TRUE)
