#' One page about a fit
#'
#' Writes an HTML page that loads nothing: the data and what was left out and why,
#' how well choices are predicted, the equations with what their states are, what
#' one reward and one choice does to the next choices (with `model = "history"`),
#' everybody's coefficients, effects of covariates, and paragraphs for a paper's
#' methods. Whatever the data hold is shown as text.
#'
#' @param fit A [spice_fit()].
#' @param file The file to write, which ends in `.html`.
#' @param formula A one-sided formula in the fit's own covariates, such as
#'   `~ diagnosis + age`, for the effects of covariates; `NULL` for none. It is
#'   read by the engine, which knows the functions that [spice_group()] lists.
#' @param method A method of the engine, as in [spice_group()]; `NULL` for its
#'   default.
#' @param ladder Also predict choices that were left out, as [spice_ladder()]
#'   does? It takes a few fits.
#' @param card Also check what the coefficients can be relied on for, as
#'   [spice_card()] does?
#' @param title Heading of the page.
#' @param progress Show progress?
#' @return The path of the file, invisibly.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   spice_report(example_fit, tempfile(fileext = ".html"), formula = ~age)
#' }
#' }
spice_report <- function(fit, file = "report.html", formula = NULL, method = NULL, ladder = FALSE, card = FALSE,
                         title = "spicestat report", progress = interactive()) {
  call <- rlang::current_env()
  check_fit(fit, call)
  if (!is.null(formula)) {
    if (!rlang::is_formula(formula, lhs = FALSE)) {
      abort_spicestat("config", "`formula` must be a one-sided formula, such as ~age.", call = call)
    }
    formula <- paste(deparse(formula, width.cutoff = 500L), collapse = " ")
  }
  for (arg in c("file", "title")) {
    if (!rlang::is_string(get(arg))) {
      abort_spicestat("config", paste0("`", arg, "` must be a single text."), call = call)
    }
  }
  for (arg in c("ladder", "card")) {
    if (!rlang::is_bool(get(arg))) {
      abort_spicestat("config", paste0("`", arg, "` must be TRUE or FALSE."), call = call)
    }
  }
  options <- list(
    path = enc2utf8(path.expand(file)), title = enc2utf8(title), formula = formula, method = method, ladder = ladder,
    card = card
  )
  show <- new_progress(progress)
  with_fit_folder(fit, function(folder) call_bridge("report", folder, options, progress = show, call = call))
  invisible(file)
}
