#' How many participants and trials are needed?
#'
#' Studies are simulated from a fit: participants' coefficients are drawn from
#' their fitted distribution, shifted by a covariate; they play the task, are
#' estimated anew, and the group model is run. Power is the share of studies in
#' which the effect is found. The equations are taken as known.
#'
#' One refit and one group model per study: 200 studies of 40 participants with
#' 100 trials take eight minutes with the default of [spice_group()] for fits, and half
#' a minute with `method = "meta"`, which will do for a first look.
#'
#' @param fit A [spice_fit()] with one structure for everybody.
#' @param coefficient The coefficient that the covariate has an effect on:
#'   `"<module>:<term>"`, as [coef()] names it, or `c(module, term)`; the module
#'   alone will do where a single term of it is estimated.
#' @param effect Difference in the coefficient per unit of the covariate; 0
#'   gives the rate of false positives.
#' @param n_participants,n_trials Participants, and trials per participant over
#'   all blocks. Of these and `effect`, all combinations are simulated.
#' @param environment The task, a [spice_bandit()]; `NULL` is reward
#'   probabilities that drift, with the fit's actions.
#' @param n_blocks Blocks per participant.
#' @param covariate `"continuous"` (standard normal) or `"binary"` (two groups of
#'   equal size).
#' @param population `NULL`: means and standard deviations over participants
#'   are taken from a meta-analysis of the fit's estimates. Else the formula of
#'   a hierarchical group model of the fit, such as `~ 1`, to take them from.
#' @param n_simulations Studies per design.
#' @param method Method of the group model, as in [spice_group()].
#' @param alpha Level of the test.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides.
#' @param n_jobs Processes to use at the same time; -1 for all cores.
#' @param ... Further settings of [spice_group()], by name.
#' @return An object of class `spice_power`: a list of the tibbles `designs`,
#'   `studies` (one row per simulated study) and `glance`. `tidy()` has one row
#'   per design: `power` with its interval, `mean.estimate`, `coverage`,
#'   `type.s` (share of significant studies with the wrong sign), `type.m` (by
#'   which factor these overestimate the effect), `share.withheld`,
#'   `share.failed` and more. `autoplot()` draws power by participants.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   power <- spice_power(example_fit, "x_learning_rate_reward:1",
#'     effect = 0.2, n_participants = c(10, 20), n_trials = 100,
#'     environment = spice_bandit("flip"), n_simulations = 5
#'   )
#'   power
#' }
#' }
spice_power <- function(fit, coefficient, effect, n_participants, n_trials, environment = NULL,
                        n_blocks = 1, covariate = c("continuous", "binary"), population = NULL,
                        n_simulations = 200, method = "hierarchical", alpha = 0.05, seed = 0, n_jobs = 1, ...) {
  call <- rlang::current_env()
  check_fit(fit, call)
  if (!is.character(coefficient) || !length(coefficient) %in% 1:2) {
    abort_spicestat("config", "`coefficient` must be \"<module>:<term>\" or c(module, term).", call = call)
  }
  settings <- list(
    effect = as.double(effect), n_participants = n_participants, n_trials = n_trials, n_blocks = n_blocks,
    covariate = one_of(covariate, c("continuous", "binary"), "covariate", call), n_simulations = n_simulations,
    method = method, alpha = alpha, seed = whole_seed(seed, call), n_jobs = n_jobs, ...
  )
  options <- c(
    engine_options(settings, call),
    list(
      coefficient = as.list(coefficient),
      environment = sent_bandit(environment, call)
    ),
    if (!is.null(population)) {
      list(population = sent_population(fit, population, call))
    }
  )
  tables <- with_fit_folder(fit, function(folder) call_bridge("power", folder, options, call = call))
  structure(lapply(tables, decode_table), class = "spice_power")
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
    "n.participants", "n.trials", "effect", "power", "conf.low", "conf.high", "mean.estimate", "coverage", "type.m",
    "share.withheld"
  )
  c(
    paste0(
      "<spice_power> ", row$covariate, " covariate on ", row$module, ":", row$term, ", method \"", row$method,
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
  table$panel <- factor(paste("effect", table$effect), levels = paste("effect", sort(unique(table$effect))))
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
