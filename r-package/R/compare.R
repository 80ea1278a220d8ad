#' Which of several models do the participants use?
#'
#' Fits of different models to the same choices are compared by each
#' participant's approximate model evidence, once as if everybody used the same
#' model and once as if models were distributed over people (random effects,
#' with protected exceedance probabilities). Choices that only some of the
#' models predict, such as a block's first, count as guesses in the others.
#'
#' Every model's equations were found on these same choices. The criteria
#' charge for their coefficients, but not for the search: the model with more
#' candidate terms has the advantage.
#'
#' With a formula, the model that a participant uses depends on covariates:
#' the log odds of each model against the first are linear in them. Memberships
#' stay as uncertain as the evidences leave them (they are summed over, with Firth's penalty), where
#' counting everybody's best model makes effects too small.
#'
#' @param ... Two or more [spice_fit()]s by name, of whatever models, or one named list of them;
#'   for the methods, not used.
#' @param criterion `"ibic"` (the integrated BIC, from the likelihood that is
#'   integrated over the population, which predictions use), `"bic"` or `"aic"`
#'   (of everybody's own maximum-likelihood estimates), or, for networks'
#'   equations, `"evidence"` (a Laplace approximation).
#' @param formula A one-sided formula of covariates of participants, without random parts.
#' @param data A data frame of covariates, with the column `participant`. By
#'   default those of the first fit.
#' @param conf_level Level of the intervals of memberships.
#' @param prior Dirichlet counts of each model.
#' @return An object of class `spice_comparison`: a list of the tibbles `models`
#'   (one row per model), `evidence` and `attribution` (one row per
#'   participant: log evidence, and the probability to use each model) and
#'   `glance`, and with a formula `membership` (`model`, `reference`, `term`, and the
#'   log odds `estimate`, `std.error`, `conf.low`, `conf.high`, `p.value`, from
#'   penalised likelihood ratios and their profiles) and `membership_tests` (each term of the formula, on all
#'   models together). `tidy()` gives the models, the best one first, or one of these; `glance()` one row
#'   with the probability that all models are equally frequent
#'   (`omnibus.risk`).
#' @references Huys et al. (2011), \doi{10.1371/journal.pcbi.1002028};
#'   Rigoux et al. (2014), \doi{10.1016/j.neuroimage.2013.08.065};
#'   Firth (1993), \doi{10.1093/biomet/80.1.27}.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   few <- subset(example_trials, participant %in% c("p01", "p02", "p03", "p04") & trial <= 25)
#'   fit <- function(model) {
#'     spice_fit(few, participant, choice, reward, block = block, model = model, epochs = 20)
#'   }
#'   fits <- list(simple = fit("rescorla_wagner"), forgetting = fit("forgetting"))
#'   spice_compare(fits)
#'   tidy(spice_compare(fits, formula = ~age, data = example_fit$people), "membership")
#' }
#' }
spice_compare <- function(..., criterion = c("ibic", "bic", "aic", "evidence"), formula = NULL, data = NULL,
                          conf_level = 0.95, prior = 1) {
  call <- rlang::current_env()
  criterion <- one_of(criterion, c("ibic", "bic", "aic", "evidence"), "criterion", call)
  fits <- named_fits(list(...), call)
  design <- membership_design(fits[[1]], formula, data, call)
  folders <- vapply(fits, function(fit) tempfile("spice_fit_"), "")
  on.exit(unlink(folders, recursive = TRUE, expand = FALSE))
  for (name in names(fits)) write_files(fits[[name]]$files, folders[[name]])
  options <- list(criterion = criterion, prior = as.double(prior), conf_level = check_level(conf_level, call))
  options$design <- design
  tables <- call_bridge("compare", as.list(folders), options, call = call)
  structure(lapply(tables, decode_table), class = "spice_comparison")
}

#' The design of a formula of covariates of a fit's participants, as the engine reads it; NULL without one
#' @noRd
membership_design <- function(fit, formula, data, call) {
  if (is.null(formula)) {
    if (is.null(data)) {
      return(NULL)
    }
    abort_spicestat("config", "covariates without a formula say nothing. Try: pass `formula` too.", call = call)
  }
  formula <- as_formula(formula, call)
  check_people(data, call)
  people <- group_people(fit, fit$coefficients, formula, data, own_id(fit, data, call), NULL, call)
  sent_design(design_of_people(people, call), people$formula, call)
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
#' @param what `"models"`, `"membership"` or `"membership_tests"`.
#' @export
tidy.spice_comparison <- function(x, what = c("models", "membership", "membership_tests"), ...) {
  call <- rlang::current_env()
  what <- one_of(what, c("models", "membership", "membership_tests"), "what", call)
  check_dots(...)
  if (is.null(x[[what]])) {
    abort_spicestat(
      "config", "nothing is known of memberships by covariates. Try: pass `formula` to spice_compare().",
      call = call
    )
  }
  with_broom_names(x[[what]])
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
  columns <- c("model", "n.coefficients", "logLik", "log.marginal", "delta", "n.best", "frequency")
  shown <- cbind(models[columns], PXP = models$protected.exceedance.prob)
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
    ),
    if (!is.null(x$membership)) {
      shown <- tidy(x, "membership")
      columns <- c("model", "term", "estimate", "std.error", "conf.low", "conf.high", "p.value")
      c("", paste0("Log odds of each model against ", shown$reference[[1]], ":"), text_table(shown[columns]))
    }
  )
}

#' @rdname spice_compare
#' @export
print.spice_comparison <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}
