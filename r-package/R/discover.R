#' Search for states that a fit's library or published model lacks
#'
#' For fits with `model = "history"`: what was done some choices ago, streaks of
#' losses and wins, and products of all these. A state is taken where it raises
#' the log-likelihood of left-out blocks by more than 1 + log C nats for the
#' choice among C candidates, and by more than its parameters; states that it
#' makes superfluous are dropped. This takes about as long as the fit.
#'
#' For fits of a [spice_task()]: states of the library of `model = "history"` that
#' predict choices beside the published model, which stays as it is.
#'
#' @param fit A [spice_fit()] with `model = "history"`, or of a [spice_task()].
#' @return An object of class `spice_discoveries`: a list of `terms`, a tibble
#'   that is also its `tidy()`, and `fit`, a [spice_fit()] with what was found (the
#'   same fit where nothing was). Columns of `terms`: `term`, `shared` (one weight
#'   for everybody), `instead.of`, and `gain` and `gain.per.choice`, the rise of the
#'   log-likelihood of left-out blocks in nats.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   cohort <- spice_simulate(n_participants = 12, n_trials = 60, seed = 1)
#'   fit <- spice_fit(cohort$trials, participant, choice, reward, block = block, trial = trial)
#'   spice_discover(fit)
#' }
#' }
spice_discover <- function(fit) {
  call <- rlang::current_env()
  check_fit(fit, call)
  terms <- NULL
  found <- with_fit_folder(fit, function(old) {
    fit_in_folder(function(new) {
      tables <- call_bridge("discover", old, list(folder = new), call = call)
      terms <<- decode_table(tables$terms)
      tables[names(tables) != "terms"]
    })
  })
  structure(list(terms = terms, fit = if (nrow(terms)) found else fit), class = "spice_discoveries")
}

#' @rdname spice_discover
#' @param x A `spice_discoveries`.
#' @param ... Not used; anything here is an error.
#' @export
tidy.spice_discoveries <- function(x, ...) {
  check_dots(...)
  stats::setNames(x$terms, gsub("_", ".", names(x$terms), fixed = TRUE))
}

#' @rdname spice_discover
#' @export
format.spice_discoveries <- function(x, ...) {
  check_dots(...)
  if (!nrow(x$terms)) {
    return("<spice_discoveries> nothing beyond the library or model")
  }
  c("<spice_discoveries>", "", text_table(tidy(x)))
}

#' @rdname spice_discover
#' @export
print.spice_discoveries <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}
