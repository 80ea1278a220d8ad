# Functions of other packages that would take a group model for a linear model of one outcome, whose residuals are those
# of stacked estimates: they are refused in words that say what there is instead.

#' Checks of residuals that group models do not have
#'
#' A group model expects one value of each coefficient of the equations, from participants whose estimates
#' are certain to different degrees. The checks of residuals of performance and car and lmtest's tests know one
#' outcome with one variance, so that they are refused: [augment()] has standardised residuals, leverage and Cook's
#' distances, `car::vif()` the collinearity of covariates, and [glance()] heterogeneity and convergence.
#'
#' @param x A [spice_group()].
#' @param tolerance A standard deviation between participants below it counts as 0.
#' @param ... Not used.
#' @return Nothing: an error. `check_singularity()`: is a standard deviation between participants 0?
#'   `check_convergence()` and `is_converged()`: did all models converge?
#' @name refused-checks
#' @keywords internal
#' @rawNamespace
#' S3method(performance::check_autocorrelation, spice_group, refused_check)
#' S3method(performance::check_collinearity, spice_group, refused_check)
#' S3method(performance::check_heteroscedasticity, spice_group, refused_check)
#' S3method(performance::check_homogeneity, spice_group, refused_check)
#' S3method(performance::check_model, spice_group, refused_check)
#' S3method(performance::check_normality, spice_group, refused_check)
#' S3method(performance::check_outliers, spice_group, refused_check)
#' S3method(performance::performance_mae, spice_group, refused_measure)
#' S3method(performance::performance_mse, spice_group, refused_measure)
#' S3method(car::residualPlots, spice_group, refused_measure)
#' S3method(car::outlierTest, spice_group, refused_measure)
#' S3method(car::influencePlot, spice_group, refused_measure)
#' S3method(car::ncvTest, spice_group, refused_measure)
#' S3method(performance::check_predictions, spice_group, refused_simulation)
#' S3method(bayestestR::equivalence_test, spice_group, refused_range)
#' S3method(bayestestR::rope, spice_group, refused_range)
#' S3method(parameters::standardize_parameters, spice_group, refused_standardisation)
NULL

refused_check <- function(x, ...) refuse_residuals(rlang::caller_env())

refused_measure <- function(model, ...) refuse_residuals(rlang::caller_env())

refused_simulation <- function(object, ...) refuse_residuals(rlang::caller_env())

refuse_residuals <- function(call) {
  abort_spicestat("config", c(
    "checks of residuals know models of one outcome with one variance, and a group model is none.",
    i = "augment(group) has standardised residuals, leverage and Cook's distances of each coefficient.",
    i = "car::vif(group) has the collinearity of covariates, and glance(group, each = TRUE) heterogeneity."
  ), call = call)
}

refused_range <- function(x, ...) {
  abort_spicestat("config", c(
    "bayestestR chooses a region of equivalence by the outcome, and coefficients of the equations differ in theirs.",
    i = "tidy(group, conf.int = TRUE) has the intervals to compare with a region of your own.",
    i = "Draws of a Bayesian model: bayestestR::rope(posterior::as_draws_df(group), range = ...)."
  ), call = rlang::caller_env())
}

refused_standardisation <- function(model, ...) {
  abort_spicestat("config", c(
    "parameters standardises by the spread of a response, and each coefficient of the equations has its own.",
    i = "spice_standardised(group) gives standardised effects, with intervals."
  ), call = rlang::caller_env())
}

#' @rdname refused-checks
#' @exportS3Method performance::check_singularity
check_singularity.spice_group <- function(x, tolerance = 1e-5, ...) { # nolint: object_name_linter.
  check_dots(...)
  spread <- x$coefficients
  spread <- spread$estimate[spread$effect == "ran_pars" & startsWith(spread$term, "sd__")]
  any(spread < tolerance)
}

#' @rdname refused-checks
#' @exportS3Method insight::is_converged
is_converged.spice_group <- function(x, ...) { # nolint: object_name_linter.
  check_dots(..., ignored = c("tolerance", "verbose"))
  all(x$glance$converged)
}

#' @rdname refused-checks
#' @exportS3Method performance::check_convergence
check_convergence.spice_group <- function(x, ...) { # nolint: object_name_linter.
  check_dots(..., ignored = c("tolerance", "verbose"))
  all(x$glance$converged)
}

#' @rdname refused-checks
#' @exportS3Method insight::get_deviance
get_deviance.spice_group <- function(x, ...) { # nolint: object_name_linter.
  abort_spicestat("config", c(
    "no deviance is defined for a group model.",
    i = "logLik(group) has its likelihood, and anova(group, other) compares."
  ))
}
