#' Coefficients as one tidy table
#'
#' @param x A [spice_fit()].
#' @param effects `"ran_coefs"`: a fit has participants' own coefficients and
#'   nothing else. Effects of covariates and standard deviations come from
#'   [spice_group()].
#' @param conf.int Add confidence intervals?
#' @param conf.level Level of the intervals.
#' @param ... Not used; anything here is an error.
#' @return A tibble with one row per participant, module and term, also for
#'   terms that are not in the equation (`present` is `FALSE`, `estimate` 0 and
#'   `std.error` `NA`).
#'   * `effect`: `"ran_coefs"`; `group`: `"participant"`; `level`: the id, as
#'     text, beside which stand the columns of occasions, where there are some.
#'   * `component`: the module; `term`: the equation's term.
#'   * `estimate`, `std.error`; `conf.low`, `conf.high` if asked for.
#'   * `present`: is the term in the equation? `inclusion.prob`: probability that
#'     the term is estimated, over the structures that the search compared,
#'     weighted by exp(score). A value that is kept as it is (`present`, estimate
#'     1) is not estimated: .15 beside one is the probability that it should be.
#'   * `n.trials`, `converged`, `at.bound`: is the estimate at the edge of
#'     what is possible, and hence without a standard error?
#'   * `pooled`, `pooled.sd`: posterior mean and standard deviation under the
#'     population of all participants, for prediction and description, not for
#'     regressions; `shared`: is this the population's weight, the same for
#'     everybody?
#' @export
#' @examples
#' tidy(example_fit, conf.int = TRUE)
tidy.spice_fit <- function(x, effects = "ran_coefs", conf.int = FALSE, # nolint: object_name_linter.
                           conf.level = 0.95, ...) { # nolint: object_name_linter.
  check_dots(...)
  check_flag(conf.int, "conf.int")
  if (!identical(effects, "ran_coefs")) {
    abort_spicestat("config", paste0(
      "a fit has no such effects. Got: ", paste(effects, collapse = ", "), ". Allowed: ran_coefs. Try: ",
      "spice_group() estimates effects of covariates and how much participants differ."
    ))
  }
  level <- check_level(conf.level)
  table <- x$coefficients
  who <- people_on_occasions(x, table$participant)
  half <- stats::qnorm((1 + level) / 2) * table$std_error
  interval <- if (conf.int) {
    list(conf.low = table$estimate - half, conf.high = table$estimate + half)
  }
  tibble::new_tibble(
    c(
      list(
        effect = rep("ran_coefs", nrow(table)), component = table$module,
        group = rep("participant", nrow(table)), level = label_text(who$person)
      ),
      who$occasion,
      list(
        term = table$term, estimate = table$estimate, std.error = table$std_error
      ),
      interval,
      list(
        present = table$selected, inclusion.prob = table$inclusion_prob,
        n.trials = table$n_trials, converged = table$converged, at.bound = table$at_bound
      ),
      if ("pooled" %in% names(table)) {
        list(pooled = table$pooled, pooled.sd = table$pooled_sd, shared = table$shared)
      }
    ),
    nrow = nrow(table)
  )
}

#' Whose coefficients these are, and on which occasion
#' @noRd
people_on_occasions <- function(fit, participant) {
  if (is.null(fit$occasions)) {
    return(list(person = participant))
  }
  rows <- match(participant, fit$people$participant)
  names <- fit$occasions$column[fit$occasions$role == "occasion"]
  list(person = fit$people$person[rows], occasion = as.list(fit$people[rows, names]))
}

#' Effects of covariates as one tidy table
#'
#' Columns and their order are broom.mixed's, to which `component`,
#' `sparse.term` and `p.adjusted` are added.
#'
#' @param x A [spice_group()].
#' @param effects One or more of: `"fixed"`, effects of the covariates;
#'   `"ran_pars"`, how much participants differ beyond that, as standard
#'   deviations and correlations; `"ran_vals"`, the participants' deviations from
#'   what the covariates predict; `"ran_coefs"`, prediction and deviation
#'   together, that is each participant's coefficient as the model estimates
#'   it, with the error of its deviation. The last two for methods that estimate
#'   them.
#' @param conf.int Add confidence intervals?
#' @param conf.level Level of the intervals; `NULL` takes that of the analysis.
#'   Where intervals are quantiles of a posterior or profiles of a likelihood, other
#'   levels need another fit, which the error says.
#' @param exponentiate Exponentials of estimates and limits, for effects on log odds
#'   (odds ratios) and logarithms (ratios).
#' @param term `"covariate"`: the column `term` is the covariate's, as `age`, once for
#'   each coefficient of the equations. `"full"`: it is unique, as in
#'   `beta:x_value_reward:age`, for packages that make tables of one column of names, such as
#'   `modelsummary(group, term = "full")`.
#' @param ... Not used; anything here is an error.
#' @return A tibble: `effect`, `component` (the module), `sparse.term` (the
#'   equation's term), `group`, `level` (the participant's id), `term` (the
#'   covariate), `estimate`, `std.error`, `statistic`, `df`, `p.value`,
#'   `p.adjusted` (for the number of coefficients), and `conf.low`, `conf.high`
#'   if asked for; of these the columns that the chosen effects have. `p.value`
#'   and the intervals are `NA` where too few participants have an identified
#'   estimate.
#' @export
#' @examples
#' tidy(example_group, conf.int = TRUE)
#' tidy(example_group, effects = "ran_pars")
#' tidy(example_group, effects = "ran_vals")
tidy.spice_group <- function(x, effects = "fixed", conf.int = FALSE, # nolint: object_name_linter.
                             conf.level = NULL, exponentiate = FALSE, # nolint: object_name_linter.
                             term = c("covariate", "full"), ...) {
  check_dots(...)
  term <- one_of(term, c("covariate", "full"), "term", rlang::current_env())
  check_flag(conf.int, "conf.int")
  check_flag(exponentiate, "exponentiate")
  effects <- rlang::arg_match(effects, c("fixed", "ran_pars", "ran_vals", "ran_coefs"), multiple = TRUE)
  if (!is.null(conf.level)) check_level(conf.level)
  parts <- lapply(effects, effect_rows, group = x, level = conf.level)
  columns <- effect_columns[names(effect_columns) %in% unlist(lapply(effects, columns_of, x))]
  table <- with_broom_names(do.call(rbind, lapply(parts, with_columns, columns = columns)))
  if (exponentiate) table <- exponentiated(table, x, effects)
  if (term == "full") table$term <- full_terms(table)
  tibble::as_tibble(table[c(setdiff(names(table), interval), if (conf.int) interval)])
}

#' Exponentials of effects on log odds or logarithms; other effects have none that mean anything
#' @noRd
exponentiated <- function(table, group, effects, call = rlang::caller_env()) {
  part <- if ("group" %in% names(table)) table$group else rep(NA, nrow(table))
  linked <- part %in% "presence" | link_of(group, table$component, table$sparse.term) != "identity"
  if (!identical(effects, "fixed") || !all(linked)) {
    abort_spicestat("config", c(
      "`exponentiate = TRUE` is for effects on log odds or logarithms.",
      i = paste0("Not so: ", name_some(unique(paste(table$component, table$sparse.term, sep = ":")[!linked])), "."),
      i = "predict(group, type = \"response\") has coefficients on their own scales."
    ), call = call)
  }
  shown <- c("estimate", interval)
  table[shown] <- lapply(table[shown], exp)
  table
}

#' Names of terms that are unique in a table of any effects
#' @noRd
full_terms <- function(table) {
  parts <- table[intersect(c("group", "level"), names(table))]
  front <- lapply(parts, function(part) ifelse(is.na(part), "", paste0(part, ":")))
  do.call(paste0, c(unname(as.list(front)), list(effect_names(table))))
}

interval <- c("conf.low", "conf.high")

# in broom's order, by the names that they get
effect_columns <- c(
  effect = "effect", component = "module", sparse.term = "sparse_term", group = "group", level = "level",
  term = "term", estimate = "estimate", std.error = "std_error", statistic = "statistic", df = "df",
  p.value = "p_value", p.adjusted = "p_adjusted", conf.low = "conf_low", conf.high = "conf_high"
)

#' Names of the columns that a kind of effect has
#' @noRd
columns_of <- function(effect, group) {
  always <- c("effect", "component", "sparse.term", "term", "estimate", interval)
  c(always, switch(effect,
    fixed = c(if (has_parts(group)) "group", "std.error", "statistic", "df", "p.value", "p.adjusted"),
    ran_pars = c("group", if (has_spread_errors(group)) "std.error"),
    ran_vals = c("group", "level", "std.error"),
    ran_coefs = c("group", "level", "std.error")
  ))
}

# hurdle models have two parts, which `group` names
has_parts <- function(group) {
  rows <- group$coefficients
  any(!is.na(rows$group[rows$effect == "fixed"]))
}

has_spread_errors <- function(group) {
  rows <- group$coefficients
  any(!is.na(rows$std_error[rows$effect == "ran_pars"]))
}

effect_rows <- function(effect, group, level) {
  switch(effect,
    fixed = fixed_rows(group, level),
    ran_pars = group$coefficients[group$coefficients$effect == "ran_pars", ],
    ran_vals = deviation_rows(group, level),
    ran_coefs = coefficient_of_participants(group, level)
  )
}

fixed_rows <- function(group, level, call = rlang::caller_env()) {
  table <- group$coefficients[group$coefficients$effect == "fixed", ]
  known <- group$coefficients$conf_level[[1]]
  # intervals at the level of the analysis are the method's own, which may be quantiles or profiles
  if (is.null(level) || isTRUE(all.equal(level, known))) {
    return(table)
  }
  own <- own_intervals(group, level)
  if (is.null(own)) {
    check_t_intervals(table, known, group$method, call)
    return(with_level(table, level))
  }
  given <- !is.na(table$conf_low)
  table$conf_low <- ifelse(given, own$conf_low, NA)
  table$conf_high <- ifelse(given, own$conf_high, NA)
  table
}

#' Refuse another level for intervals that cannot be computed from estimate and standard error
#' @noRd
check_t_intervals <- function(table, level, method, call) {
  again <- with_level(table, level)
  size <- abs(table$conf_high - table$conf_low)
  off <- pmax(abs(again$conf_low - table$conf_low), abs(again$conf_high - table$conf_high)) / size
  if (any(off > 1e-6, na.rm = TRUE)) {
    abort_spicestat("config", c(
      paste0("method = \"", method, "\" has intervals of its own at the level ", level, " only."),
      i = "Fit with the level that you want: update(group, conf_level = ), or spice_group(conf_level = )."
    ), call = call)
  }
}

#' Intervals from the draws that a Bayesian model holds
#' @noRd
own_intervals <- function(group, level) {
  if (!is.null(group$draws)) {
    return(summarise_draws(as.matrix(group$draws[names(stats::coef(group))]), level))
  }
  if (group$method != "brms" || !requireNamespace("brms", quietly = TRUE)) {
    return(NULL)
  }
  do.call(rbind, lapply(group$fit, function(fit) summarise_draws(brms_draws(fit)$effects, level)))
}

deviation_rows <- function(group, level, call = rlang::caller_env()) {
  table <- need_deviations(group, call)
  table$effect <- rep("ran_vals", nrow(table))
  table$level <- label_text(table$level)
  with_normal_interval(table, group, level)
}

with_normal_interval <- function(table, group, level) {
  if (is.null(level)) level <- group$coefficients$conf_level[[1]]
  half <- stats::qnorm((1 + level) / 2) * table$std_error
  table$conf_low <- table$estimate - half
  table$conf_high <- table$estimate + half
  table
}

need_deviations <- function(group, call) {
  if (is.null(group$ran_vals)) {
    abort_spicestat("config", paste0(
      "method = \"", group$method, "\" estimates no deviations of participants. Try: use \"hierarchical\", ",
      "\"multivariate_meta\", \"metafor\" or a mixed model."
    ), call = call)
  }
  group$ran_vals
}

coefficient_of_participants <- function(group, level, call = rlang::caller_env()) {
  need_deviations(group, call)
  table <- group$participants
  table <- table[!is.na(table$posterior_mean), ]
  rows <- data.frame(
    effect = rep("ran_coefs", nrow(table)), module = table$module, sparse_term = table$sparse_term,
    group = rep("participant", nrow(table)), level = label_text(table$participant),
    term = rep("(Intercept)", nrow(table)), estimate = table$posterior_mean,
    std_error = table$posterior_std_error
  )
  with_normal_interval(rows, group, level)
}

#' Intervals at another level; those that were withheld stay so
#' @noRd
with_level <- function(table, level) {
  df <- ifelse(is.na(table$df), Inf, table$df)
  half <- stats::qt((1 + level) / 2, df) * table$std_error
  given <- !is.na(table$conf_low) & !is.na(table$std_error)
  table$conf_low <- ifelse(given, table$estimate - half, NA)
  table$conf_high <- ifelse(given, table$estimate + half, NA)
  table
}

check_level <- function(level, call = rlang::caller_env()) {
  if (!rlang::is_double(level, n = 1, finite = TRUE) || level <= 0 || level >= 1) {
    abort_spicestat("config", c(
      "the confidence level must be one number between 0 and 1.", x = paste0("Got: ", deparse1(level), "."),
      i = if (is_percent(level)) paste0("Did you mean ", format(level / 100), "?")
    ), call = call)
  }
  level
}

is_percent <- function(x) {
  is.numeric(x) && length(x) == 1 && isTRUE(x > 1 && x < 100)
}

check_flag <- function(value, name, call = rlang::caller_env()) {
  if (!rlang::is_bool(value)) {
    abort_spicestat("config", paste0("`", name, "` must be TRUE or FALSE. Got: ", deparse1(value), "."), call = call)
  }
}

#' A fit or a group model at a glance
#'
#' @param x A [spice_fit()] or [spice_group()].
#' @param each Give one row for each coefficient of the equations that has a model of its
#'   own? Without it, there is one row in all, as broom has it.
#' @param ... Not used; anything here is an error.
#' @return A tibble with one row, or with `each` one for each coefficient. Names
#'   are broom's: `nobs`, `logLik`, `AIC`, `i.squared` and so on. All methods have
#'   these columns; those that a method does not fill come last. In one row about several
#'   models, `logLik` and `AIC` are sums, counts and shares the largest, `converged` is
#'   true where all did, and what only one of them has, such as `tau.squared`, is `NA`.
#' @export
#' @examples
#' glance(example_fit)
#' glance(example_group)
#' if (requireNamespace("metafor", quietly = TRUE)) {
#'   glance(spice_group(example_fit, ~diagnosis, method = "metafor"), each = TRUE)
#' }
glance.spice_fit <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$glance)
}

#' @rdname glance.spice_fit
#' @export
glance.spice_group <- function(x, each = FALSE, ...) {
  check_dots(...)
  check_flag(each, "each")
  table <- x$glance
  # text of which there is none
  if (!is.null(table$contradictions)) table$contradictions[!nzchar(table$contradictions)] <- NA
  if (!each && nrow(table) > 1) table <- in_one_row(table)
  table <- with_broom_names(table)
  empty <- vapply(table, function(column) all(is.na(column)), NA)
  table[c(which(!empty), which(empty))]
}

#' Several models as one
#' @noRd
in_one_row <- function(table) {
  found <- lapply(table, function(column) if (length(unique(column)) == 1) column[[1]] else column[NA_integer_])
  found[c("log_lik", "aic")] <- lapply(table[c("log_lik", "aic")], sum)
  df <- sum(round((table$aic + 2 * table$log_lik) / 2))
  n <- sum(round(exp((table$bic + 2 * table$log_lik) / round((table$aic + 2 * table$log_lik) / 2))))
  found$bic <- -2 * found$log_lik + df * log(n)
  largest <- c("nobs", "n_excluded", "share_unidentified")
  found[largest] <- lapply(table[largest], max)
  found$withheld <- any(table$withheld)
  found$converged <- all(table$converged)
  said <- unique(table$contradictions[!is.na(table$contradictions)])
  if (length(said) > 0) found$contradictions <- paste(said, collapse = "; ")
  tibble::as_tibble(found)
}

with_broom_names <- function(table) {
  known <- c(log_lik = "logLik", aic = "AIC", bic = "BIC", module = "component")
  names(table) <- ifelse(
    names(table) %in% names(known), known[names(table)], chartr("_", ".", names(table))
  )
  table
}
