# Reference values for tests/reference/test_mixed_engines.py: the random-intercept model of the method mixed, fitted
# by glmmTMB, lme4 and lmerTest. Run from this folder: Rscript mixed_engines.R
# (writes mixed_engines.json and mixed_engines_versions.json)
#
# nlminb stops glmmTMB at a relative change of 1e-10, so Newton steps on TMB's exact gradient follow. With REML,
# glmmTMB's own standard errors of the fixed effects add what the variances' uncertainty adds ('se_joint'); the
# ones given the variances, as lme4 reports them, are in the inverse of TMB's inner Hessian ('se').
suppressMessages({library(glmmTMB); library(lme4); library(lmerTest); library(Matrix); library(jsonlite)})
set.seed(20261124)

polished <- function(fit) {
  obj <- fit$obj; par <- fit$fit$par
  for (step in 1:8) par <- par - as.vector(solve(optimHess(par, obj$fn, obj$gr, control = list(ndeps = rep(1e-4, length(par)))), as.vector(obj$gr(par))))
  stopifnot(max(abs(obj$gr(par))) < 1e-8)
  obj$fn(par)
  last <- obj$env$last.par
  precision <- obj$env$spHess(last, random = TRUE)
  inverse <- solve(precision)
  at <- which(names(last[obj$env$random]) == "beta")
  list(beta = unname(last[names(last) == "beta"]), se = sqrt(diag(as.matrix(inverse)))[at],
       sd_group = unname(exp(par[names(par) == "theta"])),
       # glmmTMB 1.1.5 has the log variance as its dispersion parameter
       sd_residual = unname(exp(par[names(par) == "betad"] / 2)), log_lik = -as.numeric(obj$fn(par)))
}

case <- function(name, k, n, keep, spread, formula) {
  age <- round(runif(n, 18, 70)); diagnosis <- rep_len(c("bipolar", "depression", "healthy"), n)
  people <- data.frame(age = age, diagnosis = diagnosis)
  long <- expand.grid(participant = seq_len(n), equation = letters[seq_len(k)], stringsAsFactors = FALSE)
  long <- cbind(long, people[long$participant, ])
  u <- rnorm(n, 0, spread)
  long$z <- match(long$equation, letters) + .02 * long$age + u[long$participant] + rnorm(nrow(long))
  long <- long[runif(nrow(long)) < keep, ]
  X <- model.matrix(formula, long)
  D <- do.call(cbind, lapply(letters[seq_len(k)], function(term) X * (long$equation == term)))
  colnames(D) <- paste0("b", seq_len(ncol(D)))
  frame <- cbind(long["z"], participant = factor(long$participant), D)
  model <- reformulate(c("0", colnames(D), "(1 | participant)"), "z")
  tmb <- glmmTMB(model, frame, REML = TRUE, control = glmmTMBControl(optCtrl = list(iter.max = 1e4, eval.max = 2e4)))
  exact <- polished(tmb)
  control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = .01, rhoend = 1e-12, maxfun = 1e5), restart_edge = TRUE)
  plain <- lme4::lmer(model, frame, control = control)
  tested <- lmerTest::lmer(model, frame, control = control)
  table <- coef(summary(tested))
  list(name = name, formula = paste(deparse(formula), collapse = ""), participant = long$participant,
       equation = long$equation, z = long$z, age = long$age, diagnosis = long$diagnosis, k = k,
       glmmTMB = c(lapply(exact, I), list(se_joint = I(unname(coef(summary(tmb))$cond[, "Std. Error"])))),
       lme4 = list(beta = I(unname(fixef(plain))), se = I(unname(sqrt(diag(as.matrix(vcov(plain)))))),
                   sd_group = I(unname(attr(lme4::VarCorr(plain)$participant, "stddev"))), sd_residual = I(sigma(plain)),
                   log_lik = I(as.numeric(logLik(plain)))),
       lmerTest = list(df = I(unname(table[, "df"])), p = I(unname(table[, "Pr(>|t|)"]))))
}
cases <- list(
  case("balanced", 3, 40, 1, .8, ~ age),
  case("unbalanced", 4, 40, .8, .8, ~ age),
  case("factor", 3, 45, .85, 1.2, ~ diagnosis + age),
  case("two terms, intercepts", 2, 30, 1, .6, ~ 1))
write_json(cases, "mixed_engines.json", digits = NA, auto_unbox = TRUE)
versions <- c(R = R.version.string, sapply(c("glmmTMB", "TMB", "lme4", "lmerTest", "jsonlite"),
                                           function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "mixed_engines_versions.json", auto_unbox = TRUE, pretty = TRUE)
