#' Fitted coefficients of people, and residuals
#'
#' `predict()` says which coefficients of the equations a group model expects in
#' people with given covariates, known or new. `fitted()` gives the same for
#' the participants of the analysis, and `residuals()` their own estimates less
#' that. [augment()] has all of this beside the data.
#'
#' @param object A [spice_group()].
#' @param newdata A data frame with the covariates of the formula, one row per
#'   person; `NULL` for the participants.
#' @param type `"link"`: on the scale of the model, which is the coefficient's
#'   own where there is no link. `"response"`: the coefficient itself, of the
#'   person in the middle (the median) of all with these covariates.
#' @param interval `"confidence"`: where the mean of such people is.
#'   `"prediction"`: where the coefficient of one such person is, as participants
#'   differ beyond their covariates (not for formulas with random parts).
#' @param conf.level Level of the intervals; `NULL` takes that of the analysis.
#' @param se.fit Give the column `.se.fit`?
#' @param ... Not used; anything here is an error.
#' @return `predict()`: a tibble with one row per person and coefficient:
#'   `newdata`, `component`, `sparse.term`, `.fitted`, `.se.fit` (of the mean) and
#'   the interval `.lower`, `.upper`, which is `NA` where inference is withheld.
#'   `fitted()` and `residuals()`: tibbles with `participant`, `component`,
#'   `sparse.term`, and `.fitted` or `.resid`, on the scale of the model; `.resid`
#'   is `NA` for estimates that did not enter.
#' @export
#' @examples
#' predict(example_group, data.frame(diagnosis = c("control", "patient"), age = 40))
#' fitted(example_group)
#' residuals(example_group)
predict.spice_group <- function(object, newdata = NULL, type = c("link", "response"),
                                interval = c("confidence", "prediction"),
                                conf.level = NULL, se.fit = TRUE, ...) { # nolint: object_name_linter.
  call <- rlang::current_env()
  check_dots(...)
  check_flag(se.fit, "se.fit", call)
  type <- one_of(type, c("link", "response"), "type", call)
  interval <- one_of(interval, c("confidence", "prediction"), "interval", call)
  level <- if (is.null(conf.level)) object$coefficients$conf_level[[1]] else check_level(conf.level, call)
  people <- if (is.null(newdata)) model_data(object, call) else check_newdata(object, newdata, call)
  X <- matrix_for(object$design, people) # nolint: object_name_linter.
  between <- if (interval == "prediction") stats::sigma(object)^2
  parts <- lapply(split_effects(tidy(object), call), function(table) {
    key <- paste(table$component[1], table$sparse.term[1], sep = ":")
    rows <- expected_rows(object, table, X, level, if (is.null(between)) 0 else between[[key]])
    if (type == "response") rows <- on_own_scale(rows, link_of(object, table$component[1], table$sparse.term[1]))
    if (!se.fit) rows$.se.fit <- NULL
    tibble::as_tibble(cbind(people, rows))
  })
  do.call(rbind, unname(parts))
}

#' Means of one coefficient at rows of a design, with intervals
#'
#' @param between Variance to add for single people.
#' @noRd
expected_rows <- function(object, table, X, level, between = 0) { # nolint: object_name_linter.
  names <- effect_names(table)
  X <- X[, table$term, drop = FALSE] # nolint: object_name_linter.
  mean <- as.vector(X %*% table$estimate)
  error <- sqrt(rowSums((X %*% stats::vcov(object)[names, names]) * X))
  half <- stats::qt((1 + level) / 2, min(table$df, Inf, na.rm = TRUE)) * sqrt(error^2 + between)
  if (any(object$glance$withheld)) half <- NA_real_
  data.frame(
    component = table$component[1], sparse.term = table$sparse.term[1], .fitted = mean, .se.fit = error,
    .lower = mean - half, .upper = mean + half, row.names = NULL
  )
}

on_own_scale <- function(rows, link) {
  scale <- scale_of(link)
  rows$.se.fit <- rows$.se.fit * scale$slope(rows$.fitted)
  columns <- c(".fitted", ".lower", ".upper")
  rows[columns] <- lapply(rows[columns], scale$inverse)
  rows
}

#' From the scale of a link to the coefficient itself
#' @noRd
scale_of <- function(link) {
  switch(link,
    logit = list(inverse = stats::plogis, slope = stats::dlogis),
    log = list(inverse = exp, slope = exp),
    list(inverse = identity, slope = function(x) rep(1, length(x)))
  )
}

#' New people as a data frame whose categories the model knows
#' @noRd
check_newdata <- function(object, newdata, call) {
  if (!is.data.frame(newdata)) {
    abort_spicestat("column", "`newdata` must be a data frame with one row per person.", call = call)
  }
  if (nrow(newdata) == 0) {
    abort_spicestat("data", c(
      "`newdata` has no rows.",
      i = "A filter may have left nobody; without `newdata`, predictions are for the participants of the analysis."
    ), call = call)
  }
  known <- model_data(object, call)
  needed <- intersect(all.vars(fixed_part(formula.spice_group(object))), names(known))
  lacking <- setdiff(needed, names(newdata))
  if (length(lacking) > 0) {
    abort_spicestat("column", c(
      paste0("`newdata` lacks the covariate ", name_some(lacking), "."),
      i = paste0("The formula is ", object$formula, ".")
    ), call = call)
  }
  check_by_row(object, call)
  newdata <- as.data.frame(newdata)
  levels <- known_design(object, call)$xlevels
  for (name in needed) {
    check_kind(newdata[[name]], known[[name]], name, call)
    if (is.factor(known[[name]]) || is.character(known[[name]])) {
      check_levels(newdata[[name]], known[[name]], levels[[name]], name, call)
    }
  }
  newdata
}

check_kind <- function(values, known, name, call) {
  kinds <- list(numeric = is.numeric, "TRUE or FALSE" = is.logical)
  for (kind in names(kinds)) {
    if (kinds[[kind]](known) && !kinds[[kind]](values) && !all(is.na(values))) {
      abort_spicestat(
        "column", paste0("column '", name, "' of `newdata` must be ", kind, ", as in the analysis."),
        call = call
      )
    }
  }
}

#' @param levels Levels that have effects, where the formula has the variable as it is.
#' @noRd
check_levels <- function(values, known, levels, name, call) {
  if (is.factor(known) && is.null(levels)) levels <- base::levels(known)
  known <- if (is.null(levels)) sort(unique(known)) else levels
  unknown <- setdiff(as.character(values), c(known, NA))
  if (length(unknown) > 0) {
    abort_spicestat("covariate", paste0(
      "`newdata` has categories of '", name, "' that the model does not know. Got: ", name_some(unknown),
      ". Allowed: ", paste0("'", known, "'", collapse = ", "), "."
    ), call = call)
  }
}

#' @rdname predict.spice_group
#' @export
fitted.spice_group <- function(object, ...) {
  check_dots(...)
  augment(object)[c("participant", "component", "sparse.term", ".fitted")]
}

#' @rdname predict.spice_group
#' @export
residuals.spice_group <- function(object, ...) {
  check_dots(...)
  augment(object)[c("participant", "component", "sparse.term", ".resid")]
}
