#' Estimate a fit's equations on other trials
#'
#' For new participants, a second session, or a replication: the equations stay
#' as they were found, and only their coefficients are estimated anew. No
#' network is trained, so that this takes seconds. The new coefficients mean
#' the same as the old ones, and their standard errors owe nothing to a search
#' for equations.
#'
#' [update()] is something else: it fits again, with changed arguments.
#'
#' @param fit A [spice_fit()].
#' @param trials A data frame with one row per trial, or the path of one: all
#'   trials to estimate from. Earlier trials do not count unless they are among
#'   these.
#' @param participant,choice,reward,block,trial,experiment Columns of `trials`,
#'   as in [spice_fit()]; `NULL` where they are called as they were there.
#' @param missing Values that mean "not there", as in [spice_fit()]; `NULL` for
#'   those that it was given.
#' @inheritParams spice_fit
#' @return A [spice_fit()]. In its `scores`, the row `equations` is about the
#'   earlier estimates on the new trials (typical ones for new participants),
#'   which is an honest test of them.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   later <- subset(example_trials, block > 2)
#'   spice_update(example_fit, later)
#' }
#' }
spice_update <- function(fit, trials, participant = NULL, choice = NULL, reward = NULL, block = NULL,
                         trial = NULL, experiment = NULL, covariates = NULL, people = NULL, missing = NULL) {
  call <- rlang::current_env()
  check_fit(fit, call)
  columns <- trial_columns(
    rlang::enquos(
      participant = participant, choice = choice, reward = reward,
      block = block, trial = trial, experiment = experiment
    ),
    rlang::enquo(covariates), trials, people, call
  )
  table <- sent_table(trials, columns$names, "trials", call)
  columns$options <- c(columns$options, engine_options(list(missing = missing_values(missing, call)), call))
  with_fit_folder(fit, function(old) {
    fit_in_folder(function(new) {
      call_bridge("update", old, table, c(columns$options, folder = new), call = call)
    })
  })
}

#' Fit again with changed arguments
#'
#' @param object A [spice_fit()].
#' @param ... Arguments of [spice_fit()] to change or add; `NULL` takes one
#'   away.
#' @param evaluate Fit, or return the call?
#' @return A [spice_fit()], or a call.
#' @seealso [spice_update()] to keep the equations and estimate them on other
#'   trials.
#' @importFrom stats update
#' @export
#' @examples
#' update(example_fit, seed = 2, model = "asymmetric", evaluate = FALSE)
update.spice_fit <- function(object, ..., evaluate = TRUE) {
  written <- object$call
  if (is.null(written)) {
    abort_spicestat(
      "config",
      c(
        "this fit does not know the call that made it.",
        i = "Fits from spice_load() and spice_update() do not. Call spice_fit() instead."
      )
    )
  }
  written <- changed_call(written, match.call(expand.dots = FALSE)$...)
  if (evaluate) fit_again(written, quote(spicestat::spice_fit), c("trials", "people"), parent.frame()) else written
}

#' Fit a group model again with another formula or changed arguments
#'
#' @param object A [spice_group()]. The fit and the data are taken by the names
#'   that they had in its call, and must still be there; variables of the session in the
#'   formula have the values that they had.
#' @param formula. A new formula, in which `.` is what stood before: `~ . + age`, or
#'   `. ~ . - age`.
#' @param ... Arguments of [spice_group()] to change or add; `NULL` takes one
#'   away.
#' @param evaluate Fit, or return the call?
#' @return A [spice_group()], or a call.
#' @export
#' @examples
#' if (requireNamespace("metafor", quietly = TRUE)) {
#'   group <- spice_group(example_fit, ~diagnosis, method = "metafor")
#'   update(group, ~ . + age)
#' }
update.spice_group <- function(object, formula., ..., evaluate = TRUE) { # nolint: object_name_linter.
  written <- object$call
  if (is.null(written)) {
    abort_spicestat("config", c(
      "this group model does not know the call that made it.",
      i = "It comes from an earlier version, or from the examples. Call spice_group() instead."
    ))
  }
  written <- changed_call(written, match.call(expand.dots = FALSE)$...)
  # a formula in a variable may be gone, or another one by now
  written$formula <- if (missing(formula.)) formula.spice_group(object) else changed_formula(object, formula.)
  if (evaluate) fit_again(written, quote(spicestat::spice_group), c("fit", "data"), parent.frame()) else written
}

#' Evaluate a call where somebody wants a model again, or say what of its data is not there
#' @noRd
fit_again <- function(written, verb, data, env, call = rlang::caller_env()) {
  # lapply(formulas, spice_group) calls it FUN
  if (is.symbol(written[[1]]) && !exists(as.character(written[[1]]), env, mode = "function")) written[[1]] <- verb
  lost <- Filter(function(name) !has_data(env, name), names_of_data(written, data))
  if (length(lost) > 0) {
    abort_spicestat("config", c(
      paste0("update() fits again by the call ", deparse1(written), ", and here is no ", name_some(lost), "."),
      i = paste0("Name it again: update(model, ", paste(data, "= <table>", collapse = ", "), ", ...).")
    ), call = call)
  }
  eval(written, env)
}

#' Is there something else than a function of that name?
#' @noRd
has_data <- function(env, name) {
  value <- get0(name, env)
  !is.null(value) && !is.function(value)
}

#' What arguments of a call start from: `d` in `d$table`, and `people` in `subset(people, age > 30)`
#' @noRd
names_of_data <- function(written, arguments) {
  roots <- lapply(as.list(written)[intersect(arguments, names(written))], function(expr) {
    while (is.call(expr) && length(expr) > 1 && !is_call(expr, c("::", ":::"))) expr <- expr[[2]]
    if (is.symbol(expr)) as.character(expr)
  })
  unique(unlist(roots, use.names = FALSE))
}

#' The formula of a model, changed as update.formula() does it
#'
#' `. ~ . - age` is the same as `~ . - age`: a formula of a group model has no left-hand side.
#' @noRd
changed_formula <- function(object, change, call = rlang::caller_env()) {
  change <- as_formula(change, call)
  if (length(change) == 3 && identical(change[[2]], quote(.))) change <- change[-2]
  check_one_sided(change, call)
  old <- formula.spice_group(object)
  found <- stats::update.formula(old, change)
  # variables of the change are looked for where it was written, those of the old formula have their values
  environment(found) <- list2env(as.list(environment(old)), parent = environment(change))
  found
}

#' A call with arguments changed, added or, where they are NULL, taken away
#' @noRd
changed_call <- function(written, changes) {
  for (name in names(changes)) written[[name]] <- changes[[name]]
  written
}
