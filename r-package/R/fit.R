#' Find the equations behind people's choices, and estimate everybody's coefficients
#'
#' By default (`model = "history"`) chooses, in seconds, which states of the past
#' count in people's choices, such as traces of choices and rewards, and pools
#' their weights over participants. This predicts people best, and has no
#' learning rate. Any other model trains a recurrent network with one embedding
#' per participant, replaces its modules by sparse equations of learning, and
#' re-estimates the coefficients of these equations on the choices by maximum
#' likelihood, which gives standard errors. That takes minutes, and longer with a hundred thousand trials;
#' `progress = TRUE` shows how far it has got.
#'
#' Ctrl-C (Esc in RStudio) stops the fit at any stage. What the network has
#' learned until then is kept if there is a `checkpoint`.
#'
#' @param trials A data frame with one row per trial, or the path of a `.csv`,
#'   `.tsv`, `.txt` (also with `.gz`), `.xlsx` or `.parquet` file. Several paths, or
#'   a pattern such as `"data/*.csv"`, name one file for each participant, whose id
#'   is taken from the file's name where there is no such column. Separators,
#'   decimal commas and encodings are detected, and ids stay as they are written
#'   (`001`, `1.10`).
#' @param participant,choice Columns with the participant's id and the chosen
#'   action: a bare name or text. Actions are numbered in the order of the
#'   levels if `choice` is a factor, else in sorted order.
#' @param reward Column with the reward of the chosen action, or `c()` of one
#'   column per action if the rewards of the others were shown, too. `NULL` where
#'   the task has no outcomes; not needed with `gain` or `loss`.
#' @param block,trial,experiment Columns with the block, the trial number and
#'   the experiment, where there are any. Learning starts anew in each block.
#'   Without `trial`, rows are taken in their order.
#' @param occasion Columns, constant within blocks, on whose values a person may
#'   learn differently, such as `drug` or `c(drug, session)`. Coefficients are then
#'   of people on occasions, and [spice_group()] takes formulas such as
#'   `~ drug + (drug | participant)`.
#' @param covariates Columns of `trials` that describe participants, such as
#'   `c(age, diagnosis)`. `NULL` takes all other columns that are constant
#'   within participants.
#' @param people A data frame (or the path of one) with one row per
#'   participant, in which the id has the same column name as in `trials`; with
#'   occasions, it may have their columns, too. A list of several is joined on the
#'   columns that they share, as a table of sites on `site`.
#'   Columns from SPSS or Stata files (`haven_labelled`) become factors or
#'   numbers; columns that cannot be used are named in a warning.
#' @param missing Values that mean "not there": `c(-99, "NR")` in all columns, or
#'   `list(choice = -1, age = "n.a.")` in some. Values that look like such codes
#'   are noticed, and `missing = list(age = list())` says that all values of a
#'   column are meant.
#' @param stimulus Columns of what was shown, such as a cue or a pair: what is
#'   learned is learned of each. This and all up to `choice2` is for
#'   `model = "history"` and the models of tasks.
#' @param options Columns of the items on offer, to which values belong wherever
#'   they appear: `c(card_left, card_right)` where `choice` holds the item taken,
#'   `c(left = stim_left, right = stim_right)` where it holds the position. A missing
#'   value means that there is no option.
#' @param attributes Numbers of each option that are known before the choice:
#'   `list(amount = c(amount_sooner, amount_later))`, in the order of the actions, or
#'   `list(amount = c(sooner = amount_sooner, later = amount_later))`.
#' @param context Columns of what is known before the choice and is the same for
#'   all actions, such as a set size (a number) or a commodity (labels).
#' @param forced Column that says on which trials the choice was not free: they
#'   teach, and are not predicted.
#' @param gain,loss Columns of gains and losses of the chosen action, instead of
#'   `reward`. Losses are numbers of 0 and below, or sizes of 0 and above.
#' @param foregone Column with the outcome of the action that was not chosen,
#'   where there are two.
#' @param state2,choice2 Columns of the state that a choice led to, and of the
#'   choice made there before the reward, in two-step tasks.
#' @param ... Further settings of the engine, by name: `inputs` and `actions`
#'   (character), `rt` (name of the column of response times in seconds),
#'   `reward_scaling` (`"minmax"` maps the range of all observed rewards to 0 to
#'   1, which moves their zero; by default rewards are divided by their largest
#'   size inside, and coefficients are in the unit of the data), `learning_rate`, `hidden_size`, `embedding_size`,
#'   `structure`, `device`, and so on. `checkpoint = "folder"` keeps the state of
#'   the network's training there; the same call, made again after an interrupt,
#'   continues from it.
#' @param model `"history"` (states of the past, without a network; see
#'   [spice_kernels()]), a model of your own, from [spice_model()] or
#'   [spice_python_model()], the name of one to start from (see below), whose
#'   terms are dropped where the choices do not need them, or the name of a
#'   [spice_task()], whose published model is estimated as it is.
#' @param epochs Number of training epochs of the network, for models that have
#'   one; `NULL` for the engine's default.
#' @param seed Whole number from 0. The same seed gives the same fit, in Python,
#'   too. `NULL` draws one from R's random numbers, so that [set.seed()] decides.
#' @param progress Show progress bars?
#' @section Models:
#' * `"asymmetric"`: one learning rate for each sign of the prediction error.
#' * `"choice"`: `learning_rate` and a trace of past choices.
#' * `"counterfactual"`: learning from the rewards shown for actions not chosen.
#' * `"drift_diffusion"`: response times as well as choices.
#' * `"forgetting"`: values of actions not chosen decay.
#' * `"learning_rate"`: a learned learning rate before a built-in prediction
#'   error, and forgetting.
#' * `"participant_embedding"`: `learning_rate`, always with an embedding.
#' * `"rescorla_wagner"`: only the value of the chosen action changes.
#' * `"working_memory"`: `learning_rate` and weights of the last four choices
#'   and rewards.
#'
#' @return An object of class `spice_fit`: a list of tibbles.
#'   * `coefficients`: one row per participant, module and term.
#'   * `covariance`: sampling covariance of each participant's estimates, with
#'     0-based positions of terms.
#'   * `equations`: each participant's equations as text.
#'   * `people`: covariates, one row per participant. With occasions, participants
#'     are such as `s1:placebo`, and there are columns `person` and those of occasions;
#'     `occasions` names these.
#'   * `scores`: negative log likelihood of network, equations and refit, or of the
#'     history, and of choice shares and guessing.
#'   * `glance`: one row about the whole fit.
#'   * `files`: the fit folder, as raw vectors; see [spice_save()].
#'   * `call`: how it was made, for [update()].
#' @references
#' Weinhardt, Eckstein & Musslick: Automated discovery of sparse and interpretable
#' cognitive equations. PsyArXiv, <https://doi.org/10.31234/osf.io/v86q5>.
#' @seealso [predict.spice_fit()], [simulate.spice_fit()] and
#'   [spice_update()] for what to do with a fit, [spice_group()] to relate coefficients to covariates,
#'   [tidy.spice_fit()] for the coefficients as one table.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   few <- subset(example_trials, participant %in% c("p01", "p02", "p03", "p04") & trial <= 25)
#'   fit <- spice_fit(few, participant, choice, reward, block = block, model = "choice", epochs = 50)
#'   tidy(fit)
#' }
#' }
spice_fit <- function(trials, participant, choice, reward, block = NULL, trial = NULL,
                      experiment = NULL, occasion = NULL, covariates = NULL, people = NULL, missing = NULL,
                      stimulus = NULL, options = NULL, attributes = NULL, context = NULL, forced = NULL,
                      gain = NULL, loss = NULL, foregone = NULL, state2 = NULL, choice2 = NULL, ...,
                      model = "history", epochs = NULL, seed = 0, progress = interactive()) {
  call <- rlang::current_env()
  written <- match.call()
  check_spelling(names(list(...)), setdiff(names(formals(spice_fit)), "..."), call)
  screen <- screen_roles(
    rlang::enquos(
      stimulus = stimulus, options = options, attributes = attributes, context = context,
      forced = forced, gain = gain, loss = loss, foregone = foregone, state2 = state2, choice2 = choice2
    ),
    names(trials_of(trials)), call
  )
  sums <- !is.null(screen$gain) || !is.null(screen$loss)
  if (sums && missing(reward)) reward <- NULL
  outcome <- rlang::enquo(reward)
  columns <- trial_columns(
    rlang::enquos(
      participant = participant, choice = choice, reward = reward,
      block = block, trial = trial, experiment = experiment, occasion = occasion
    ),
    rlang::enquo(covariates), trials, people, call
  )
  # a task without outcomes, which is not the same as a column called "reward"
  if (rlang::quo_is_null(outcome) && !sums) columns$options["reward"] <- list(NULL)
  settings <- c(list(epochs = epochs, seed = whole_seed(seed, call)), list(...))
  settings$missing <- missing_values(missing, call)
  settings$checkpoint <- absolute_path(settings$checkpoint)
  arguments <- c(columns$options, screen, engine_options(settings, call), list(model = sent_model(model, call)))
  inputs <- c(settings$inputs, if (inherits(model, "spice_model")) model$inputs)
  table <- sent_table(trials, c(columns$names, unlist(screen), inputs), "trials", call)
  show <- new_progress(progress)
  fit_in_folder(function(folder) {
    call_bridge("fit", table, c(arguments, folder = folder), progress = show, call = call)
  }, written)
}

#' Which columns of the trials mean what
#'
#' @param quos Quosures of columns, named by their roles.
#' @param covariates A quosure.
#' @return A list: `names` of the columns, and the `options` that tell the engine.
#' @noRd
trial_columns <- function(quos, covariates, trials, people, call) {
  check_table(trials, "trials", call)
  roles <- trial_roles(quos, names(trials_of(trials)), call)
  check_rewards(trials_of(trials)[unlist(roles$reward)], call)
  check_order(trials_of(trials)[unlist(roles$trial)], call)
  covariates <- covariate_names(covariates, trials, people, call)
  list(
    names = c(unlist(roles), covariates),
    options = c(
      roles, engine_options(list(covariates = covariates), call),
      if (!is.null(people)) list(people = sent_tables(people, c(roles$participant, roles$occasion), call))
    )
  )
}

#' A factor's codes are no rewards
#' @noRd
check_rewards <- function(rewards, call) {
  for (name in names(rewards)[vapply(rewards, is.factor, NA)]) {
    abort_spicestat("column", c(
      paste0("column '", name, "' with the rewards is a factor, and must be numeric."),
      i = paste0("Where its levels are numbers, convert it: as.numeric(as.character(", name, ")).")
    ), call = call)
  }
}

#' Trials are numbered; times of day may cross midnight, and dates have many trials
#' @noRd
check_order <- function(trials, call) {
  for (name in names(trials)[vapply(trials, inherits, NA, c("Date", "POSIXct", "difftime"))]) {
    abort_spicestat("column", c(
      paste0("column '", name, "' with the number of the trial is a ", class(trials[[name]])[[1]], "."),
      i = paste0("Where each trial has its own, in order within a block, convert it: as.numeric(", name, ").")
    ), call = call)
  }
}

#' A setting in `...` that is nearly an argument is a slip of the pen
#' @noRd
check_spelling <- function(given, arguments, call) {
  # "actions" is two letters from "options"
  for (name in setdiff(given[nchar(given) > 3], list_options)) {
    distance <- utils::adist(name, arguments)
    if (min(distance) <= 2) {
      abort_spicestat("config", paste0(
        "there is no argument `", name, "`. Did you mean `", arguments[which.min(distance)], "`?"
      ), call = call)
    }
  }
}

#' The fit that the engine writes into a new folder
#'
#' @param ask Function of the folder's path that gives the engine's tables.
#' @noRd
fit_in_folder <- function(ask, written = NULL) {
  folder <- tempfile("spice_fit_")
  on.exit(unlink(folder, recursive = TRUE, expand = FALSE))
  tables <- ask(folder)
  new_spice_fit(tables, read_folder(folder), written)
}

#' Columns by their roles, without those that were not given
#'
#' @param quos Named quosures.
#' @noRd
trial_roles <- function(quos, available, call) {
  read <- lapply(names(quos), function(role) {
    one <- if (role %in% c("reward", "occasion")) column_names else column_name
    one(quos[[role]], available, role, call)
  })
  Filter(Negate(is.null), stats::setNames(read, names(quos)))
}

covariate_names <- function(quo, trials, people, call) {
  tables <- if (is.data.frame(people)) list(people) else as.list(people)
  offered <- if (is.data.frame(trials)) unique(c(names(trials), unlist(lapply(tables, \(one) names(trials_of(one))))))
  column_names(quo, offered, "covariates", call)
}

#' A data frame as it is; nothing is known about the columns of a file
#' @noRd
trials_of <- function(source) {
  if (is.data.frame(source)) source
}

check_table <- function(source, arg, call) {
  if (!is.data.frame(source) && !(rlang::is_character(source) && length(source) > 0 && !anyNA(source))) {
    abort_spicestat(
      "column",
      paste0("`", arg, "` must be a data frame or the path of one, not ", class(source)[[1]], "."),
      call = call
    )
  }
}

#' A table in protocol form, or the absolute path of its file
#' @noRd
sent_table <- function(source, needed, arg, call) {
  check_table(source, arg, call)
  if (is.character(source)) {
    paths <- vapply(source, function(path) if (file.exists(path)) normalizePath(path) else absolute_path(path), "")
    return(if (length(paths) == 1) unname(paths) else as.list(unname(paths)))
  }
  encode_table(source, optional = setdiff(names(source), needed), call = call)
}

#' One table of covariates, or a list of several
#' @noRd
sent_tables <- function(people, keys, call) {
  if (!is.list(people) || is.data.frame(people)) {
    return(sent_table(people, keys, "people", call))
  }
  lapply(unname(people), sent_table, needed = keys, arg = "people", call = call)
}

#' The absolute path of a folder that may not exist yet
#'
#' The engine as a process of its own may be in another folder than R.
#' @noRd
absolute_path <- function(path) {
  if (!rlang::is_string(path) || path == "") {
    return(path)
  }
  path <- path.expand(path)
  if (grepl("^([/\\\\]|[A-Za-z]:)", path)) path else file.path(getwd(), path)
}

new_spice_fit <- function(tables, files, call = NULL) {
  tables <- lapply(tables, decode_table)
  structure(c(tables, list(files = files, call = call)), class = "spice_fit")
}

#' A seed that the engine takes; NULL draws one from R's random numbers
#' @noRd
whole_seed <- function(seed, call) {
  if (is.null(seed)) {
    return(sample.int(.Machine$integer.max, 1))
  }
  if (!rlang::is_integerish(seed, n = 1, finite = TRUE) || seed < 0 || seed > .Machine$integer.max) {
    abort_spicestat("config", "`seed` must be one whole number from 0, or NULL.", call = call)
  }
  as.integer(seed)
}

#' Do something with a fit's folder, which is there only meanwhile
#' @noRd
with_fit_folder <- function(fit, use) {
  folder <- tempfile("spice_fit_")
  on.exit(unlink(folder, recursive = TRUE, expand = FALSE))
  write_files(fit$files, folder)
  use(folder)
}

# arguments of the engine that are lists even if there is only one entry
list_options <- c("inputs", "occasion", "covariates", "actions", "modules", "terms", "methods", "rungs")

#' Settings in a form that Python takes: no NULL, no whole number as a float
#' @noRd
engine_options <- function(settings, call) {
  settings <- Filter(Negate(is.null), settings)
  if (length(settings) > 0 && (is.null(names(settings)) || any(names(settings) == ""))) {
    abort_spicestat("config", "settings in `...` must be named.", call = call)
  }
  for (name in names(settings)) {
    settings[[name]] <- engine_option(settings[[name]], name, call)
  }
  settings
}

engine_option <- function(value, name, call) {
  if (is.factor(value)) value <- as.character(value)
  if (is.list(value)) {
    return(lapply(value, engine_option, name = name, call = call))
  }
  if (!is.atomic(value) || is.object(value) || anyNA(value)) {
    abort_spicestat(
      "config",
      paste0("setting `", name, "` must be numbers, text, TRUE or FALSE, and not missing."),
      call = call
    )
  }
  value <- plain_scalar_type(value)
  if (length(value) != 1 || name %in% list_options) as.list(value) else unname(value)
}

# 10 is a double in R, and 10.0 is no number of epochs in Python
plain_scalar_type <- function(value) {
  if (is.double(value) && all(value == round(value) & abs(value) < 2^31)) {
    return(as.integer(value))
  }
  if (is.character(value)) enc2utf8(value) else value
}
