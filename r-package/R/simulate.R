#' Simulate participants who learn, with known effects of covariates
#'
#' Q-learners with forgetting play a bandit task. Their parameters are drawn
#' around means that covariates may shift, so that it is known what an analysis
#' should find.
#'
#' @param n_participants Number of participants, 2 or more.
#' @param n_trials Trials per participant, over all blocks; a multiple of
#'   `n_blocks`.
#' @param n_blocks Blocks per participant.
#' @param ... Distributions of parameters over participants, by name, as
#'   [spice_parameter()]s: `alpha` (learning rate), `forget` (forgetting rate) and
#'   `beta` (inverse temperature), whose defaults are below, and
#'   `alpha_penalty`, `perseverance`, `persistence`, `counterfactual`,
#'   `counterfactual_penalty` and `beta_counterfactual`, which are left out by
#'   default.
#' @param environment The task, a [spice_bandit()]; by default reward
#'   probabilities that drift.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides.
#' @section Default effects:
#' Anxiety raises the learning rate, by 0.1 per standard deviation; age and
#' diagnosis have no effect:
#' * `alpha = spice_parameter(0.45, sd = 0.08, effects = c(anxiety = 0.1), low = 0.02, high = 0.98)`
#' * `forget = spice_parameter(0.25, sd = 0.05)`
#' * `beta = spice_parameter(5, sd = 0.8, low = 0.5, high = 20)`
#'
#' A parameter that is given replaces its default as a whole, effects included.
#' @return An object of class `spice_simulation`: a list of the tibbles
#'   `trials`, `people` (covariates `anxiety`, `age` and `diagnosis`) and
#'   `truth` (each participant's parameters), and the `seed`. `as_tibble()`
#'   gives the trials, with the covariates.
#' @seealso [simulate.spice_fit()] to let the participants of a fit play.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   spice_simulate(10, 120,
#'     alpha = spice_parameter(0.4, sd = 0.1, effects = c(diagnosis = -0.2)),
#'     environment = spice_bandit("flip"), seed = 1
#'   )
#' }
#' }
spice_simulate <- function(n_participants = 40, n_trials = 200, n_blocks = 4, ...,
                           environment = NULL, seed = NULL) {
  call <- rlang::current_env()
  parameters <- list(...)
  if (length(parameters) > 0 && !rlang::is_named(parameters)) {
    abort_spicestat("config", "parameters in `...` must be named, such as alpha = spice_parameter(0.4).", call = call)
  }
  if (!all(vapply(parameters, inherits, NA, "spice_parameter"))) {
    abort_spicestat("config", "parameters in `...` must be spice_parameter()s.", call = call)
  }
  check_whole(n_participants, "n_participants", call, least = 2)
  check_whole(n_trials, "n_trials", call)
  check_whole(n_blocks, "n_blocks", call)
  seed <- whole_seed(seed, call)
  sizes <- list(n_participants = n_participants, n_trials = n_trials, n_blocks = n_blocks, seed = seed)
  options <- c(
    engine_options(sizes, call),
    list(environment = sent_bandit(environment, call)),
    if (length(parameters) > 0) list(parameters = lapply(parameters, unclass))
  )
  tables <- lapply(call_bridge("simulate", options, call = call), decode_table)
  structure(c(tables, list(seed = seed)), class = "spice_simulation")
}

#' @rdname spice_simulate
#' @param mean,sd Mean and standard deviation over participants.
#' @param effects Change of the mean per unit of covariates, by name:
#'   `anxiety` (a z-score), `age` (in years) and `diagnosis` (1 for patients).
#' @param low,high Limits, to which what is drawn is clipped.
#' @export
spice_parameter <- function(mean, sd = 0, effects = numeric(), low = 0, high = 1) {
  call <- rlang::current_env()
  numbers <- list(mean = mean, sd = sd, low = low, high = high)
  for (name in names(numbers)) check_number(numbers[[name]], name, call)
  if (!is.numeric(effects) || anyNA(effects) || (length(effects) > 0 && !rlang::is_named(effects))) {
    abort_spicestat("config", "`effects` must be numbers with names, such as c(anxiety = 0.1).", call = call)
  }
  parts <- c(lapply(numbers, as.double), if (length(effects) > 0) list(effects = as.list(effects)))
  structure(parts, class = "spice_parameter")
}

check_whole <- function(x, arg, call, least = 1) {
  if (!rlang::is_integerish(x, n = 1, finite = TRUE) || x < least) {
    abort_spicestat("config", paste0(
      "`", arg, "` is out of range. Got: ", deparse1(x), ". Allowed: one whole number, ", least, " or more."
    ), call = call)
  }
}

check_number <- function(x, arg, call) {
  if (!is.numeric(x) || length(x) != 1 || !is.finite(x)) {
    abort_spicestat("config", paste0("`", arg, "` must be one number."), call = call)
  }
}

#' A bandit task
#'
#' @param kind `"drift"`: reward probabilities walk at random. `"flip"`: a good
#'   and a bad action change places now and then. `"eckstein2022"`: they do
#'   after 7 to 15 rewards. `"switch"`: pairs of high, middle and low
#'   probabilities follow each other. `"standard"`: probabilities stay.
#' @param ... Settings of the task, by name: `sigma` (standard deviation of a
#'   step) and `n_actions` of `"drift"`; `block_flip_prob`, `reward_prob_high`
#'   and `reward_prob_low` (and `reward_prob_middle`) of those that change; and
#'   `reward_probs` of `"standard"`.
#' @param counterfactual Are rewards of actions that were not chosen shown?
#' @return An object of class `spice_bandit`, for [spice_simulate()],
#'   [simulate.spice_fit()] and [spice_power()].
#' @export
#' @examples
#' spice_bandit("drift", sigma = 0.1)
#' spice_bandit("standard", reward_probs = c(0.8, 0.5, 0.2))
spice_bandit <- function(kind = c("drift", "flip", "eckstein2022", "switch", "standard"), ...,
                         counterfactual = FALSE) {
  call <- rlang::current_env()
  kind <- one_of(kind, c("drift", "flip", "eckstein2022", "switch", "standard"), "kind", call)
  settings <- engine_options(list(...), call)
  check_bandit(kind, settings, call)
  if (kind == "drift" && is.null(settings$sigma)) settings$sigma <- 0.2
  structure(c(list(kind = kind, counterfactual = isTRUE(counterfactual)), settings), class = "spice_bandit")
}

bandit_settings <- list(
  drift = c("sigma", "n_actions"),
  flip = c("block_flip_prob", "reward_prob_high", "reward_prob_low"),
  eckstein2022 = c("reward_prob_high", "reward_prob_low"),
  switch = c("block_flip_prob", "reward_prob_high", "reward_prob_low", "reward_prob_middle"),
  standard = "reward_probs"
)

check_bandit <- function(kind, settings, call) {
  allowed <- bandit_settings[[kind]]
  unknown <- setdiff(names(settings), c(allowed, "seed"))
  if (length(unknown) > 0) {
    abort_spicestat(
      "config",
      c(
        paste0("a \"", kind, "\" bandit has no setting ", paste0("`", unknown, "`", collapse = ", "), "."),
        i = paste0("It has: ", paste0("`", allowed, "`", collapse = ", "), ".")
      ),
      call = call
    )
  }
}

#' @export
print.spice_bandit <- function(x, ...) {
  check_dots(...)
  settings <- x[setdiff(names(x), "kind")]
  texts <- vapply(settings, function(one) paste(format(unlist(one)), collapse = " "), "")
  cat("<spice_bandit> ", x$kind, ": ", paste(names(settings), "=", texts, collapse = ", "), "\n", sep = "")
  invisible(x)
}

sent_bandit <- function(environment, call) {
  if (is.null(environment)) {
    return(NULL)
  }
  if (!inherits(environment, "spice_bandit")) {
    abort_spicestat("config", "`environment` must be a spice_bandit().", call = call)
  }
  unclass(environment)
}

#' @rdname spice_simulate
#' @param x A `spice_simulation`.
#' @export
format.spice_simulation <- function(x, ...) {
  check_dots(...)
  parameters <- x$truth[setdiff(names(x$truth), "participant")]
  described <- tibble::tibble(
    parameter = names(parameters),
    mean = vapply(parameters, mean, 0), sd = vapply(parameters, stats::sd, 0)
  )
  c(
    paste0(
      "<spice_simulation> ", count(nrow(x$people), "participant"), ", ",
      count(nrow(x$trials), "trial"), ", seed ", x$seed
    ),
    "",
    "True parameters over participants:",
    text_table(described)
  )
}

#' @rdname spice_simulate
#' @export
print.spice_simulation <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname spice_simulate
#' @export
as_tibble.spice_simulation <- function(x, ...) {
  check_dots(...)
  who <- match(x$trials$participant, x$people$participant)
  covariates <- x$people[who, setdiff(names(x$people), "participant")]
  tibble::new_tibble(c(as.list(x$trials), as.list(covariates)), nrow = nrow(x$trials))
}

#' Let the participants of a fit play a task by their equations
#'
#' @param object A [spice_fit()].
#' @param nsim Number of simulations of all participants.
#' @param seed Whole number from 0. `NULL` draws one from R's random numbers, so
#'   that [set.seed()] decides; it is attribute `"seed"` of the value.
#' @param environment The task, a [spice_bandit()]; `NULL` is reward
#'   probabilities that drift, with the fit's actions. Its rewards are as the
#'   model sees them: 1 stands for the largest reward of the data by size, and 0
#'   for none (in a fit with `reward_scaling = "minmax"`, 0 for the smallest).
#'   Participants whose task showed something (stimuli, options, attributes, ...)
#'   or had no rewards make the choices of their own trials again, and a choice
#'   brings what was got, in the same block, on one of the five trials nearest in
#'   time on which the same was taken; those of a published model play its task.
#' @param n_trials,n_blocks Trials per block, and blocks; `NULL` takes those of
#'   most participants in the fit. Own trials are played as they are.
#' @param by Whether equations have `"pooled"` coefficients, or each
#'   participant's own maximum-likelihood estimates (`"ml"`; of models with a
#'   network).
#' @param ... Not used; anything here is an error.
#' @return A tibble of trials that [spice_fit()] can read: `sim`,
#'   `participant`, `block`, `trial`, `choice` and `reward`, and `reward_1`,
#'   ... if the task shows the rewards of all actions, and the columns of what was
#'   shown; rewards are in the unit of the data, so that [spice_update()] and `predict()` can read them too.
#' @importFrom stats simulate
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) simulate(example_fit, seed = 1, n_trials = 20, n_blocks = 1)
#' }
simulate.spice_fit <- function(object, nsim = 1, seed = NULL, environment = NULL, n_trials = NULL, n_blocks = NULL,
                               by = c("pooled", "ml"), ...) {
  check_dots(...)
  call <- rlang::current_env()
  check_whole(nsim, "nsim", call)
  if (!is.null(n_trials)) check_whole(n_trials, "n_trials", call)
  if (!is.null(n_blocks)) check_whole(n_blocks, "n_blocks", call)
  seed <- whole_seed(seed, call)
  sizes <- list(
    n_simulations = nsim, seed = seed, n_trials = n_trials, n_blocks = n_blocks,
    by = one_of(by, c("pooled", "ml"), "by", call)
  )
  options <- c(engine_options(sizes, call), list(environment = sent_bandit(environment, call)))
  tables <- with_fit_folder(object, function(folder) call_bridge("simulate_fit", folder, options, call = call))
  trials <- decode_table(tables$trials)
  attr(trials, "seed") <- seed
  trials
}
