#' Tasks with published models
#'
#' A library of fourteen tasks, from bandits to working memory, discounting and
#' learning with response times, each with the model that was published for it.
#' [spice_fit()] with `model = "rlwm"` estimates the parameters of the model for
#' everybody, together with the population that they come from.
#'
#' Parameters that are shares or positive are related to covariates by
#' [spice_group()] on a logit or log scale.
#'
#' @param name The name of a task, see below.
#' @return An object of class `spice_task`: a list with `name`, `title`,
#'   `equations`, `source`, the `roles` of columns that the model reads, the tibble
#'   `parameters`, and `columns`, the arguments of [spice_fit()] that fit what
#'   `simulate()` returns.
#' @section Tasks:
#' * `"bandit"`: bandit with n arms.
#' * `"contextual"`: contextual bandit, least mean squares.
#' * `"counterfactual_feedback"`: counterfactual feedback, confirmation bias.
#' * `"ddm"`: learning with a diffusion to choice.
#' * `"discounting"`: delay discounting, hyperbolic.
#' * `"discounting_constant_sensitivity"`: delay discounting, constant
#'   sensitivity.
#' * `"effort"`: effort, parabolic costs.
#' * `"effort_sigmoid"`: effort, sigmoid costs.
#' * `"go_nogo"`: go/no-go with gains and losses, bias to go and Pavlovian bias.
#' * `"igt"`: Iowa gambling, outcome-representation learning.
#' * `"igt_pvl_delta"`: Iowa gambling, prospect-valence learning with a delta
#'   rule.
#' * `"pst"`: probabilistic selection, with learning rates for gains and losses.
#' * `"restless"`: restless bandit with rewards of 1 to 100, Kalman filter.
#' * `"reversal"`: reversal learning, fictitious update.
#' * `"reversal_ewa"`: reversal learning, experience-weighted attraction.
#' * `"risky_choice"`: risky choice, prospect utility.
#' * `"rlwm"`: reinforcement learning and working memory.
#' * `"two_step"`: two-step task, hybrid of planning and experience.
#'
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   task <- spice_task("discounting")
#'   task
#'   played <- simulate(task, n_participants = 10, n_trials = 60, seed = 1)
#'   spice_fit(played$trials, participant, chosen,
#'     reward = NULL, model = "discounting",
#'     attributes = list(amount = c(amount_later, amount_sooner), delay = c(delay_later, delay_sooner))
#'   )
#' }
#' }
spice_task <- function(name) {
  call <- rlang::current_env()
  if (!rlang::is_string(name)) {
    abort_spicestat("config", "`name` must be the name of a task, such as \"pst\".", call = call)
  }
  told <- call_bridge("task", enc2utf8(name), call = call)
  columns <- lapply(told$columns, function(column) {
    if (is.list(column) && any(lengths(column) > 1)) lapply(column, unlist) else unlist(column)
  })
  if (!told$learns) columns["reward"] <- list(NULL)
  structure(
    c(
      told[c("name", "title", "equations", "source")],
      list(roles = unlist(told$roles), parameters = decode_table(told$parameters), columns = columns)
    ),
    class = "spice_task"
  )
}

#' @rdname spice_task
#' @param object,x A `spice_task`.
#' @param nsim Number of cohorts.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides.
#' @param n_participants Number of people in each cohort.
#' @param n_trials Trials of a block; `NULL` for the usual number.
#' @param parameters Values of some parameters, one for everybody or one for
#'   each, by name: `list(alpha = 0.3)`. The others are drawn.
#' @param ... Not used; anything here is an error.
#' @return `simulate()`: a list of the tibbles `trials` and `truth`; with several
#'   cohorts, a column `sim` tells them apart.
#' @importFrom stats simulate
#' @export
simulate.spice_task <- function(object, nsim = 1, seed = NULL, n_participants = 30, n_trials = NULL,
                                parameters = list(), ...) {
  call <- rlang::current_env()
  check_dots(...)
  check_whole(nsim, "nsim", call)
  check_whole(n_participants, "n_participants", call)
  if (!is.null(n_trials)) check_whole(n_trials, "n_trials", call)
  if (length(parameters) > 0 && !rlang::is_named(parameters)) {
    abort_spicestat("config", "`parameters` must be named, such as list(alpha = 0.3).", call = call)
  }
  seed <- whole_seed(seed, call)
  cohorts <- lapply(seq_len(nsim) - 1, function(number) {
    options <- engine_options(list(n_participants = n_participants, n_trials = n_trials, seed = seed + number), call)
    if (length(parameters) > 0) {
      options$parameters <- lapply(parameters, \(one) if (length(one) > 1) as.list(one) else one)
    }
    tables <- lapply(call_bridge("simulate_task", object$name, options, call = call), decode_table)
    if (nsim == 1) tables else lapply(tables, function(table) cbind(sim = number + 1, table))
  })
  lapply(
    list(trials = "trials", truth = "truth"),
    function(name) tibble::as_tibble(do.call(rbind, lapply(cohorts, `[[`, name)))
  )
}

#' @rdname spice_task
#' @export
format.spice_task <- function(x, ...) {
  check_dots(...)
  c(
    paste0("<spice_task> ", x$name, ": ", x$title),
    strwrap(paste("Source:", x$source), exdent = 2),
    strwrap(x$equations, indent = 2, exdent = 2),
    paste("Reads", paste(x$roles, collapse = ", ")),
    "",
    text_table(x$parameters[c("term", "link", "meaning")])
  )
}

#' @rdname spice_task
#' @export
print.spice_task <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}
