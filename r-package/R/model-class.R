# What functions for models ask of a group model: its response, its design, tests of terms, comparisons, simulations.

#' The frame, the terms and the design of a group model
#'
#' The response of a group model is the participants' estimates, called
#' `.observed` as in [augment()]; its covariates are never the response. [formula()] has the right-hand
#' side alone, as [spice_group()] took it.
#'
#' @param formula,x,object A [spice_group()].
#' @param ... Not used; anything here is an error.
#' @return `model.frame()`: a data frame with one row per participant and
#'   coefficient, in the order of [augment()]: `.observed`, what the formula computes of the
#'   covariates, and `(coefficient)` and `(participant)`. `terms()`: a terms object with
#'   this response. `model.matrix()`: the design matrix, whose columns are named as
#'   those of [coef()] where there are several coefficients, with one block for each.
#' @name model.frame.spice_group
#' @examples
#' head(model.frame(example_group))
#' terms(example_group)
#' dim(model.matrix(example_group))
NULL

#' @rdname model.frame.spice_group
#' @importFrom stats model.frame
#' @export
model.frame.spice_group <- function(formula, ...) {
  check_dots(...)
  # bptest() and its like are no generics: they fit a linear model to what is in the frame
  if (called_from("lmtest")) refuse_residuals(rlang::caller_env())
  design <- known_design(formula)
  table <- estimates_of(formula)
  frame <- stats::model.frame(design$terms, design$frame, na.action = stats::na.pass)
  frame <- frame[match(id_key(table$participant), id_key(design$frame$participant)), , drop = FALSE]
  own <- data.frame(.observed = table$observed)
  beside <- data.frame(
    "(coefficient)" = coefficient_factor(table), "(participant)" = table$participant,
    check.names = FALSE
  )
  found <- c(own, as.list(frame), beside)
  structure(found, row.names = seq_len(nrow(table)), class = "data.frame", terms = stats::terms(formula))
}

coefficient_factor <- function(table) {
  key <- paste(table$module, table$sparse_term, sep = ":")
  factor(key, unique(key))
}

#' @rdname model.frame.spice_group
#' @importFrom stats terms
#' @export
terms.spice_group <- function(x, ...) {
  check_dots(...)
  covariates <- known_design(x)$terms
  both <- stats::terms(rlang::new_formula(quote(.observed), covariates[[2]], env = environment(covariates)))
  attr(both, "predvars") <- as.call(append(as.list(attr(covariates, "predvars")), quote(.observed), 1))
  structure(both, dataClasses = c(.observed = "numeric", attr(covariates, "dataClasses")))
}

#' @rdname model.frame.spice_group
#' @importFrom stats model.matrix
#' @export
model.matrix.spice_group <- function(object, ...) {
  # glht() and others pass the data again
  check_dots(..., ignored = "data")
  design <- known_design(object)
  X <- matrix_for(design, design$frame) # nolint: object_name_linter.
  table <- tidy(object)
  parts <- split_effects(table)
  if (length(parts) == 1) {
    return(X)
  }
  if (called_from("multcomp")) {
    abort_spicestat("config", c(
      "mcp() knows models of one coefficient of the equations.",
      i = "Analyse one (modules =, terms =), or use emmeans::emmeans(group, pairwise ~ covariate | coefficient)."
    ))
  }
  blocks <- lapply(parts, function(part) X[, part$term, drop = FALSE])
  widths <- vapply(blocks, ncol, 0L)
  whole <- matrix(0, nrow(X) * length(parts), sum(widths), dimnames = list(NULL, effect_names(table)))
  for (k in seq_along(blocks)) {
    whole[(k - 1) * nrow(X) + seq_len(nrow(X)), sum(widths[seq_len(k - 1)]) + seq_len(widths[k])] <- blocks[[k]]
  }
  whole
}

#' Rows of participants, with the engine's names, or an error where a method keeps none
#' @noRd
estimates_of <- function(group, call = rlang::caller_env()) {
  if (is.null(group$participants)) {
    abort_spicestat("config", paste0(
      "method = \"", group$method, "\" has no fitted values of participants. Try: use another method of ",
      "spice_group()."
    ), call = call)
  }
  group$participants
}

#' Tests of terms, and comparisons of group models
#'
#' `anova(group)` tests each term of the formula, such as all levels of a factor
#' together, for each coefficient of the equations (Wald F tests, given all other
#' terms, which is type III to `car::Anova()`, whose method is the same), or, with
#' `across = TRUE`, for all coefficients together: has a covariate to do with behaviour
#' at all? Weights of states that go together may each be uncertain where together they are not.
#' `anova(group, other)` compares models of the same people by their
#' likelihoods; models fitted by REML are fitted again by ML for that, as restricted
#' likelihoods of different covariates do not compare. `drop1()` and `step()` do the
#' same term by term.
#'
#' @param object,fit,mod A [spice_group()].
#' @param ... Further group models.
#' @param across Whether to test each term for all coefficients together, with one test
#'   (Hotelling-Lawley's trace, by McKeon's F; the smallest degrees of freedom of the
#'   coefficients count). Needs a method that gives the covariance between coefficients, as
#'   the default does.
#' @param scale,k As in [stats::extractAIC()].
#' @references McKeon (1974), \doi{10.1093/biomet/61.2.381}.
#' @return `anova()`: a data frame of class `anova`. Of one model, one row for each
#'   coefficient and term (with `across = TRUE` each term). Of several, one row for each model, or, where
#'   coefficients were analysed separately, for each coefficient and model but the first.
#'   `extractAIC()`: degrees of freedom and AIC, by ML.
#' @export
#' @examples
#' anova(example_group)
#' anova(example_group, across = TRUE)
#' if (requireNamespace("metafor", quietly = TRUE)) {
#'   group <- spice_group(example_fit, ~ diagnosis + age, method = "metafor", modules = "beta")
#'   anova(group, update(group, ~ . - age))
#' }
anova.spice_group <- function(object, ..., across = FALSE) {
  check_flag(across, "across", rlang::current_env())
  models <- list(object, ...)
  if (!all(vapply(models, inherits, NA, "spice_group"))) {
    abort_spicestat("config", "anova() takes group models: anova(group), or anova(group, other).")
  }
  if (length(models) > 1) {
    if (across) abort_spicestat("config", "`across` tests the terms of one model: anova(group, across = TRUE).")
    return(compared(models, rlang::current_env()))
  }
  if (across) tests_across(object, rlang::current_env()) else wald_table(object, rlang::current_env())
}

tests_across <- function(group, call) {
  effects <- tested_effects(group, call)
  if (is.null(group$joint_covariance)) {
    abort_spicestat("config", c(
      paste0("method = \"", group$method, "\" gives no covariance between coefficients."),
      i = "Use method = \"hierarchical\" or \"multivariate_meta\"."
    ), call = call)
  }
  columns <- term_columns(group, call)
  tests <- lapply(columns, function(own) {
    table <- effects[effects$term %in% own, ]
    k <- nrow(table) / length(own)
    # (all coefficients have the same columns)
    wald <- sum(table$estimate * solve(stats::vcov(group)[effect_names(table), effect_names(table)], table$estimate))
    if (anyNA(table$p.value)) wald <- NA
    hotelling_f(wald, k, length(own), min(table$df))
  })
  structure(as.data.frame(do.call(rbind, tests)), heading = c(
    "Tests of terms for all coefficients together, given all other terms\n",
    paste0("method = \"", group$method, "\", ", group$formula)
  ), class = c("anova", "data.frame"))
}

#' McKeon's F for Hotelling and Lawley's trace of k outcomes and q effects, `df` degrees of freedom of the error
#' @noRd
hotelling_f <- function(wald, k, q, df) {
  if (is.infinite(df)) {
    den <- Inf
    value <- wald / (k * q)
  } else if (df <= k + 3) {
    den <- value <- NA
  } else {
    den <- 4 + (k * q + 2) / ((df + q - k - 1) * (df - 1) / ((df - k - 3) * (df - k)) - 1)
    value <- wald / df * (df - k - 1) * den / (k * q * (den - 2))
  }
  c(Df = k * q, "Den Df" = den, "F value" = value, "Pr(>F)" = stats::pf(value, k * q, den, lower.tail = FALSE))
}

#' Names of the design's columns by term
#' @noRd
term_columns <- function(group, call) {
  design <- known_design(group, call)
  labels <- attr(design$terms, "term.labels")
  found <- split(design$columns, factor(design$assign, seq_along(labels), labels))
  found[lengths(found) > 0]
}

wald_table <- function(group, call) {
  columns <- term_columns(group, call)
  rows <- lapply(split_effects(tested_effects(group, call), call), function(table) {
    tests <- lapply(columns, function(own) wald_test(group, table[table$term %in% own, ]))
    frame <- as.data.frame(do.call(rbind, tests))
    rownames(frame) <- paste(paste(table$component, table$sparse.term, sep = ":")[1], names(columns))
    frame[frame$Df > 0, ]
  })
  table <- do.call(rbind, unname(rows))
  structure(table, heading = c(
    "Wald tests of terms, given all others\n", paste0("method = \"", group$method, "\", ", group$formula)
  ), class = c("anova", "data.frame"))
}

#' Effects with tests; an error says why there are none
#' @noRd
tested_effects <- function(group, call) {
  table <- tidy(group)
  if (all(is.na(table$p.value)) && !any(group$glance$withheld)) {
    abort_spicestat("config", c(
      paste0("method = \"", group$method, "\" gives no tests."),
      i = "It has intervals: tidy(group, conf.int = TRUE)."
    ), call = call)
  }
  table
}

wald_test <- function(group, table) {
  if (nrow(table) == 0) {
    return(c(Df = 0, "Den Df" = NA, "F value" = NA, "Pr(>F)" = NA))
  }
  names <- effect_names(table)
  value <- sum(table$estimate * solve(stats::vcov(group)[names, names], table$estimate)) / nrow(table)
  den <- min(table$df)
  p <- stats::pf(value, nrow(table), den, lower.tail = FALSE)
  # a method may test single effects in its own way, as by permutation
  if (nrow(table) == 1) p <- table$p.value
  c(Df = nrow(table), "Den Df" = den, "F value" = value, "Pr(>F)" = if (anyNA(table$p.value)) NA else p)
}

compared <- function(models, call) {
  models <- lapply(models, by_ml, call = call)
  of <- function(model) list(likelihood_keys(model), model$glance$nobs)
  if (length(unique(lapply(models, of))) > 1) {
    abort_spicestat("config", c(
      "the models are not of the same coefficients and participants, so that their likelihoods do not compare.",
      i = "Leave out participants who lack a covariate of either model before both are fitted."
    ), call = call)
  }
  df <- vapply(models, function(model) attr(stats::logLik(model), "df"), 0)
  models <- models[order(df)]
  tables <- lapply(seq_along(likelihood_keys(models[[1]])), function(k) likelihood_table(models, k))
  formulas <- vapply(models, `[[`, "", "formula")
  structure(do.call(rbind, tables), heading = c(
    "Likelihood ratio tests, by maximum likelihood\n", paste0(seq_along(models), ": ", formulas)
  ), class = c("anova", "data.frame"))
}

#' What has a likelihood of its own: each coefficient, or all together
#' @noRd
likelihood_keys <- function(group) {
  rows <- group$glance
  if (anyNA(rows$module)) "" else paste0(rows$module, ":", rows$sparse_term)
}

likelihood_table <- function(models, place) {
  rows <- do.call(rbind, lapply(models, function(model) model$glance[place, c("log_lik", "aic", "bic")]))
  df <- round((rows$aic + 2 * rows$log_lik) / 2)
  more <- diff(df)
  ratio <- pmax(2 * diff(rows$log_lik), 0)
  key <- likelihood_keys(models[[1]])[place]
  data.frame(
    npar = df, AIC = rows$aic, BIC = rows$bic, logLik = rows$log_lik, Chisq = c(NA, ratio), Df = c(NA, more),
    "Pr(>Chisq)" = c(NA, ifelse(more > 0, stats::pchisq(ratio, more, lower.tail = FALSE), NA)),
    row.names = trimws(paste(key, seq_along(models))), check.names = FALSE
  )
}

with_estimator <- c("hierarchical", "meta", "multivariate_meta", "metafor", "lme4", "glmmTMB")

#' The same model by maximum likelihood
#' @noRd
by_ml <- function(group, call) {
  if (anyNA(group$glance$log_lik)) {
    abort_spicestat("config", paste0("method = \"", group$method, "\" has no likelihood."), call = call)
  }
  if (!group$method %in% c(with_estimator, "mixed") || identical(group$estimator, "ML")) {
    return(group)
  }
  if (group$method == "mixed") {
    abort_spicestat("config", c(
      "method = \"mixed\" has a restricted likelihood only, which does not compare models of different covariates.",
      i = "Use method = \"lme4\", or anova(group), which tests the terms of one model."
    ), call = call)
  }
  suppressWarnings(fitted_again(group, call, estimator = "ML"))
}

#' A model fitted again, from the data and the fit that its call names, where these are found
#' @noRd
fitted_again <- function(group, call, ...) {
  written <- stats::update(group, ..., evaluate = FALSE)
  names <- names_of_data(written, c("fit", "data"))
  places <- c(rev(sys.frames()), list(environment(written$formula), globalenv()))
  knows <- function(place) !identical(topenv(place), topenv()) && all(vapply(names, has_data, NA, env = place))
  place <- Find(knows, places)
  if (is.null(place)) {
    abort_spicestat("config", c(
      paste0("the model must be fitted again by maximum likelihood, and ", name_some(names), " is not there any more."),
      i = "Fit it with estimator = \"ML\"."
    ), call = call)
  }
  eval(written, place)
}

#' @rdname anova.spice_group
#' @param scope Terms to try, as [stats::drop1()] and [stats::add1()] take them.
#' @importFrom stats drop1
#' @export
drop1.spice_group <- function(object, scope, ...) {
  utils::getS3method("drop1", "default", envir = asNamespace("stats"))(fitted_in(object, parent.frame()), scope, ...)
}

#' @rdname anova.spice_group
#' @importFrom stats add1
#' @export
add1.spice_group <- function(object, scope, ...) {
  utils::getS3method("add1", "default", envir = asNamespace("stats"))(fitted_in(object, parent.frame()), scope, ...)
}

#' A model whose formula is of the place where it is used: R looks there for the data when it fits again
#' @noRd
fitted_in <- function(group, place) {
  group$environment <- list2env(as.list(group$environment), parent = place)
  group
}

#' @rdname anova.spice_group
#' @importFrom stats extractAIC
#' @export
extractAIC.spice_group <- function(fit, scale = 0, k = 2, ...) { # nolint: object_name_linter.
  check_dots(...)
  call <- rlang::current_env()
  if (length(likelihood_keys(fit)) > 1) {
    abort_spicestat("config", c(
      "coefficients were analysed separately, and terms may matter for one of them and not for others.",
      i = "Analyse one coefficient (modules =, terms =), or all together (\"multivariate_meta\").",
      i = "anova(group) tests each term for each coefficient."
    ), call = call)
  }
  value <- stats::logLik(by_ml(fit, call))
  df <- attr(value, "df")
  c(df, -2 * as.numeric(value) + k * df)
}

#' Simulate participants' estimates from a group model
#'
#' Draws from what a group model says of its participants: the mean that the
#' covariates predict, their own deviation from it, and, where the model reads
#' estimates, their sampling error.
#'
#' @param object A [spice_group()] without random parts.
#' @param nsim How many times?
#' @param seed Whole number from 0; `NULL` goes on with R's random numbers.
#' @param ... Not used; anything here is an error.
#' @return A data frame with the columns `sim_1`, `sim_2`, ..., and one row per
#'   participant and coefficient, in the order of [augment()]; `NA` where the
#'   participant's estimate did not enter. With a link, values are on its scale.
#' @export
#' @examples
#' head(simulate(example_group, 2, seed = 1))
simulate.spice_group <- function(object, nsim = 1, seed = NULL, ...) {
  check_dots(...)
  refuse_parts(object)
  table <- estimates_of(object)
  spread <- stats::sigma(object)
  key <- paste(table$module, table$sparse_term, sep = ":")
  error <- ifelse(reads_errors(object), 1, 0) * table$std_error^2
  sd <- sqrt(spread[key]^2 + ifelse(is.na(error), 0, error))
  sd[!table$used] <- NA
  if (!is.null(seed)) set.seed(whole_seed(seed, rlang::current_env()))
  draws <- replicate(nsim, stats::rnorm(nrow(table), table$fitted, sd), simplify = FALSE)
  stats::setNames(as.data.frame(draws), paste0("sim_", seq_len(nsim)))
}

#' Do the estimates of a model's participants have errors beside their spread?
#' @noRd
reads_errors <- function(group) {
  !any(group$coefficients$term %in% "sd__Observation") && group$method != "hierarchical" && group$method != "bayes"
}
