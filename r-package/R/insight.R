# What insight asks of a model, on which parameters, performance and others rest. The response is `.observed`, as in
# augment().

#' Group models for insight and performance
#'
#' @param x,model,objects A [spice_group()].
#' @param verbose,type,... As insight passes them.
#' @return What insight and performance need.
#' @name insight-methods
#' @keywords internal
NULL

#' @rdname insight-methods
#' @exportS3Method insight::find_formula
find_formula.spice_group <- function(x, verbose = TRUE, ...) { # nolint: object_name_linter.
  covariates <- formula.spice_group(x)
  fixed <- fixed_part(covariates)[[2]]
  found <- list(conditional = rlang::new_formula(quote(.observed), fixed, environment(covariates)))
  random <- lapply(bars_in(covariates[[2]]), function(bar) rlang::new_formula(NULL, bar))
  if (length(random) > 0) found$random <- if (length(random) == 1) random[[1]] else random
  structure(found, class = c("insight_formula", "list"))
}

#' @rdname insight-methods
#' @exportS3Method insight::get_data
get_data.spice_group <- function(x, ...) { # nolint: object_name_linter.
  table <- estimates_of(x)
  data <- as.data.frame(table[seq_len(match("module", names(table)) - 1)])
  data.frame(
    .observed = table$observed, data[names(data) != "participant"], coefficient = coefficient_factor(table),
    participant = table$participant, check.names = FALSE
  )
}

#' @rdname insight-methods
#' @exportS3Method insight::get_statistic
get_statistic.spice_group <- function(x, ...) { # nolint: object_name_linter.
  table <- tidy(x)
  structure(
    data.frame(Parameter = labelled_effects(table), Statistic = table$statistic),
    statistic = statistic_name(table)
  )
}

# a normal test has infinitely many degrees of freedom
statistic_name <- function(table) if (all(is.infinite(table$df))) "z-statistic" else "t-statistic"

#' @rdname insight-methods
#' @exportS3Method insight::get_intercept
get_intercept.spice_group <- function(x, ...) { # nolint: object_name_linter.
  check_dots(..., ignored = "verbose")
  table <- tidy(x)
  own <- table$term == "(Intercept)"
  stats::setNames(table$estimate[own], paste(table$component, table$sparse.term, sep = ":")[own])
}

#' @rdname insight-methods
#' @exportS3Method insight::get_varcov
get_varcov.spice_group <- function(x, ...) stats::vcov(x) # nolint: object_name_linter.

#' @rdname insight-methods
#' @exportS3Method insight::get_df
get_df.spice_group <- function(x, type = "residual", ...) { # nolint: object_name_linter.
  switch(type,
    model = attr(stats::logLik(x), "df"),
    normal = Inf,
    least_df(x)
  )
}

#' The smallest degrees of freedom of a model's effects, which are one number for packages that know no others
#' @noRd
least_df <- function(group) {
  table <- tidy(group)
  # says why there are none
  if (all(is.na(table$p.value))) stats::df.residual(group) else min(table$df, na.rm = TRUE)
}

#' @rdname insight-methods
#' @exportS3Method insight::get_loglikelihood
get_loglikelihood.spice_group <- function(x, ...) stats::logLik(x) # nolint: object_name_linter.

#' @rdname insight-methods
#' @exportS3Method insight::model_info
model_info.spice_group <- function(x, verbose = TRUE, ...) { # nolint: object_name_linter.
  link <- unique(links_of(x, tidy(x)))
  one <- length(link) == 1
  is <- c(
    "mixed", "meta", if (x$method == "presence") c("binomial", "bernoulli", "logit"),
    if (one && link == "identity") "linear", if (x$method == "hurdle") "hurdle", if (is_bayesian(x)) "bayesian"
  )
  # which kinds of models there are differs between versions of insight, and easystats reads all of them
  info <- insight::model_info(stats::lm(y ~ 1, data.frame(y = c(1, 2, 4))), verbose = FALSE)
  kinds <- grep("^is_", names(info), value = TRUE)
  info[kinds] <- as.list(kinds %in% paste0("is_", is))
  utils::modifyList(info, list(
    link_function = if (one) link else NA, family = if (x$method == "presence") "binomial" else "gaussian",
    n_obs = stats::nobs(x)
  ))
}

is_bayesian <- function(group) group$method %in% c("bayes", "bayes_meta", "brms")

#' @rdname insight-methods
#' @exportS3Method insight::link_function
link_function.spice_group <- function(x, ...) stats::make.link(one_link(x))$linkfun # nolint: object_name_linter.

#' @rdname insight-methods
#' @exportS3Method insight::link_inverse
link_inverse.spice_group <- function(x, ...) stats::make.link(one_link(x))$linkinv # nolint: object_name_linter.

#' The link that all coefficients have, or an error
#' @noRd
one_link <- function(group, call = rlang::caller_env()) {
  links <- unique(links_of(group, tidy(group)))
  if (length(links) > 1) {
    abort_spicestat("config", c(
      "the coefficients differ in their links.",
      i = "Analyse those of one module: spice_group(modules = ). predict(group, type = \"response\") knows each."
    ), call = call)
  }
  links
}

#' @rdname insight-methods
#' @exportS3Method insight::get_predicted
get_predicted.spice_group <- function(x, data = NULL, ...) { # nolint: object_name_linter.
  abort_spicestat("config", c(
    "get_predicted() gives one value for each row, and a group model expects one for each coefficient.",
    i = "predict(group, newdata) and emmeans::emmeans(group, ~ covariate | coefficient) have all of them."
  ))
}

#' @rdname insight-methods
#' @exportS3Method performance::model_performance
model_performance.spice_group <- function(model, ...) { # nolint: object_name_linter.
  check_dots(..., ignored = c("verbose", "metrics"))
  row <- glance(model)
  found <- data.frame(AIC = row$AIC, BIC = row$BIC, N = row$nobs, Converged = row$converged)
  structure(found, class = c("performance_model", "data.frame"))
}

#' @rdname insight-methods
#' @exportS3Method performance::performance_aic
performance_aic.spice_group <- function(x, ...) stats::AIC(stats::logLik(x)) # nolint: object_name_linter.

#' @rdname insight-methods
#' @exportS3Method performance::r2
r2.spice_group <- function(model, ...) { # nolint: object_name_linter.
  abort_spicestat("config", c(
    "a group model has an R2 for each coefficient, if any, and none is defined for its method.",
    i = "sigma(group) of models with and without a covariate says how much of the spread it explains."
  ))
}

#' @rdname insight-methods
#' @exportS3Method insight::ellipsis_info
ellipsis_info.spice_group <- function(objects, ...) { # nolint: object_name_linter.
  # its default leaves out what is not in its own list of classes, and its callers go on with nothing
  refuse_comparison("easystats compares models of classes that it lists, and drops all others.")
}

#' @rdname insight-methods
#' @exportS3Method bayestestR::bayesfactor_models
bayesfactor_models.spice_group <- function(...) { # nolint: object_name_linter.
  # its default takes BIC() as it is, which is that of a restricted likelihood
  refuse_comparison("BIC of restricted likelihoods, as bayesfactor_models() takes it, do not compare.")
}

refuse_comparison <- function(why, call = rlang::caller_env()) {
  abort_spicestat("config", c(
    why,
    i = "anova(group, other) compares group models by maximum likelihood, with AIC and BIC.",
    i = "performance::model_performance(group) and parameters::model_parameters(group) take one model."
  ), call = call)
}
