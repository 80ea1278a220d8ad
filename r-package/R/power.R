#' How many participants and trials are needed?
#'
#' Studies are simulated from a fit: participants' coefficients are drawn from
#' the fitted population, moved by covariates; they play the task, and
#' [spice_group()] analyses their choices by the formula. Power is the share of
#' studies in which the effect is found. The equations are taken as known.
#'
#' One group model per study; see `?spice_group` for methods. `n_jobs = -1` uses
#' all cores.
#'
#' @param fit A [spice_fit()]; one with equations has one structure for
#'   everybody.
#' @param coefficient The coefficient that the covariates have effects on:
#'   `"<module>:<term>"`, as [coef()] names it, or `c(module, term)`; the module
#'   alone will do where a single term of it is estimated.
#' @param effect Difference in the coefficient per unit of the covariate, on the
#'   scale of its link; 0 gives the rate of false positives. Named where the
#'   formula has several effects, as `c(drug = 0.2, "drug:anxiety" = 0.1)`, or a
#'   list of vectors: power is that of those named, and the others have none.
#' @param n_participants,n_trials Participants, and trials per participant and
#'   occasion over all blocks. Of these and `effect`, all combinations are
#'   simulated.
#' @param formula Of the group model, as in [spice_group()]:
#'   `~ drug * anxiety + (1 | participant) + (1 | site)`. It is read by the
#'   engine, as its variables are simulated there.
#' @param covariates What the formula's variables are: `"continuous"` (standard
#'   normal), `"binary"` (two groups of people of equal size, coded 0 and 1),
#'   `"within"` (0 and 1 on a person's occasions in turn), or a whole number of
#'   groups of people, levels of a factor or of a grouping. One for all, or a
#'   named list: `list(drug = "within", site = 8)`. `occasion`, from 1, is there
#'   without being named.
#' @param n_occasions Occasions of each person; more than one need
#'   `(1 | participant)` in the formula.
#' @param shares Named numbers: of the population's variances, what is between
#'   occasions of a person (`occasion`; by default what the fit found, if it has
#'   occasions), between levels of each grouping (`site`), and, in addition,
#'   between people's slopes of a covariate with random slopes (`drug` for
#'   `(drug | participant)`).
#' @param environment The task, a [spice_bandit()]; `NULL` is reward
#'   probabilities that drift, with the fit's actions. People of a fit of a
#'   published model play its task, and those of a fit whose task showed
#'   something the trials of one of its participants each.
#' @param n_blocks Blocks per participant and occasion.
#' @param population Formula of a hierarchical group model of the fit that says
#'   how people differ; `NULL` is `~ 1`, with `(1 | participant)` where the fit
#'   has occasions.
#' @param n_simulations Studies per design.
#' @param method Method of the group model, as in [spice_group()].
#' @param alpha Level of the test.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides.
#' @param n_jobs Processes to use at the same time; -1 for all cores.
#' @param ... Further settings of [spice_group()], by name.
#' @return An object of class `spice_power`: a list of the tibbles `designs`,
#'   `studies` (one row per simulated study and effect) and `glance`. `tidy()`
#'   has one row per design and effect: `power` with its interval,
#'   `mean.estimate`, `coverage`, `type.s` (share of significant studies with
#'   the wrong sign), `type.m` (by which factor these overestimate the effect),
#'   `share.withheld`, `share.failed` and more. `autoplot()` draws power by
#'   participants.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   power <- spice_power(example_fit, "x_learning_rate_reward:1",
#'     effect = 0.2, n_participants = c(10, 20), n_trials = 100,
#'     environment = spice_bandit("flip"), n_simulations = 5
#'   )
#'   power
#'   spice_power(example_fit, "x_learning_rate_reward:1",
#'     effect = c(drug = 0.2), n_participants = 10, n_trials = 60,
#'     formula = ~ drug + (1 | participant), covariates = "within",
#'     n_occasions = 2, shares = c(occasion = 0.3), n_simulations = 2
#'   )
#' }
#' }
spice_power <- function(fit, coefficient, effect, n_participants, n_trials, formula = ~x,
                        covariates = "continuous", n_occasions = 1, shares = NULL, environment = NULL,
                        n_blocks = 1, population = NULL, n_simulations = 200, method = "hierarchical",
                        alpha = 0.05, seed = 0, n_jobs = 1, ...) {
  call <- rlang::current_env()
  check_fit(fit, call)
  if (!is.character(coefficient) || !length(coefficient) %in% 1:2) {
    abort_spicestat("config", "`coefficient` must be \"<module>:<term>\" or c(module, term).", call = call)
  }
  formula <- as_formula(formula, call)
  check_one_sided(formula, call)
  settings <- list(
    effect = lapply(as.list(effect), as.double), n_participants = n_participants, n_trials = n_trials,
    formula = enc2utf8(deparse1(formula)), n_occasions = n_occasions, n_blocks = n_blocks,
    n_simulations = n_simulations, method = method, alpha = alpha, seed = whole_seed(seed, call), n_jobs = n_jobs, ...
  )
  settings$effect <- if (rlang::is_named(effect)) settings$effect else as.double(effect)
  options <- c(
    engine_options(settings, call),
    list(
      coefficient = as.list(coefficient),
      environment = sent_bandit(environment, call),
      covariates = sent_kinds(covariates, call)
    ),
    if (!is.null(shares)) list(shares = sent_shares(shares, call)),
    if (!is.null(population)) list(population = sent_population(fit, population, call))
  )
  tables <- with_fit_folder(fit, function(folder) call_bridge("power", folder, options, call = call))
  structure(lapply(tables, decode_table), class = "spice_power")
}

#' Kinds of covariates: one for all, or by name; whole numbers as such
#' @noRd
sent_kinds <- function(covariates, call) {
  kinds <- lapply(as.list(covariates), function(kind) if (is.numeric(kind)) as.integer(kind) else kind)
  single <- vapply(kinds, function(kind) length(kind) == 1 && !is.na(kind), NA)
  if (!all(single) || !(rlang::is_named(kinds) || length(kinds) == 1)) {
    abort_spicestat(
      "config", "`covariates` must be one kind, or kinds by name: list(drug = \"within\", site = 8).",
      call = call
    )
  }
  if (rlang::is_named(kinds)) kinds else kinds[[1]]
}

#' Shares of the variance by name
#' @noRd
sent_shares <- function(shares, call) {
  if (!is.numeric(unlist(shares)) || !rlang::is_named(shares)) {
    abort_spicestat("config", "`shares` must be named numbers, as c(occasion = 0.3).", call = call)
  }
  lapply(as.list(shares), as.double)
}

#' The hierarchical model whose people the simulated ones are drawn from
#' @noRd
sent_population <- function(fit, formula, call) {
  formula <- as_formula(formula, call)
  check_one_sided(formula, call)
  people <- group_people(fit, fit$coefficients, formula, NULL, "participant", NULL, call)
  people <- with_choices(people, fit$coefficients)
  list(design = sent_design(design_of_people(people, call), people$formula, call), method = "hierarchical")
}

#' @rdname spice_power
#' @param x,object A `spice_power`.
#' @export
tidy.spice_power <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$designs)
}

#' @rdname spice_power
#' @export
glance.spice_power <- function(x, ...) {
  check_dots(...)
  with_broom_names(x$glance)
}

#' @rdname spice_power
#' @export
format.spice_power <- function(x, ...) {
  check_dots(...)
  row <- x$glance
  shown <- c(
    "n.participants", "n.trials", "term", "effect", "power", "conf.low", "conf.high", "mean.estimate", "coverage",
    "type.m", "share.withheld"
  )
  c(
    paste0(
      "<spice_power> ", row$module, ":", row$sparse_term, " ", row$formula, ", method \"", row$method,
      "\", ", row$n_simulations, " studies per design"
    ),
    "",
    text_table(tidy(x)[shown])
  )
}

#' @rdname spice_power
#' @export
print.spice_power <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname spice_power
#' @export
autoplot.spice_power <- function(object, ...) {
  check_dots(...)
  table <- tidy(object)
  table$trials <- factor(table$n.trials)
  table$panel <- paste0("effect ", table$effect, " of ", table$term)
  table$panel <- factor(table$panel, levels = unique(table$panel[order(table$term, table$effect)]))
  # intervals of the same number of participants side by side
  beside <- ggplot2::position_dodge(width = 0.03 * max(diff(range(table$n.participants)), 1))
  ggplot2::ggplot(table, ggplot2::aes(.data$n.participants, .data$power, colour = .data$trials)) +
    ggplot2::geom_hline(yintercept = object$glance$alpha, colour = "grey55", linewidth = 0.4, linetype = "22") +
    ggplot2::geom_line(linewidth = 0.6, position = beside) +
    ggplot2::geom_pointrange(
      ggplot2::aes(ymin = .data$conf.low, ymax = .data$conf.high),
      size = 0.3, linewidth = 0.6, position = beside
    ) +
    ggplot2::facet_wrap(~panel) +
    ggplot2::scale_x_continuous(breaks = sort(unique(table$n.participants)), minor_breaks = NULL) +
    ggplot2::scale_y_continuous(limits = c(0, 1), labels = function(x) paste0(100 * x, "%")) +
    ggplot2::scale_colour_manual("Trials", values = trial_colours(nlevels(table$trials))) +
    ggplot2::labs(
      x = "Participants", y = "Power",
      caption = paste0(
        "Bars: ", 100 * table$conf.level[[1]], "% intervals of ", object$glance$n_simulations,
        " studies each; dashed: level of the test"
      )
    ) +
    plot_theme()
}

# from few to many trials, light to dark
trial_colours <- function(n) {
  grDevices::colorRampPalette(c("#8FB8D8", "#1F5A87", "#0B2236"))(max(n, 2))[seq_len(n)]
}
