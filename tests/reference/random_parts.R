# Reference values for tests/reference/test_random_parts.py.
# Run from this folder: Rscript random_parts.R   (writes random_parts.json and random_parts_versions.json)
#
# rma.mv maximises with a general-purpose optimiser, which leaves errors of about 1e-4 relative in the variances. So
# its optimum is polished here, by Newton steps with numDeriv on the likelihood written out in R, and rma.mv is run
# again with the variances held there: all values below are what rma.mv gives at that point.
suppressMessages({library(metafor); library(numDeriv); library(lme4); library(lmerTest); library(jsonlite)})
set.seed(20261128)

# Studies: people of sites, on occasions --------------------------------------------------------------------

study <- function(n_people, n_occasions, missing = 0, n_sites = 5, slope = .3, own = .2, size = function(n) runif(n, .01, .15)) {
  d <- expand.grid(occasion = seq_len(n_occasions), id = seq_len(n_people))
  d$site <- (d$id - 1) %% n_sites + 1
  d$x <- d$occasion - 1 + (n_occasions > 2) * round(runif(nrow(d), -.3, .3), 2)
  d$anxiety <- round(rnorm(n_people), 2)[d$id]
  d$item <- sample(6, nrow(d), replace = TRUE)
  if (missing > 0) d <- d[sort(sample(nrow(d), round((1 - missing) * nrow(d)))), ]
  d$v <- round(size(nrow(d)), 4)
  d$y <- round(.3 + .2 * d$x + .3 * d$anxiety + rnorm(n_people, 0, .4)[d$id] + rnorm(n_people, 0, slope)[d$id] * d$x +
    rnorm(n_sites, 0, .3)[d$site] + rnorm(6, 0, .2)[d$item] + rnorm(nrow(d), 0, own) + rnorm(nrow(d), 0, sqrt(d$v)), 5)
  d$row <- seq_len(nrow(d))
  d[order(d$id, d$occasion), ]
}

# metafor -------------------------------------------------------------------------------------------------------

reml <- function(y, V, X) {
  root <- chol(V)
  e <- backsolve(root, cbind(y, X), transpose = TRUE)
  q <- qr(e[, -1, drop = FALSE])
  rss <- sum(qr.resid(q, e[, 1])^2)
  -.5 * ((length(y) - ncol(X)) * log(2 * pi) + 2 * sum(log(diag(root))) + 2 * sum(log(abs(diag(qr.R(q))))) -
    as.numeric(determinant(crossprod(X))$modulus) + rss)
}

# parts: list(group=, slope= NULL, "GEN" or "GDIAG"); `rest` says whether rows have a variance of their own
metafor_case <- function(name, formula, fixed, d, parts, rest = TRUE) {
  X <- model.matrix(fixed, d)
  widths <- sapply(parts, function(p) if (is.null(p$slope)) 1 else if (p$slope == "GEN") 3 else 2)
  covariance <- function(p, theta) {
    if (is.null(p$slope)) return(matrix(theta^2))
    if (p$slope == "GDIAG") return(diag(theta^2))
    tcrossprod(matrix(c(theta[1], theta[2], 0, theta[3]), 2))
  }
  unpack <- function(theta) {
    ends <- cumsum(widths)
    c(Map(function(p, end, width) covariance(p, theta[(end - width + 1):end]), parts, ends, widths),
      list(if (rest) theta[length(theta)]^2))
  }
  V <- function(theta) {
    found <- diag(d$v)
    G <- unpack(theta)
    for (k in seq_along(parts)) {
      Z <- if (is.null(parts[[k]]$slope)) matrix(1, nrow(d)) else cbind(1, d$x)
      found <- found + outer(parts[[k]]$codes, parts[[k]]$codes, "==") * (Z %*% G[[k]] %*% t(Z))
    }
    if (rest) found <- found + diag(G[[length(G)]], nrow(d))
    found
  }
  random <- lapply(parts, `[[`, "random")
  if (rest) random <- c(random, ~ 1 | row)
  struct <- unlist(lapply(parts, `[[`, "slope"))
  if (is.null(struct)) struct <- "CS"
  fit <- rma.mv(y, v, mods = fixed, random = random, struct = struct, data = d)
  raw <- as.numeric(logLik(fit))
  theta <- c(unlist(lapply(widths, function(w) if (w == 3) c(.5, .1, .5) else rep(.5, w))), if (rest) .3)
  value <- function(theta) -reml(d$y, V(theta), X)
  theta <- nlminb(theta, value, function(t) grad(value, t), control = list(rel.tol = 1e-14, iter.max = 1000))$par
  for (round in 1:6) theta <- theta - solve(hessian(value, theta), grad(value, theta))
  stopifnot(max(abs(grad(value, theta))) < 1e-6, -value(theta) > raw - 1e-8, -value(theta) < raw + 1e-3)
  G <- unpack(theta)
  simple <- sapply(parts, function(p) is.null(p$slope))
  held <- c(unlist(G[seq_along(parts)][simple]), if (rest) G[[length(G)]])
  sloped <- which(!simple)
  arguments <- list(d$y, d$v, mods = fixed, random = random, struct = struct, data = d)
  if (length(held)) arguments$sigma2 <- held
  if (length(sloped)) {
    arguments$tau2 <- diag(G[[sloped]])
    if (parts[[sloped]]$slope == "GEN") arguments$rho <- cov2cor(G[[sloped]])[1, 2]
  }
  at <- do.call(rma.mv, arguments)
  c(list(name = name, formula = formula, beta = I(as.vector(at$beta)), se = I(at$se), log_lik = as.numeric(logLik(at)),
         random = lapply(G[seq_along(parts)], function(g) I(as.matrix(g))), tau2 = G[[length(parts) + 1]]),
    data = list(as.list(d[c("y", "v", "id", "site", "item", "occasion", "x", "anxiety")])))
}

id <- function(d, slope = NULL) {
  list(codes = d$id, slope = slope, random = if (is.null(slope)) ~ 1 | id else ~ x | id)
}
d3 <- study(40, 3); d2 <- study(40, 2); holes <- study(60, 4, missing = .3); crossed <- study(40, 3, slope = 0)
cases <- list(
  metafor_case("random intercept", "~ x + (1 | id)", ~ x, d3, list(id(d3))),
  metafor_case("correlated slope", "~ x * anxiety + (x | id)", ~ x * anxiety, d3, list(id(d3, "GEN"))),
  metafor_case("uncorrelated slope", "~ x * anxiety + (x || id)", ~ x * anxiety, d3, list(id(d3, "GDIAG"))),
  metafor_case("nested", "~ x + (1 | site/id)", ~ x, d3, list(list(codes = d3$site, random = ~ 1 | site), id(d3))),
  metafor_case("crossed", "~ x + (1 | id) + (1 | item)", ~ x, crossed,
               list(id(crossed), list(codes = crossed$item, random = ~ 1 | item))),
  metafor_case("unbalanced, of sites", "~ x * anxiety + (x | id) + (1 | site)", ~ x * anxiety, holes,
               list(id(holes, "GEN"), list(codes = holes$site, random = ~ 1 | site))),
  metafor_case("two occasions leave no rest", "~ x * anxiety + (x | id) + (1 | site)", ~ x * anxiety, d2,
               list(id(d2, "GEN"), list(codes = d2$site, random = ~ 1 | site)), rest = FALSE))

# lme4 and lmerTest, which know no sampling variances: these are negligible ----------------------------------------

lmer_case <- function(name, formula, d) {
  control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10), calc.derivs = FALSE)
  fit <- lmerTest::lmer(as.formula(paste("y", formula)), d, control = control)
  effects <- coef(summary(fit))
  list(name = name, formula = formula, beta = I(effects[, "Estimate"]), se = I(effects[, "Std. Error"]),
       df = I(effects[, "df"]), p = I(effects[, "Pr(>|t|)"]), log_lik = as.numeric(logLik(fit)),
       random = unname(lapply(VarCorr(fit), function(g) I(matrix(g, nrow(g))))), tau2 = sigma(fit)^2,
       data = as.list(d[c("y", "id", "site", "item", "occasion", "x", "anxiety")]))
}
precise <- study(40, 4, missing = .2, size = function(n) rep(0, n))
gaussian <- list(
  lmer_case("random intercept", "~ x + anxiety + (1 | id)", precise),
  lmer_case("slope, and sites", "~ x * anxiety + (x | id) + (1 | site)", precise),
  lmer_case("crossed and nested", "~ x + (1 | site/id) + (1 | item)", precise))

write_json(list(metafor = cases, lmer = gaussian), "random_parts.json", digits = NA, auto_unbox = TRUE, null = "null")
packages <- c("metafor", "numDeriv", "lme4", "lmerTest", "jsonlite")
versions <- c(R = R.version.string, sapply(packages, function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "random_parts_versions.json", auto_unbox = TRUE, pretty = TRUE)
