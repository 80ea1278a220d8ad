#' Meta-regression by metafor: the model of the engine's "meta", or with `joint` that of "multivariate_meta"
#' @noRd
fit_metafor <- function(inputs, settings, call) {
  if (settings$joint) fit_metafor_joint(inputs, settings, call) else fit_metafor_each(inputs, settings)
}

fit_metafor_each <- function(inputs, settings) {
  found <- lapply(inputs$equations, function(equation) {
    tryCatch(
      fit_metafor_one(equation, inputs, settings),
      error = function(error) {
        if (inherits(error, "spicestat_error")) stop(error)
        list(reason = conditionMessage(error))
      }
    )
  })
  failed <- vapply(found, function(one) !is.null(one$reason), NA)
  reasons <- Map(function(one, equation) skipped_row(equation$module, equation$sparse_term, one$reason),
    found[failed], inputs$equations[failed]
  )
  found <- found[!failed]
  rows <- function(name) do.call(rbind, unname(lapply(found, `[[`, name)))
  list(
    fixed = rows("fixed"), ran_pars = rows("ran_pars"), ran_vals = rows("ran_vals"), glance = rows("glance"),
    covariance = lapply(found, `[[`, "covariance"), joint_covariance = NULL,
    fit = lapply(found, `[[`, "fit"), skipped = do.call(rbind, unname(reasons)),
    messages = unique(unlist(lapply(found, `[[`, "said")))
  )
}

fit_metafor_one <- function(equation, inputs, settings) {
  X <- inputs$design$matrix[equation$rows, , drop = FALSE] # nolint: object_name_linter.
  best <- best_tau2(equation$estimate, equation$std_error^2, X, settings$estimator == "REML")
  # the data themselves are in the call, as update() looks nowhere else
  model <- rlang::call2(
    quote(metafor::rma),
    yi = quote(estimate), vi = quote(variance), mods = inputs$design$formula,
    data = equation_data(equation, inputs$design), slab = quote(participant), subset = quote(used),
    method = settings$estimator, test = if (settings$knapp_hartung) "knha" else "z",
    # metafor's own search stops at an absolute change, and can fail where it starts far off
    control = list(tau2.init = best$tau2, threshold = 1e-9 * best$upper, maxiter = 1000)
  )
  heard <- eval_model(model, inputs$formula)
  if (inherits(heard$value, "error")) stop(heard$value)
  describe_rma(heard$value, equation, X, settings)
}

describe_rma <- function(fit, equation, X, settings) { # nolint: object_name_linter.
  at <- find_columns(X, fit$X)
  n <- nrow(X)
  covariance <- fit$vb[at, at, drop = FALSE]
  dimnames(covariance) <- list(colnames(X), colnames(X))
  statistics <- fit$fit.stats[, settings$estimator]
  deviations <- nlme::ranef(fit)
  list(
    fit = fit, covariance = covariance,
    fixed = row_of(equation,
      term = colnames(X), estimate = fit$beta[at], std_error = fit$se[at],
      df = if (settings$knapp_hartung) n - ncol(X) else Inf
    ),
    ran_pars = row_of(equation, group = "participant", term = "sd__(Intercept)", estimate = sqrt(fit$tau2)),
    ran_vals = row_of(equation,
      group = "participant", level = label_text(fit$slab[fit$not.na]), term = "(Intercept)",
      estimate = as.vector(deviations$pred), std_error = as.vector(deviations$se)
    ),
    glance = row_of(equation,
      nobs = n, tau_squared = fit$tau2, tau_squared_se = fit$se.tau2, i_squared = fit$I2, h_squared = fit$H2,
      cochran_qe = fit$QE, p_value_cochran_qe = fit$QEp, cochran_qm = fit$QM, p_value_cochran_qm = fit$QMp,
      df_residual = n - ncol(X), log_lik = statistics[[1]], aic = statistics[[3]], bic = statistics[[4]],
      n_excluded = equation$n_excluded, share_unidentified = equation$share_unidentified,
      converged = all(is.finite(fit$beta)) && is.finite(statistics[[1]])
    )
  )
}

#' The variance between participants at the global maximum of the (restricted) likelihood
#'
#' @return A list of `tau2` and `upper`, above which it cannot be.
#' @noRd
best_tau2 <- function(y, v, X, restricted) { # nolint: object_name_linter.
  residual <- stats::lm.fit(X, y)$residuals
  s2 <- sum(residual^2) / (length(y) - ncol(X))
  upper <- 1.01 * (s2 + sqrt(s2^2 + 4 * s2 * max(v))) / 2
  value <- function(tau2) profile_likelihood(tau2, y, v, X, restricted)
  grid <- c(0, exp(seq(log(1e-8 * min(v, upper)), log(upper), length.out = 60)))
  best <- which.max(vapply(grid, value, 0))
  around <- grid[c(max(1, best - 1), min(length(grid), best + 1))]
  found <- stats::optimize(value, around, maximum = TRUE, tol = 1e-9 * around[2])
  list(tau2 = if (best == 1 && value(0) >= found$objective) 0 else found$maximum, upper = upper)
}

profile_likelihood <- function(tau2, y, v, X, restricted) { # nolint: object_name_linter.
  weight <- 1 / (v + tau2)
  fit <- stats::lm.wfit(X, y, weight)
  value <- 0.5 * (sum(log(weight)) - sum(weight * fit$residuals^2))
  if (restricted) value - sum(log(abs(diag(qr.R(fit$qr))))) else value
}

#' All coefficients together: known covariances within participants, unstructured covariance between them
#' @noRd
fit_metafor_joint <- function(inputs, settings, call) {
  data <- stacked_data(inputs)
  model <- rlang::call2(
    quote(metafor::rma.mv),
    yi = quote(estimate), V = stacked_covariance(inputs, data), data = data, !!!joint_structure(inputs),
    method = settings$estimator, test = if (settings$knapp_hartung) "t" else "z"
  )
  heard <- first_that_ends(model, inputs)
  if (inherits(heard$value, "error")) {
    abort_spicestat("numerical", c(
      paste0("metafor cannot fit the joint model: ", conditionMessage(heard$value)),
      i = "Try joint = FALSE, or method = \"multivariate_meta\"."
    ), call = call)
  }
  describe_rma_mv(heard$value, inputs, data, settings, heard$said)
}

#' Arguments of rma.mv that differ between one equation and several
#' @noRd
joint_structure <- function(inputs) {
  formula <- inputs$design$formula
  if (length(inputs$equations) == 1) {
    return(list(mods = formula, random = ~ 1 | participant))
  }
  list(mods = stacked_formula(formula_of_columns(inputs$design)), random = ~ equation | participant, struct = "UN")
}

#' Fit with one optimiser after the other, from the variances of the separate models
#' @noRd
first_that_ends <- function(model, inputs) {
  start <- vapply(inputs$equations, function(equation) {
    X <- inputs$design$matrix[equation$rows, , drop = FALSE] # nolint: object_name_linter.
    # a search from zero does not leave it
    max(best_tau2(equation$estimate, equation$std_error^2, X, TRUE)$tau2, 0.01 * residual_sd(equation, X)^2)
  }, 0)
  start <- unname(start)
  start <- if (length(start) == 1) list(sigma2.init = start) else list(tau2.init = start)
  for (own in list(list(rel.tol = 1e-10), list(optimizer = "BFGS"), list(optimizer = "Nelder-Mead", maxit = 1e5))) {
    heard <- eval_model(rlang::call_modify(model, control = c(start, own)), inputs$formula)
    if (!inherits(heard$value, "error")) break
  }
  heard
}

#' Sampling covariance of the stacked estimates; what is not known is taken as 0
#' @noRd
stacked_covariance <- function(inputs, data) {
  key <- paste(data$equation, id_key(data$participant))
  terms <- inputs$cells$terms$key
  sampling <- diag(data$std.error^2, nrow(data))
  known <- inputs$covariance
  if (!is.null(known)) {
    who <- id_key(known$participant)
    row <- match(paste(terms[known$row + 1], who), key)
    column <- match(paste(terms[known$column + 1], who), key)
    both <- !is.na(row) & !is.na(column) & row != column & is.finite(known$value)
    sampling[cbind(row[both], column[both])] <- known$value[both]
  }
  sampling
}

describe_rma_mv <- function(fit, inputs, data, settings, said) {
  at <- find_columns(stacked_matrix(inputs), fit$X)
  names <- stacked_names(inputs)
  covariance <- fit$vb[at, at, drop = FALSE]
  dimnames(covariance) <- list(names, names)
  equations <- inputs$equations
  sigma <- if (length(equations) == 1) matrix(fit$sigma2) else fit$G
  statistics <- fit$fit.stats[, settings$estimator]
  list(
    fit = fit, joint_covariance = covariance, covariance = covariance_blocks(covariance, inputs),
    fixed = joint_fixed(fit$beta[at], sqrt(diag(covariance)), inputs, if (!settings$knapp_hartung) Inf),
    ran_pars = joint_spread(sigma, equations),
    ran_vals = joint_deviations(fit, inputs, data),
    glance = data.frame(
      module = NA_character_, sparse_term = NA_character_, nobs = nrow(fit$X), df_residual = nrow(fit$X) - length(at),
      log_lik = statistics[[1]], aic = statistics[[3]], bic = statistics[[4]], joint_counts(inputs),
      cochran_qe = fit$QE, p_value_cochran_qe = fit$QEp, converged = all(is.finite(fit$beta))
    ),
    messages = said
  )
}

#' Deviations of a joint model, for the estimates that are there
#' @noRd
joint_deviations <- function(fit, inputs, data) {
  deviations <- nlme::ranef(fit)[[1]]
  label <- as.character(data$participant)
  if (length(inputs$equations) > 1) label <- paste(data$equation, label, sep = " | ")
  # metafor pads its labels
  at <- match(label, trimws(rownames(deviations)))
  data.frame(
    module = data$module, sparse_term = data$sparse.term, group = "participant", level = as.character(data$participant),
    term = "(Intercept)", estimate = deviations[[1]][at], std_error = deviations[[2]][at]
  )
}
