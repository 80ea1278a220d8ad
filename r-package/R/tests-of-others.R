# Tests that other packages make of models.

#' @rdname anova.spice_group
#' @exportS3Method car::Anova
Anova.spice_group <- function(mod, ...) { # nolint: object_name_linter.
  check_dots(...)
  stats::anova(mod)
}

#' Collinearity of the covariates of a group model
#'
#' Generalised variance inflation factors, as `car::vif()` has them: how much wider the joint confidence
#' region of a term is than if it were uncorrelated with all other terms, for each coefficient of the equations.
#'
#' \deqn{GVIF = \frac{|R_1| |R_2|}{|R|}}{GVIF = |R1| |R2| / |R|}
#'
#' where \eqn{R} is the correlation matrix of all effects but the intercept, and \eqn{R_1}, \eqn{R_2}
#' are its parts for the columns of the term and for all others.
#'
#' @param mod A [spice_group()] with at least two terms.
#' @param ... Not used; anything here is an error.
#' @return A matrix with one row for each coefficient and term: `GVIF`, `Df`, and `GVIF^(1/(2*Df))`, which
#'   compares across terms with different numbers of columns.
#' @references Fox and Monette (1992), \doi{10.1080/01621459.1992.10475190}.
#' @keywords internal
#' @exportS3Method car::vif
vif.spice_group <- function(mod, ...) { # nolint: object_name_linter.
  check_dots(...)
  call <- rlang::current_env()
  columns <- term_columns(mod, call)
  if (length(columns) < 2) {
    abort_spicestat("config", "collinearity is between terms, and the model has fewer than two.", call = call)
  }
  parts <- split_effects(tidy(mod), call)
  do.call(rbind, unname(Map(function(table, key) inflation(mod, table, key, columns), parts, names(parts))))
}

#' Inflation of one coefficient's terms; a term that is kept off it has none
#' @noRd
inflation <- function(group, table, key, columns) {
  names <- stats::setNames(effect_names(table), table$term)[table$term != "(Intercept)"]
  correlation <- stats::cov2cor(stats::vcov(group)[names, names, drop = FALSE])
  columns <- Filter(function(own) all(own %in% names(names)), columns)
  rows <- t(vapply(columns, function(own) {
    mine <- names(names) %in% own
    gvif <- det(correlation[mine, mine, drop = FALSE]) * det(correlation[!mine, !mine, drop = FALSE]) / det(correlation)
    c(GVIF = gvif, Df = sum(mine), "GVIF^(1/(2*Df))" = gvif^(1 / (2 * sum(mine))))
  }, numeric(3)))
  rownames(rows) <- paste(key, names(columns))
  rows
}

#' Linear hypotheses with car, lmtest and multcomp
#'
#' `car::linearHypothesis()` and `multcomp::glht()` work, with F and t tests, on
#' group models that know the covariance of all effects: joint methods such as
#' `"hierarchical"`, `"multivariate_meta"` and mixed models, and models of a single
#' coefficient of the equations, with which `multcomp::mcp()` works, too. Other models are refused, as their effects on
#' different coefficients were analysed separately. `lmtest::coeftest()` has the tests of `tidy()`,
#' `lmtest::coefci()` its intervals, and `lmtest::lrtest()` is [anova()] of several models, by maximum likelihood.
#'
#' @param model,object,x A [spice_group()].
#' @param ... What car, lmtest and multcomp take.
#' @param test `"F"`, or `"Chisq"` for a test that takes the variances as known.
#' @param parm,level As in [stats::confint()].
#' @param vcov.,df Not used with `coeftest()` and `coefci()`; for `glht()`, degrees of freedom, where `NULL` takes
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
  check_own_covariance(vcov., df, rlang::current_env())
  table <- tested_effects(x, rlang::current_env())
  found <- cbind(
    Estimate = table$estimate, "Std. Error" = table$std.error, "t value" = table$statistic, "Pr(>|t|)" = table$p.value
  )
  rownames(found) <- labelled_effects(table)
  structure(found, class = "coeftest", method = paste0("Tests of effects, method = \"", x$method, "\""), df = table$df)
}

#' @rdname linear-hypotheses
#' @exportS3Method lmtest::coefci
coefci.spice_group <- function(x, parm = NULL, level = 0.95, vcov. = NULL, # nolint: object_name_linter.
                               df = NULL, ...) {
  check_dots(...)
  check_own_covariance(vcov., df, rlang::current_env())
  found <- stats::confint(x, level = level)
  if (is.null(parm)) found else found[parm, , drop = FALSE]
}

check_own_covariance <- function(vcov, df, call) {
  if (!is.null(vcov) || !is.null(df)) {
    abort_spicestat("config", "a group model has its own covariance and degrees of freedom.", call = call)
  }
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
