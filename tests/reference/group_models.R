# Reference values for tests/reference/test_group_models.py.
# Run from this folder: Rscript group_models.R   (writes group_models.json and group_models_versions.json)
#
# metafor stops Fisher scoring at threshold 1e-5 (absolute) by default; for values that are exact to
# 1e-6 relative the control below is needed. lme4's default optimiser stops early too, hence bobyqa's.
suppressMessages({library(metafor); library(lme4); library(lmerTest); library(jsonlite)})
set.seed(20261122)
control <- list(threshold = 1e-13, maxiter = 10000)

people <- function(n) data.frame(
  age = round(runif(n, 18, 70)),
  diagnosis = rep_len(c("healthy", "bipolar", "depression"), n),
  stringsAsFactors = FALSE)

meta_case <- function(name, y, v, data, formula) {
  data$diagnosis <- factor(data$diagnosis, levels = sort(unique(data$diagnosis)))
  fit <- rma(y, v, mods = formula, data = data, method = "REML", test = "knha", control = control)
  terms <- colnames(model.matrix(formula, data))
  list(name = name, formula = paste(deparse(formula), collapse = ""), y = y, v = v,
       age = data$age, diagnosis = as.character(data$diagnosis),
       terms = I(terms), beta = I(as.vector(fit$beta)), se = I(fit$se), zval = I(fit$zval), pval = I(fit$pval),
       ci_lb = I(fit$ci.lb), ci_ub = I(fit$ci.ub), vb = I(as.vector(vcov(fit))), df = fit$dfs,
       tau2 = fit$tau2, se_tau2 = fit$se.tau2, i2 = fit$I2, h2 = fit$H2, qe = fit$QE, qep = fit$QEp,
       qm = fit$QM, qmp = fit$QMp, log_lik = as.numeric(logLik(fit)), aic = fit$fit.stats["AIC", "REML"],
       bic = fit$fit.stats["BIC", "REML"], aicc = fit$fit.stats["AICc", "REML"])
}

d60 <- people(60); d40 <- people(40); d25 <- people(25); d6 <- people(6); d50 <- people(50); d30 <- people(30)
factors <- ~ diagnosis * age
meta <- list()
v <- runif(60, .02, .2)
meta[[1]] <- meta_case("intercept only", .3 + rnorm(60, 0, .4) + rnorm(60, 0, sqrt(v)), v, d60, ~ 1)
meta[[2]] <- meta_case("one continuous covariate", .3 + .01 * d60$age + rnorm(60, 0, .3) + rnorm(60, 0, sqrt(v)), v, d60, ~ age)
meta[[3]] <- meta_case("factor, continuous and interaction", .3 + .01 * d60$age * (d60$diagnosis == "healthy") +
                         rnorm(60, 0, .3) + rnorm(60, 0, sqrt(v)), v, d60, factors)
v <- runif(40, .5, 1)
meta[[4]] <- meta_case("tau2 is zero", .3 + .2 * rnorm(40) * sqrt(v), v, d40, ~ age)
meta[[5]] <- meta_case("tau2 is zero, Knapp-Hartung factor far below 1", .3 + .05 * rnorm(40) * sqrt(v), v, d40, ~ diagnosis)
v <- runif(6, .01, .1)
meta[[6]] <- meta_case("six participants", rnorm(6, .3, .3), v, d6, ~ age)
meta[[7]] <- meta_case("five participants, four coefficients", rnorm(5, .3, .3), v[1:5], d6[1:5, ], ~ diagnosis + age)
v <- 10^runif(50, -6, 1)
meta[[8]] <- meta_case("hugely unequal variances", .3 + rnorm(50, 0, .1) + rnorm(50, 0, sqrt(v)), v, d50, ~ age + diagnosis)
v <- rep(.04, 30)
meta[[9]] <- meta_case("equal variances", .3 + rnorm(30, 0, .3), v, d30, ~ age)
v <- runif(25, .02, .2) * 1e-6
meta[[10]] <- meta_case("small units", 1e-3 * rnorm(25, .3, .4), v, d25, ~ diagnosis)
meta[[11]] <- meta_case("no intercept", .3 + rnorm(60, 0, .4), runif(60, .02, .2), d60, ~ 0 + diagnosis)

ols_case <- function(name, y, data, formula) {
  fit <- lm(update(formula, y ~ .), data = cbind(y = y, data))
  X <- model.matrix(fit); bread <- solve(crossprod(X))
  hc3 <- bread %*% crossprod(X * (residuals(fit) / (1 - hatvalues(fit)))) %*% bread
  list(name = name, formula = paste(deparse(formula), collapse = ""), y = y, age = data$age, diagnosis = data$diagnosis,
       terms = I(colnames(X)), beta = I(unname(coef(fit))), hc3 = I(as.vector(hc3)), sigma = sigma(fit),
       log_lik = as.numeric(logLik(fit)), aic = AIC(fit), bic = BIC(fit), df = df.residual(fit))
}
ols <- list(
  ols_case("one continuous covariate", .3 + rnorm(30, 0, d30$age / 50), d30, ~ age),
  ols_case("factor, continuous and interaction", .3 + rnorm(60, 0, d60$age / 50), d60, factors))

mixed_case <- function(name, scale, keep, spread, formula, noise = 1) {
  n <- 40; k <- length(scale)
  data <- people(n)
  u <- rnorm(n, 0, spread)
  long <- expand.grid(participant = seq_len(n), sparse_term = letters[seq_len(k)], stringsAsFactors = FALSE)
  long <- cbind(long, data[long$participant, ])
  at <- match(long$sparse_term, letters)
  long$estimate <- scale[at] * (at + .02 * long$age + u[long$participant] + rnorm(nrow(long), 0, noise))
  long <- long[runif(nrow(long)) < keep, ]
  long$sparse_term <- factor(long$sparse_term)
  blocks <- list(); long$s <- NA
  for (term in levels(long$sparse_term)) {
    here <- long$sparse_term == term
    # the scaling that spicestat documents: residual sd of each term's own regression
    long$s[here] <- sigma(lm(update(formula, estimate ~ .), data = long[here, ]))
    X <- model.matrix(formula, long)
    blocks[[term]] <- X * here
  }
  D <- do.call(cbind, blocks)
  colnames(D) <- paste0("b", seq_len(ncol(D)))
  frame <- cbind(z = long$estimate / long$s, long["participant"], D)
  fit <- lmerTest::lmer(reformulate(c("0", colnames(D), "(1 | participant)"), "z"), frame, REML = TRUE,
    control = lmerControl(optimizer = "bobyqa", optCtrl = list(rhobeg = .01, rhoend = 1e-12, maxfun = 1e5),
                          check.conv.singular = "ignore", restart_edge = TRUE))
  table <- coef(summary(fit, ddf = "Satterthwaite"))
  list(name = name, formula = paste(deparse(formula), collapse = ""),
       participant = long$participant, sparse_term = as.character(long$sparse_term), estimate = long$estimate,
       scale = long$s, age = data$age, diagnosis = data$diagnosis, terms = I(colnames(model.matrix(formula, long))),
       beta = I(unname(table[, "Estimate"])), se = I(unname(table[, "Std. Error"])), df = I(unname(table[, "df"])),
       p = I(unname(table[, "Pr(>|t|)"])), sd_group = unname(attr(VarCorr(fit)$participant, "stddev")),
       sd_residual = sigma(fit), log_lik = as.numeric(logLik(fit)))
}
mixed <- list(
  mixed_case("balanced", c(.1, 1, 3), 1, .8, ~ age),
  mixed_case("unbalanced", c(.1, 1, 3), .8, .8, ~ age),
  mixed_case("unbalanced, factor", c(.1, 1, 3, 10), .85, 1.5, ~ diagnosis + age),
  mixed_case("little between participants", c(.1, 1), .8, .3, ~ 1),
  mixed_case("singular", c(.1, 1, 3), .9, 0, ~ age))

p <- list(c(.01, .04, .03, .2, .5, .001, .04), c(.5), c(.01, NA, .02, .9), c(0, 1, .2, .2, NA, NA), c(NA_real_),
          round(runif(30)^3, 4))
methods <- c("BH", "BY", "holm", "bonferroni", "none")
adjusted <- lapply(p, function(values) list(p = I(values),
  adjusted = setNames(lapply(methods, function(m) I(p.adjust(values, m))), methods)))

# Not '~ diagnosis:smokes': R makes a rank-deficient matrix of it, and lm then drops a column; formulaic a full-rank one.
model_names <- local({
  data <- data.frame(age = c(20, 30, 45, 50, 61, 33, 28, 71, 39, 42), diagnosis = rep(c("healthy", "bipolar"), 5),
                     smokes = c(TRUE, FALSE, FALSE, TRUE, TRUE, FALSE, TRUE, TRUE, FALSE, FALSE), visit = rep(c(1, 2), c(4, 6)))
  formulas <- c("~ 1", "~ age", "~ diagnosis + age", "~ diagnosis * age", "~ age:diagnosis", "~ smokes", "~ factor(visit)",
                "~ 0 + diagnosis", "~ diagnosis - 1 + age", "~ log(age)", "~ I(age^2) + age", 
                "~ (age + diagnosis)^2", "~ age * smokes * diagnosis", "~ sqrt(age)")
  list(data = data, models = lapply(formulas, function(f) {
    X <- model.matrix(as.formula(f), data)
    list(formula = f, names = I(colnames(X)), matrix = I(as.vector(X)))
  }))
})

write_json(list(meta = meta, ols = ols, mixed = mixed, p_adjust = adjusted, design = model_names), "group_models.json",
           digits = NA, auto_unbox = TRUE, na = "null", pretty = FALSE)
versions <- c(R = R.version.string, sapply(c("metafor", "lme4", "lmerTest", "jsonlite"), function(p) as.character(packageVersion(p))))
write_json(as.list(versions), "group_models_versions.json", auto_unbox = TRUE, pretty = TRUE)
