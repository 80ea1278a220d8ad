#' Which of several models do the participants use?
#'
#' Fits of different models to the same choices are compared by each
#' participant's approximate model evidence, once as if everybody used the same
#' model and once as if models were distributed over people (random effects,
#' with protected exceedance probabilities).
#'
#' Every model's equations were found on these same choices. The criteria
#' charge for their coefficients, but not for the search: the model with more
#' candidate terms has the advantage.
#'
#' @param ... Two or more [spice_fit()]s by name, or one named list of them.
#' @param criterion `"bic"`, `"aic"` or `"evidence"` (a Laplace approximation).
#' @param prior Dirichlet counts of each model.
#' @return An object of class `spice_comparison`: a list of the tibbles `models`
#'   (one row per model), `evidence` and `attribution` (one row per
#'   participant: log evidence, and the probability to use each model) and
#'   `glance`. `tidy()` gives the models, the best one first, `glance()` one row
#'   with the probability that all models are equally frequent
#'   (`omnibus.risk`).
#' @references Rigoux et al. (2014), \doi{10.1016/j.neuroimage.2013.08.065}.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   few <- subset(example_trials, participant %in% c("p01", "p02", "p03", "p04"))
#'   fit <- function(model) {
#'     spice_fit(few, participant, choice, reward, block = block, model = model, epochs = 20)
#'   }
#'   spice_compare(simple = fit("rescorla_wagner"), forgetting = fit("forgetting"))
#' }
#' }
spice_compare <- function(..., criterion = c("bic", "aic", "evidence"), prior = 1) {
  call <- rlang::current_env()
  criterion <- one_of(criterion, c("bic", "aic", "evidence"), "criterion", call)
  fits <- named_fits(list(...), call)
  folders <- vapply(fits, function(fit) tempfile("spice_fit_"), "")
  on.exit(unlink(folders, recursive = TRUE, expand = FALSE))
  for (name in names(fits)) write_files(fits[[name]]$files, folders[[name]])
  options <- list(criterion = criterion, prior = as.double(prior))
  tables <- call_bridge("compare", as.list(folders), options, call = call)
  structure(lapply(tables, decode_table), class = "spice_comparison")
}

named_fits <- function(fits, call) {
  if (length(fits) == 1 && rlang::is_bare_list(fits[[1]])) fits <- fits[[1]]
  if (length(fits) < 2 || !rlang::is_named(fits) || anyDuplicated(names(fits)) > 0) {
    abort_spicestat(
      "config",
      "a comparison needs two fits with different names, such as spice_compare(a = fit1, b = fit2).",
      call = call
    )
  }
  for (fit in fits) check_fit(fit, call)
  fits
}

#' @rdname spice_compare
#' @param x A `spice_comparison`.
#' @export
tidy.spice_comparison <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$models)
}

#' @rdname spice_compare
#' @export
glance.spice_comparison <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$glance)
}

#' @rdname spice_compare
#' @export
format.spice_comparison <- function(x, ...) {
  check_dots(...)
  row <- x$glance
  models <- tidy(x)
  shown <- models[c("model", "n.coefficients", "logLik", "delta", "n.best", "frequency", "protected.exceedance.prob")]
  names(shown)[7] <- "PXP"
  c(
    paste0(
      "<spice_comparison> ", count(row$n_models, "model"), ", ", count(row$n_participants, "participant"),
      ", by ", row$criterion
    ),
    if (row$n_excluded > 0) paste0("Left out: ", count(row$n_excluded, "participant"), " without evidence"),
    "",
    text_table(shown),
    "",
    paste0(
      "Probability that all models are equally frequent: ", format(row$omnibus_risk, digits = 2),
      " (PXP accounts for it)"
    )
  )
}

#' @rdname spice_compare
#' @export
print.spice_comparison <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}
