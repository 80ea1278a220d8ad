#' Bayesian meta-regression by brms, one model per equation: `estimate | se(std.error, sigma = TRUE) ~ covariates`
#'
#' The Stan program is compiled once: what differs between equations, the
#' place and the scale of the priors, is data to it.
#' @noRd
fit_brms <- function(inputs, settings, call) {
  formula <- brms_formula(inputs)
  first <- NULL
  fits <- list()
  for (key in names(inputs$equations)) {
    heard <- listen(sample_brms(first, formula, inputs$equations[[key]], inputs$design, settings))
    if (inherits(heard$value, "error")) {
      abort_spicestat("numerical", c(
        paste0("brms cannot fit ", key, ": ", conditionMessage(heard$value)),
        i = "method = \"bayes_meta\" fits a similar model without a compiler."
      ), call = call)
    }
    fits[[key]] <- heard$value
    if (is.null(first)) first <- heard$value
  }
  shared <- list(design = inputs$design, level = inputs$conf_level)
  found <- Map(describe_brms, fits, inputs$equations, MoreArgs = shared)
  rows <- function(name) do.call(rbind, unname(lapply(found, `[[`, name)))
  list(
    fit = fits, fixed = rows("fixed"), ran_pars = rows("ran_pars"), ran_vals = rows("ran_vals"),
    glance = rows("glance"), covariance = lapply(found, `[[`, "covariance"), joint_covariance = NULL,
    messages = character()
  )
}

brms_formula <- function(inputs) {
  side <- formula_of_columns(inputs$design, brms_names(inputs$design))[[2]]
  rlang::new_formula(quote(estimate | se(std.error, sigma = TRUE)), side, parent_of_data(inputs$formula))
}

#' Names of the formula's variables that brms can read
#'
#' It neither knows the session's variables, as in I(age / k), nor takes names with blanks, `__`, or `_` at the end.
#' @noRd
brms_names <- function(design) {
  make.names(gsub("__+|_$", ".", names(design$model)), unique = TRUE)
}

#' Arguments of brms::brm() for one equation
#' @noRd
brms_arguments <- function(formula, equation, design, settings) {
  data <- brms_data(equation, design)
  spread <- stats::mad(data$estimate)
  # half of the estimates may be the same
  spread <- if (spread > 0) spread else stats::sd(data$estimate)
  defaults <- list(
    formula = formula, data = data, family = stats::gaussian(), prior = brms_prior(design),
    stanvars = brms::stanvar(stats::median(data$estimate), "prior_location") +
      brms::stanvar(2.5 * spread, "prior_scale"),
    seed = 1, refresh = 0, silent = 2
  )
  utils::modifyList(defaults, settings)
}

#' Estimates of one equation beside the variables of the formula, computed ones such as log(age) too
#' @noRd
brms_data <- function(equation, design) {
  variables <- stats::setNames(design$model, brms_names(design))
  check_free(names(variables), c("estimate", "std.error"))
  own <- data.frame(estimate = equation$estimate, std.error = equation$std_error)
  cbind(own, variables[equation$rows, , drop = FALSE])
}

brms_prior <- function(design) {
  priors <- brms::prior_string("student_t(3, 0, prior_scale)", class = "sigma")
  if (!"(Intercept)" %in% colnames(design$matrix)) {
    return(priors)
  }
  c(brms::prior_string("student_t(3, prior_location, prior_scale)", class = "Intercept"), priors)
}

sample_brms <- function(first, formula, equation, design, settings) {
  arguments <- brms_arguments(formula, equation, design, settings)
  # brms shows the expression of the data, hence a name
  env <- rlang::new_environment(list(data = arguments$data, first = first), parent = baseenv())
  arguments$data <- quote(data)
  if (is.null(first)) {
    return(eval(rlang::call2(quote(brms::brm), !!!arguments), env))
  }
  again <- arguments[setdiff(names(arguments), c("formula", "data", "family", "prior"))]
  eval(rlang::call2(quote(stats::update), quote(first), newdata = quote(data), recompile = FALSE, !!!again), env)
}

describe_brms <- function(fit, equation, design, level) {
  draws <- brms_draws(fit)
  effects <- draws$effects
  colnames(effects) <- colnames(design$matrix)
  list(
    covariance = stats::cov(effects),
    fixed = row_of(equation,
      term = colnames(effects), summarise_draws(effects, level), statistic = NA_real_, df = Inf,
      p_value = NA_real_
    ),
    ran_pars = row_of(equation, group = "participant", term = "sd__(Intercept)", summarise_draws(draws$sigma, level)),
    ran_vals = brms_deviations(effects, draws$sigma[, 1], equation, design),
    glance = row_of(equation,
      nobs = nrow(fit$data), df_residual = nrow(fit$data) - ncol(effects), n_excluded = equation$n_excluded,
      share_unidentified = equation$share_unidentified, sampling_quality(fit)
    )
  )
}

#' Draws of the effects and of the standard deviation between participants, one row each
#' @noRd
brms_draws <- function(fit) {
  all <- as.matrix(fit)
  list(
    effects = all[, startsWith(colnames(all), "b_"), drop = FALSE],
    sigma = all[, "sigma", drop = FALSE]
  )
}

summarise_draws <- function(draws, level) {
  ends <- apply(draws, 2, stats::quantile, probs = c(1 - level, 1 + level) / 2, names = FALSE)
  data.frame(
    estimate = unname(colMeans(draws)), std_error = unname(apply(draws, 2, stats::sd)),
    conf_low = ends[1, ], conf_high = ends[2, ]
  )
}

#' Posterior of the participants' deviations, each draw's a normal one with known mean and variance
#' @noRd
brms_deviations <- function(effects, sigma, equation, design) {
  fitted <- effects %*% t(design$matrix[equation$rows, , drop = FALSE])
  variance <- equation$std_error^2
  share <- outer(sigma^2, variance, function(between, within) between / (between + within))
  mean <- share * (rep(equation$estimate, each = nrow(fitted)) - fitted)
  spread <- sweep(share, 2, variance, "*")
  row_of(equation,
    group = "participant", level = label_text(design$frame$participant[equation$rows]), term = "(Intercept)",
    estimate = colMeans(mean), std_error = sqrt(colMeans(spread) + apply(mean, 2, stats::var))
  )
}

#' Convergence by the rule of the engine: R-hat below 1.01, effective sizes above 400, no divergence
#' @noRd
sampling_quality <- function(fit) {
  summary <- summary(fit)
  parameters <- rbind(summary$fixed, summary$spec_pars)
  quality <- data.frame(
    rhat = max(parameters$Rhat), ess_bulk = min(parameters$Bulk_ESS), ess_tail = min(parameters$Tail_ESS),
    n_divergent = sum(brms::nuts_params(fit, pars = "divergent__")$Value)
  )
  quality$converged <- quality$rhat < 1.01 && quality$ess_bulk > 400 && quality$ess_tail > 400 &&
    quality$n_divergent == 0
  quality
}
