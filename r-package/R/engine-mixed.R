# Mixed models of all coefficients together by lme4 and glmmTMB: every coefficient has effects of its own, and all share
# a deviation of the participant, in units of each coefficient's residual standard deviation. Standard errors of the
# estimates are not used. lme4 gives the numbers of the engine's "mixed".

standard_errors_unused <- paste(
  "this method ignores the estimates' standard errors (all participants count the same);",
  "method = \"meta\" or \"metafor\" uses them."
)
singular_fit <- paste(
  "the variance of the participants' common deviation is zero (a singular fit): the coefficients do not share a",
  "common participant effect, so the joint model gives what separate regressions give."
)

#' @noRd
fit_lme4 <- function(inputs, settings, call) {
  need_two_equations(inputs, call)
  data <- stacked_data(inputs)
  tested <- requireNamespace("lmerTest", quietly = TRUE)
  model <- rlang::call2(
    if (tested) quote(lmerTest::lmer) else quote(lme4::lmer),
    formula = mixed_formula(inputs), data = quote(data), REML = settings$estimator == "REML", control = quote(control),
    weights = quote(weight)
  )
  control <- lme4::lmerControl(
    optimizer = "nloptwrap", check.conv.singular = "ignore",
    optCtrl = list(xtol_abs = 1e-10, ftol_abs = 1e-12, maxeval = 1e4)
  )
  heard <- fit_mixed(model, inputs, data, control, call)
  fit <- heard$value
  at <- find_columns(stacked_matrix(inputs), lme4::getME(fit, "X"))
  said <- unlist(fit@optinfo$conv$lme4$messages)
  finished <- fit@optinfo$conv$opt == 0 && !any(grepl("failed to converge", said))
  describe_mixed(
    fit, inputs, data, at,
    beta = lme4::fixef(fit), covariance = as.matrix(stats::vcov(fit)),
    df = if (tested) summary(fit, ddf = "Satterthwaite")$coefficients[, "df"],
    sd = attr(lme4::VarCorr(fit)$participant, "stddev"), residual = stats::sigma(fit),
    deviations = lme4::ranef(fit, condVar = TRUE)$participant, converged = finished, said = heard$said
  )
}

#' @noRd
fit_glmm_tmb <- function(inputs, settings, call) {
  need_two_equations(inputs, call)
  data <- stacked_data(inputs)
  model <- rlang::call2(
    quote(glmmTMB::glmmTMB),
    formula = mixed_formula(inputs), data = quote(data), dispformula = ~ 0 + equation,
    REML = settings$estimator == "REML", control = quote(control)
  )
  control <- glmmTMB::glmmTMBControl(optCtrl = list(iter.max = 10000, eval.max = 20000))
  heard <- fit_mixed(model, inputs, data, control, call)
  fit <- heard$value
  at <- find_columns(stacked_matrix(inputs), glmmTMB::getME(fit, "X"))
  describe_mixed(
    fit, inputs, data, at,
    beta = glmmTMB::fixef(fit)$cond, covariance = stats::vcov(fit)$cond,
    sd = attr(glmmTMB::VarCorr(fit)$cond$participant, "stddev"), residual = residual_by_equation(fit, data),
    deviations = glmmTMB::ranef(fit, condVar = TRUE)$cond$participant,
    converged = fit$fit$convergence == 0 && isTRUE(fit$sdr$pdHess), said = heard$said
  )
}

need_two_equations <- function(inputs, call) {
  if (length(inputs$equations) < 2) {
    abort_spicestat("data", paste0(
      "with a single term a mixed model is not identified: one row per participant cannot tell the random intercept ",
      "from the residual. Got: ", names(inputs$equations), ". Try: analyse several (module, term) pairs ",
      "together, or use method = \"metafor\"."
    ), call = call)
  }
}

mixed_formula <- function(inputs) {
  # a slope of the scale is an intercept in units of each coefficient
  stacked_formula(formula_of_columns(inputs$design), "(0 + scale | participant)")
}

fit_mixed <- function(model, inputs, data, control, call) {
  heard <- eval_model(model, inputs$formula, data = data, control = control)
  if (inherits(heard$value, "error")) {
    reason <- conditionMessage(heard$value)
    abort_spicestat("numerical", paste0("the mixed model cannot be fitted: ", reason), call = call)
  }
  heard
}

describe_mixed <- function(fit, inputs, data, at, beta, covariance, sd, residual, deviations, converged, said,
                           df = NULL) {
  names <- stacked_names(inputs)
  covariance <- covariance[at, at, drop = FALSE]
  dimnames(covariance) <- list(names, names)
  fixed <- joint_fixed(beta[at], sqrt(diag(covariance)), inputs, if (!is.null(df)) df[at])
  scales <- data$scale[match(names(inputs$equations), data$equation)]
  value <- stats::logLik(fit)
  list(
    fit = fit, joint_covariance = covariance, covariance = covariance_blocks(covariance, inputs), fixed = fixed,
    ran_pars = mixed_spread(inputs, sd * scales, rep_len(residual, length(scales)) * residual_unit(residual, scales)),
    ran_vals = mixed_deviations(deviations, data),
    glance = data.frame(
      module = NA_character_, sparse_term = NA_character_, nobs = nrow(data), df_residual = nrow(data) - length(beta),
      log_lik = as.numeric(value), mixed_criteria(value, length(residual), scales), joint_counts(inputs),
      converged = converged && all(is.finite(fixed$std_error))
    ),
    messages = c(standard_errors_unused, if (sd < 1e-4) singular_fit, said)
  )
}

# lme4 has one residual in units of the scale, glmmTMB one per equation in its own units
residual_unit <- function(residual, scales) {
  if (length(residual) == 1) scales else 1
}

#' AIC and BIC; scales that went in as weights are estimates, too
#' @noRd
mixed_criteria <- function(log_lik, n_residuals, scales) {
  df <- attr(log_lik, "df") + length(scales) - n_residuals
  deviance <- -2 * as.numeric(log_lik)
  data.frame(aic = deviance + 2 * df, bic = deviance + log(attr(log_lik, "nobs")) * df)
}

mixed_spread <- function(inputs, between, within) {
  rows <- Map(function(equation, between, within) {
    row_of(equation,
      group = c("participant", "Residual"), term = c("sd__(Intercept)", "sd__Observation"),
      estimate = c(between, within)
    )
  }, inputs$equations, between, within)
  do.call(rbind, unname(rows))
}

mixed_deviations <- function(deviations, data) {
  variance <- attr(deviations, if (is.null(attr(deviations, "postVar"))) "condVar" else "postVar")
  at <- match(data$participant, rownames(deviations))
  data.frame(
    module = data$module, sparse_term = data$sparse.term, group = "participant", level = as.character(data$participant),
    term = "(Intercept)", estimate = data$scale * deviations[[1]][at],
    std_error = data$scale * sqrt(pmax(as.vector(variance), 0))[at]
  )
}

#' Residual standard deviation of each equation in a glmmTMB model
#'
#' Versions differ in whether the dispersion is the variance or its root; the
#' residuals say which.
#' @noRd
residual_by_equation <- function(fit, data) {
  dispersion <- tapply(stats::predict(fit, type = "disp"), data$equation, function(x) x[[1]])
  typical <- tapply(stats::residuals(fit)^2, data$equation, mean)
  as_variance <- sum(abs(log(dispersion) - log(typical)))
  as_sd <- sum(abs(2 * log(dispersion) - log(typical)))
  as.vector(if (as_variance < as_sd) sqrt(dispersion) else dispersion)
}
