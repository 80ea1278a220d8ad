# What packages for linear models would get wrong is refused here, with the verb that does it.

#' Tests of terms with car
#'
#' `car::Anova()` knows models of one outcome; a group model has effects on every
#' coefficient of the equations. `emmeans::joint_tests(group, by = "coefficient")`
#' has the F test of each term for each of them.
#'
#' @param mod A [spice_group()].
#' @param ... Not used.
#' @return Nothing: it is an error.
#' @keywords internal
#' @exportS3Method car::Anova
Anova.spice_group <- function(mod, ...) { # nolint: object_name_linter.
  abort_spicestat("config", c(
    "car::Anova() knows models of one outcome, and a group model has several coefficients.",
    i = "emmeans::joint_tests(group, by = \"coefficient\") tests each term for each coefficient."
  ))
}

#' Linear hypotheses with car and multcomp
#'
#' `car::linearHypothesis()` and `multcomp::glht()` work, with F and t tests, on
#' group models that know the covariance of all effects: joint methods such as
#' `"hierarchical"`, `"multivariate_meta"` and mixed models, and models of a single
#' coefficient of the equations. Other models are refused, as their effects on
#' different coefficients were analysed separately.
#'
#' @param model A [spice_group()].
#' @param ... What car and multcomp take.
#' @param test `"F"`, or `"Chisq"` for a test that takes the variances as known.
#' @param df Degrees of freedom; `NULL` takes the model's.
#' @return What car and multcomp return.
#' @name linear-hypotheses
#' @keywords internal
NULL

#' @rdname linear-hypotheses
#' @exportS3Method car::linearHypothesis
linearHypothesis.spice_group <- function(model, ..., test = "F") { # nolint: object_name_linter.
  need_whole_covariance(model, rlang::current_env())
  NextMethod(test = test)
}

#' @rdname linear-hypotheses
#' @exportS3Method multcomp::modelparm
modelparm.spice_group <- function(model, ..., df = NULL) { # nolint: object_name_linter.
  need_whole_covariance(model, rlang::current_env())
  if (is.null(df)) df <- stats::df.residual(model)
  # multcomp takes whole degrees of freedom, and 0 for a normal test
  NextMethod(df = if (is.finite(df)) floor(df) else 0)
}

need_whole_covariance <- function(model, call) {
  if (anyNA(stats::vcov(model))) {
    abort_spicestat("config", c(
      "effects on different coefficients were analysed separately, so their covariance is not known.",
      i = "Analyse one coefficient (modules =, terms =), or all together (method = \"hierarchical\" or a joint one).",
      i = "emmeans::joint_tests(group, by = \"coefficient\") and emmeans() work on each coefficient apart."
    ), call = call)
  }
}
