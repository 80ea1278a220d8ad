#' Summarise a fit by term
#'
#' @param object A [spice_fit()] or [spice_group()].
#' @param ... Not used; anything here is an error.
#' @return For a fit, a tibble with one row per module and term: `component`,
#'   `term`, `n.present` (participants whose equation has it), and among these
#'   `mean` and `sd` of the estimates, where there are some, and `median.std.error`. For a group model
#'   [tidy.spice_group()] with intervals, and with these and the p-values before
#'   the rest, so that a console of 80 columns shows them.
#' @export
#' @examples
#' summary(example_fit)
summary.spice_fit <- function(object, ...) {
  check_dots(...)
  table <- object$coefficients
  key <- paste(table$module, table$term, sep = "\r")
  parts <- split_in_order(table, key)
  number <- function(f) vapply(parts, f, 0, USE.NAMES = FALSE)
  # estimates that the choices do not identify are NA
  present <- function(part, name) part[[name]][part$selected & !is.na(part$estimate)]
  text <- function(name) vapply(parts, function(part) part[[name]][[1]], "", USE.NAMES = FALSE)
  tibble::tibble(
    component = text("module"),
    term = text("term"),
    n.present = as.integer(number(function(part) sum(part$selected))),
    mean = number(function(part) mean_or_na(present(part, "estimate"))),
    sd = number(function(part) stats::sd(present(part, "estimate"))),
    median.std.error = number(function(part) stats::median(present(part, "std_error"), na.rm = TRUE))
  )
}

#' Parts by key, in the order in which keys first occur
#' @noRd
split_in_order <- function(x, key) {
  split(x, factor(key, unique(key)))
}

mean_or_na <- function(x) {
  if (length(x) > 0) mean(x) else NA_real_
}

#' @rdname summary.spice_fit
#' @export
summary.spice_group <- function(object, ...) {
  check_dots(...)
  table <- tidy(object, conf.int = TRUE)
  first <- c("component", "sparse.term", "term", "estimate", interval, "p.adjusted", "p.value")
  table[c(first, setdiff(names(table), first))]
}

#' Coefficients, covariances, intervals and likelihoods
#'
#' @param object,x,formula A [spice_fit()] or [spice_group()].
#' @param parm Names of the coefficients to show; all by default.
#' @param level Level of the intervals; for a group model by default that of
#'   the analysis.
#' @param participant Id of one participant.
#' @param ... Not used; anything here is an error.
#' @return For a fit, `coef()` returns a tibble with one row per participant and
#'   one column `<module>:<term>` per term, `vcov()` the sampling covariance
#'   matrix of one participant's estimates, `confint()` a matrix with rows
#'   `<participant>:<module>:<term>` for the estimated coefficients, `logLik()`
#'   the log likelihood of all choices, and `nobs()` their number. `BIC()` counts
#'   a coefficient with the choices of its own participant, as [spice_compare()]
#'   does.
#'
#'   For a group model, `coef()` and `fixef()` return a vector with names
#'   `<module>:<term>:<covariate>`, `vcov()` their covariance matrix (`NA`
#'   between effects on different coefficients where these were analysed
#'   separately), `confint()` a matrix of intervals, `nobs()` the number of
#'   observations (participants; estimates for mixed models), `logLik()` the log
#'   likelihood (of all coefficients together, where they were analysed
#'   separately), `sigma()` the standard deviation between participants that the
#'   covariates leave, by coefficient of the equations, `df.residual()` the degrees of
#'   freedom of all tests (an error where effects have their own).
#' @export
#' @examples
#' coef(example_fit)
#' vcov(example_fit, participant = "p01")
#' confint(example_group)
#' fixef(example_group)
#' sigma(example_group)
#' AIC(example_group)
coef.spice_fit <- function(object, ...) {
  check_dots(..., ignored = "complete")
  table <- object$coefficients
  people <- unique(table$participant)
  terms <- term_names(table)
  values <- matrix(table$estimate, nrow = length(people), byrow = TRUE)
  columns <- stats::setNames(lapply(seq_along(terms), function(i) values[, i]), terms)
  tibble::new_tibble(c(list(participant = people), columns), nrow = length(people))
}

# the engine orders rows by participant, with the same terms in the same order
term_names <- function(table) {
  unique(paste(table$module, table$term, sep = ":"))
}

#' @rdname coef.spice_fit
#' @export
vcov.spice_fit <- function(object, participant, ...) {
  check_dots(..., ignored = "complete")
  ids <- label_text(unique(object$coefficients$participant))
  if (missing(participant) || length(participant) != 1 || !label_text(participant) %in% ids) {
    abort_spicestat(
      "config", c("`participant` must be the id of one participant.", i = paste0("There are: ", some(ids), "."))
    )
  }
  names <- term_names(object$coefficients)
  rows <- object$covariance[label_text(object$covariance$participant) == label_text(participant), ]
  result <- matrix(NA_real_, length(names), length(names), dimnames = list(names, names))
  result[cbind(rows$row + 1, rows$column + 1)] <- rows$value
  result
}

#' @rdname coef.spice_fit
#' @importFrom stats nobs
#' @export
nobs.spice_fit <- function(object, ...) {
  check_dots(..., ignored = "use.fallback")
  object$glance$nobs
}

#' @rdname coef.spice_fit
#' @importFrom stats logLik
#' @export
logLik.spice_fit <- function(object, ...) { # nolint: object_name_linter.
  check_dots(...)
  row <- object$glance
  structure(row$log_lik, df = row$n_coefficients, nobs = row$nobs, class = "logLik")
}

#' @rdname coef.spice_fit
#' @importFrom stats BIC
#' @export
BIC.spice_fit <- function(object, ...) { # nolint: object_name_linter.
  check_dots(...)
  object$glance$bic
}

#' @rdname coef.spice_fit
#' @export
coef.spice_group <- function(object, ...) {
  check_dots(..., ignored = "complete")
  table <- tidy(object)
  stats::setNames(table$estimate, labelled_effects(table))
}

#' Names of effects, with the part in front where a model has two parts with effects of the same name ("hurdle")
#' @noRd
labelled_effects <- function(table) {
  names <- effect_names(table)
  if (anyDuplicated(names)) paste(table$group, names, sep = ":") else names
}

effect_names <- function(table) {
  paste(table$component, table$sparse.term, table$term, sep = ":")
}

#' @rdname coef.spice_fit
#' @export
fixef.spice_group <- function(object, ...) {
  check_dots(...)
  stats::coef(object)
}

#' @rdname coef.spice_fit
#' @export
vcov.spice_group <- function(object, ...) {
  check_dots(..., ignored = "complete")
  table <- tidy(object)
  names <- labelled_effects(table)
  result <- matrix(NA_real_, length(names), length(names), dimnames = list(names, names))
  joint <- object$joint_covariance
  if (!is.null(joint) && all(names %in% rownames(joint))) {
    result[] <- joint[names, names]
    return(result)
  }
  rows <- object$covariance
  part <- if (anyDuplicated(effect_names(table))) "magnitude:" else ""
  label <- function(term) match(paste0(part, paste(rows$module, rows$sparse_term, term, sep = ":")), names)
  result[cbind(label(rows$row), label(rows$column))] <- rows$value
  # the covariances of who has a term do not cross from the engine, its variances do
  alone <- is.na(diag(result))
  diag(result)[alone] <- table$std.error[alone]^2
  result
}

#' @rdname coef.spice_fit
#' @export
confint.spice_fit <- function(object, parm, level = 0.95, ...) {
  check_dots(...)
  table <- tidy(object, conf.int = TRUE, conf.level = level)
  table <- table[!is.na(table$std.error), ]
  interval_matrix(table, paste(table$level, table$component, table$term, sep = ":"), level, parm)
}

#' @rdname coef.spice_fit
#' @export
confint.spice_group <- function(object, parm, level = NULL, ...) {
  check_dots(...)
  if (is.null(level)) level <- object$coefficients$conf_level[[1]]
  table <- tidy(object, conf.int = TRUE, conf.level = level)
  interval_matrix(table, labelled_effects(table), level, parm)
}

interval_matrix <- function(table, names, level, parm) {
  ends <- paste(format(100 * c(1 - level, 1 + level) / 2, trim = TRUE, digits = 3), "%")
  result <- cbind(table$conf.low, table$conf.high)
  dimnames(result) <- list(names, ends)
  if (missing(parm)) result else result[parm, , drop = FALSE]
}

#' @rdname coef.spice_fit
#' @export
nobs.spice_group <- function(object, ...) {
  check_dots(..., ignored = "use.fallback")
  max(object$glance$nobs)
}

#' @rdname coef.spice_fit
#' @export
logLik.spice_group <- function(object, ...) { # nolint: object_name_linter.
  check_dots(...)
  rows <- object$glance
  if (anyNA(rows$log_lik)) {
    abort_spicestat("config", paste0("method = \"", object$method, "\" has no likelihood."))
  }
  df <- round((rows$aic + 2 * rows$log_lik) / 2)
  # a restricted likelihood has fewer observations than there are participants
  n <- round(exp((rows$bic + 2 * rows$log_lik) / df))
  structure(sum(rows$log_lik), df = sum(df), nobs = sum(n), class = "logLik")
}

#' Random parts have several standard deviations, which one number or matrix of a group cannot tell
#' @noRd
refuse_parts <- function(group, call = rlang::caller_env()) {
  if (has_bars(formula.spice_group(group))) {
    abort_spicestat("config", c(
      "a model with random parts has no single standard deviation between participants.",
      i = "tidy(group, effects = \"ran_pars\") has all standard deviations and correlations."
    ), call = call)
  }
}

#' @rdname coef.spice_fit
#' @importFrom stats sigma
#' @export
sigma.spice_group <- function(object, ...) {
  check_dots(..., ignored = "use.fallback")
  refuse_parts(object)
  rows <- object$coefficients
  rows <- rows[rows$effect == "ran_pars" & rows$term %in% c("sd__(Intercept)", "sd__Observation"), ]
  if (nrow(rows) == 0) {
    abort_spicestat("config", paste0("method = \"", object$method, "\" estimates no standard deviation."))
  }
  key <- paste(rows$module, rows$sparse_term, sep = ":")
  vapply(split_in_order(rows$estimate, key), function(sd) sqrt(sum(sd^2)), 0)
}

#' @rdname coef.spice_fit
#' @importFrom stats df.residual
#' @export
df.residual.spice_group <- function(object, ...) {
  check_dots(...)
  table <- tidy(object)
  df <- unique(table$df)
  if (all(is.na(table$p.value))) {
    abort_spicestat("config", c(
      "the group model gives no tests, so that there are no degrees of freedom for any.",
      i = if (any(object$glance$withheld)) {
        paste("They are withheld:", withheld_because(object))
      } else {
        paste0("method = \"", object$method, "\" has intervals: tidy(group, conf.int = TRUE).")
      }
    ))
  }
  if (length(df) > 1 && !isTRUE(max(df) - min(df) <= 1e-6 * min(df))) {
    abort_spicestat("config", c(
      paste0("the effects have degrees of freedom of their own, from ", format(min(df)), " to ", format(max(df)), "."),
      i = "tidy(group) has each effect's, and emmeans() takes the smallest of those that it combines."
    ))
  }
  df[[1]]
}

#' @rdname coef.spice_fit
#' @importFrom stats formula
#' @export
formula.spice_group <- function(x, ...) {
  # as.formula(group) passes it on
  check_dots(..., ignored = "env")
  found <- stats::as.formula(x$formula, env = if (is.null(x$environment)) globalenv() else x$environment)
  # step() puts a formula with the response there
  if (length(found) == 3) rlang::new_formula(NULL, found[[3]], environment(found)) else found
}

#' Participants of a group model with their covariates, one row each
#' @noRd
model_data <- function(group, call = rlang::caller_env()) {
  known_design(group, call)$frame
}

known_design <- function(group, call = rlang::caller_env()) {
  if (is.null(group$design)) {
    abort_spicestat("config", "the group model comes from an earlier version. Call spice_group() again.", call = call)
  }
  group$design
}

#' Fits and group models as tables
#'
#' @param x A [spice_fit()] or [spice_group()].
#' @param ... Passed on to [tidy()].
#' @return What [tidy()] returns, as a tibble or a data frame.
#' @export
#' @examples
#' as_tibble(example_fit)
as_tibble.spice_fit <- function(x, ...) {
  tidy(x, ...)
}

#' @rdname as_tibble.spice_fit
#' @export
as_tibble.spice_group <- function(x, ...) {
  tidy(x, ...)
}

#' @rdname as_tibble.spice_fit
#' @param row.names,optional Not used.
#' @export
as.data.frame.spice_fit <- function(x, row.names = NULL, optional = FALSE, ...) { # nolint: object_name_linter.
  as.data.frame(tidy_of_frame(x, ...))
}

# data.frame() passes stringsAsFactors on
tidy_of_frame <- function(x, ..., stringsAsFactors = FALSE) { # nolint: object_name_linter.
  tidy(x, ...)
}

#' @rdname as_tibble.spice_fit
#' @export
as.data.frame.spice_group <- function(x, row.names = NULL, optional = FALSE, ...) { # nolint: object_name_linter.
  as.data.frame(tidy_of_frame(x, ...))
}
