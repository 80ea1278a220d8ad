# Posterior draws of Bayesian group models, for posterior, bayesplot and loo.

#' Draws of a Bayesian group model
#'
#' `posterior::as_draws()` and its relatives give the draws of models by `"bayes"`,
#' `"bayes_meta"` and `"brms"`, which `bayesplot` takes, too; `loo::loo()` compares
#' such models by the data of participants left out.
#'
#' @param x A [spice_group()].
#' @param ... Not used; anything here is an error.
#' @return `as_draws()`: a `draws_df` with the effects, named as those of [coef()],
#'   and the standard deviations between participants, `sd__<module>:<term>`, and correlations. `loo()`: what
#'   `loo::loo()` returns; an observation is a participant.
#' @name draws
#' @keywords internal
NULL

#' @rdname draws
#' @exportS3Method posterior::as_draws
as_draws.spice_group <- function(x, ...) { # nolint: object_name_linter.
  check_dots(...)
  call <- rlang::current_env()
  if (x$method == "brms") {
    return(draws_of_brms(x, call))
  }
  need_draws(x, call)
  # the order of chains and iterations is that of posterior
  posterior::as_draws_df(as.data.frame(x$draws))
}

draws_of_brms <- function(group, call) {
  need_package("brms", "draws of method = \"brms\"", call)
  parts <- Map(function(fit, key) {
    draws <- posterior::as_draws_df(fit)
    names <- posterior::variables(draws)
    effects <- names[startsWith(names, "b_")]
    draws <- posterior::subset_draws(draws, variable = c(effects, "sigma"))
    terms <- group$design$columns
    posterior::variables(draws) <- c(paste(key, terms, sep = ":"), paste0("sd__", key))
    draws
  }, group$fit, names(group$fit))
  Reduce(function(one, other) posterior::bind_draws(one, other, along = "variable"), parts)
}

need_draws <- function(group, call) {
  if (is.null(group$draws)) {
    abort_spicestat("config", c(
      paste0("method = \"", group$method, "\" draws nothing from a posterior."),
      i = "Bayesian methods are \"bayes\" (of a fit), \"bayes_meta\" and \"brms\"."
    ), call = call)
  }
}

#' @rdname draws
#' @exportS3Method loo::loo
loo.spice_group <- function(x, ...) { # nolint: object_name_linter.
  call <- rlang::current_env()
  if (x$method == "brms") {
    if (length(x$fit) > 1) {
      abort_spicestat("config", "brms fitted one model for each coefficient: lapply(group$fit, loo::loo).")
    }
    return(loo::loo(x$fit[[1]], ...))
  }
  need_draws(x, call)
  table <- x$log_likelihood
  values <- as.matrix(as.data.frame(table)[-(1:2)])
  ratio <- loo::relative_eff(exp(values), chain_id = table$.chain)
  loo::loo(values, r_eff = ratio, ...)
}
