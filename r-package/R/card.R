#' What a study can say about its coefficients
#'
#' Checks what the coefficients of a fit can be relied on for, at the study's own
#' numbers of people and trials: whether people's values are recovered from
#' simulated choices (`recovery`, `bias`), which coefficients the choices cannot
#' tell apart (`trade-off`, `flat direction`), whether the structure would be
#' found again (`structure`) and which states of the library would say the same
#' (`equivalent state`), whether simulated choices are repeated as often as the
#' observed ones (`choice curve`), and what nothing is said about (`scope`).
#'
#' Simulated choices are drawn after the histories that were observed, so that no
#' task has to be known. Recovery and structure take the fit's structure, or the
#' library, as all that there is: they say nothing of mechanisms in neither.
#'
#' @param fit A [spice_fit()].
#' @param n_simulations Number of simulated studies.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides.
#' @param progress Show progress?
#' @return An object of class `spice_card`, which prints what is flagged. Its
#'   `tidy()` is a tibble with one row per check and subject: `check`, `subject`,
#'   `value`, `threshold`, `flag` and `meaning`, in words. `glance()` counts them.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) spice_card(example_fit, n_simulations = 1)
#' }
spice_card <- function(fit, n_simulations = 5, seed = 0, progress = interactive()) {
  call <- rlang::current_env()
  check_fit(fit, call)
  options <- engine_options(list(n_simulations = n_simulations, seed = whole_seed(seed, call)), call)
  show <- new_progress(progress)
  tables <- with_fit_folder(fit, function(folder) {
    call_bridge("card", folder, options, progress = show, call = call)
  })
  structure(lapply(tables, decode_table), class = "spice_card")
}

#' @rdname spice_card
#' @param x A `spice_card`.
#' @param ... Not used; anything here is an error.
#' @export
tidy.spice_card <- function(x, ...) {
  check_dots(...)
  x$checks
}

#' @rdname spice_card
#' @export
glance.spice_card <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$glance)
}

#' @rdname spice_card
#' @export
format.spice_card <- function(x, ...) {
  check_dots(...)
  flagged <- x$checks[x$checks$flag, ]
  told <- paste0(flagged$check, ", ", flagged$subject, ": ", flagged$meaning)
  c(
    paste0("<spice_card> ", nrow(flagged), " of ", nrow(x$checks), " checks flagged"),
    if (nrow(flagged)) strwrap(told, width = 80, exdent = 2)
  )
}

#' @rdname spice_card
#' @export
print.spice_card <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}
