# Tests that other packages make of models.

#' @rdname anova.spice_group
#' @exportS3Method car::Anova
Anova.spice_group <- function(mod, ...) { # nolint: object_name_linter.
  check_dots(...)
  stats::anova(mod)
}

#' Linear hypotheses with car, lmtest and multcomp
#'
#' `car::linearHypothesis()` and `multcomp::glht()` work, with F and t tests, on
#' group models that know the covariance of all effects: joint methods such as
#' `"hierarchical"`, `"multivariate_meta"` and mixed models, and models of a single
#' coefficient of the equations, with which `multcomp::mcp()` works, too. Other models are refused, as their effects on
#' different coefficients were analysed separately. `lmtest::coeftest()` has the tests of `tidy()`, and
#' `lmtest::lrtest()` is [anova()] of several models, by maximum likelihood.
#'
#' @param model,object,x A [spice_group()].
#' @param ... What car, lmtest and multcomp take.
#' @param test `"F"`, or `"Chisq"` for a test that takes the variances as known.
#' @param vcov.,df Not used with `coeftest()`; for `glht()`, degrees of freedom, where `NULL` takes
#'   the model's.
#' @return What car, lmtest and multcomp return.
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

#' @rdname linear-hypotheses
#' @exportS3Method lmtest::coeftest
coeftest.spice_group <- function(x, vcov. = NULL, df = NULL, ...) { # nolint: object_name_linter.
  check_dots(...)
  if (!is.null(vcov.) || !is.null(df)) {
    abort_spicestat("config", "coeftest() of a group model has its own covariance and degrees of freedom.")
  }
  table <- tested_effects(x, rlang::current_env())
  found <- cbind(
    Estimate = table$estimate, "Std. Error" = table$std.error, "t value" = table$statistic, "Pr(>|t|)" = table$p.value
  )
  rownames(found) <- labelled_effects(table)
  structure(found, class = "coeftest", method = paste0("Tests of effects, method = \"", x$method, "\""), df = table$df)
}

#' @rdname linear-hypotheses
#' @exportS3Method lmtest::lrtest
lrtest.spice_group <- function(object, ...) { # nolint: object_name_linter.
  if (...length() == 0) {
    abort_spicestat("config", "lrtest() compares models: lrtest(group, update(group, . ~ . - age)).")
  }
  stats::anova(object, ...)
}

#' @rdname linear-hypotheses
#' @exportS3Method lmtest::waldtest
waldtest.spice_group <- function(object, ...) { # nolint: object_name_linter.
  abort_spicestat("config", c(
    "waldtest() knows models of one outcome.",
    i = "anova(group) has the Wald test of each term, and car::linearHypothesis() of several effects together."
  ))
}

need_whole_covariance <- function(model, call) {
  if (anyNA(stats::vcov(model))) {
    abort_spicestat("config", c(
      "effects on different coefficients were analysed separately, so their covariance is not known.",
      i = "Analyse one coefficient (modules =, terms =), or all together (method = \"hierarchical\" or a joint one).",
      i = "anova(group) and emmeans() work on each coefficient apart."
    ), call = call)
  }
}
