#' Coefficients as one tidy table
#'
#' @param x A [spice_fit()].
#' @param conf.int Add confidence intervals?
#' @param conf.level Level of the intervals.
#' @param ... Not used.
#' @return A tibble with one row per participant, module and term, also for
#'   terms that are not in the equation (`present` is `FALSE`, `estimate` 0 and
#'   `std.error` `NA`).
#'   * `effect`: `"ran_coefs"`; `group`: `"participant"`; `level`: the id, as
#'     text.
#'   * `component`: the module; `term`: the equation's term.
#'   * `estimate`, `std.error`; `conf.low`, `conf.high` if asked for.
#'   * `present`: is the term in the equation? `inclusion.prob`: in which
#'     share of the ensemble is it?
#'   * `n.trials`, `converged`, `at.bound`: is the estimate at the edge of
#'     what is possible, and hence without a standard error?
#' @export
#' @examples
#' tidy(example_fit, conf.int = TRUE)
tidy.spice_fit <- function(x, conf.int = FALSE, conf.level = 0.95, ...) { # nolint: object_name_linter.
  level <- check_level(conf.level)
  table <- x$coefficients
  half <- stats::qnorm((1 + level) / 2) * table$std_error
  interval <- if (conf.int) {
    list(conf.low = table$estimate - half, conf.high = table$estimate + half)
  }
  tibble::new_tibble(
    c(
      list(
        effect = rep("ran_coefs", nrow(table)), component = table$module,
        group = rep("participant", nrow(table)), level = as.character(table$participant),
        term = table$term, estimate = table$estimate, std.error = table$std_error
      ),
      interval,
      list(
        present = table$selected, inclusion.prob = table$inclusion_prob,
        n.trials = table$n_trials, converged = table$converged, at.bound = table$at_bound
      )
    ),
    nrow = nrow(table)
  )
}

#' Effects of covariates as one tidy table
#'
#' @param x A [spice_group()].
#' @param effects `"fixed"`: effects of the covariates. `"ran_pars"`: how much
#'   participants differ beyond that, as standard deviations and correlations.
#' @param conf.int Add confidence intervals?
#' @param conf.level Level of the intervals; `NULL` takes that of the analysis.
#' @param ... Not used.
#' @return A tibble: `effect`, `component` (the module), `sparse.term` (the
#'   equation's term), `group`, `level`, `term` (the covariate), `estimate`,
#'   `std.error`, `statistic`, `df`, `p.value`, `p.adjusted` (for the number of
#'   coefficients), and `conf.low`, `conf.high` if asked for. `p.value` and
#'   the intervals are `NA` where too few participants have an identified
#'   estimate.
#' @export
#' @examples
#' tidy(example_group, conf.int = TRUE)
#' tidy(example_group, effects = "ran_pars")
tidy.spice_group <- function(x, effects = c("fixed", "ran_pars"), conf.int = FALSE, # nolint: object_name_linter.
                             conf.level = NULL, ...) { # nolint: object_name_linter.
  effects <- rlang::arg_match(effects)
  table <- x$coefficients
  table <- table[table$effect == effects, ]
  if (!is.null(conf.level)) table <- with_level(table, check_level(conf.level))
  table <- with_broom_names(table)
  first <- c("effect", "component", "sparse.term", "group", "level", "term")
  rest <- setdiff(names(table), c(first, "conf.low", "conf.high", "conf.level"))
  table[c(intersect(first, names(table)), rest, if (conf.int) c("conf.low", "conf.high"))]
}

#' Intervals at another level; those that were withheld stay so
#' @noRd
with_level <- function(table, level) {
  df <- ifelse(is.na(table$df), Inf, table$df)
  half <- stats::qt((1 + level) / 2, df) * table$std_error
  given <- !is.na(table$conf_low) & !is.na(table$std_error)
  table$conf_low <- ifelse(given, table$estimate - half, NA)
  table$conf_high <- ifelse(given, table$estimate + half, NA)
  table
}

check_level <- function(level, call = rlang::caller_env()) {
  if (!rlang::is_double(level, n = 1, finite = TRUE) || level <= 0 || level >= 1) {
    abort_spicestat("config", "the confidence level must be one number between 0 and 1.", call = call)
  }
  level
}

#' A fit or a group model at a glance
#'
#' @param x A [spice_fit()] or [spice_group()].
#' @param ... Not used.
#' @return For a fit, a tibble with one row. For a group model, one row per
#'   coefficient of the equations, or one in all for `method = "mixed"`. Names
#'   are broom's: `nobs`, `logLik`, `AIC`, `i.squared` and so on.
#' @export
#' @examples
#' glance(example_fit)
#' glance(example_group)
glance.spice_fit <- function(x, ...) {
  with_broom_names(x$glance)
}

#' @rdname glance.spice_fit
#' @export
glance.spice_group <- function(x, ...) {
  with_broom_names(x$glance)
}

with_broom_names <- function(table) {
  known <- c(log_lik = "logLik", aic = "AIC", bic = "BIC", module = "component")
  names(table) <- ifelse(
    names(table) %in% names(known), known[names(table)], chartr("_", ".", names(table))
  )
  table
}
