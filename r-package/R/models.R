#' Models of your own, by naming their parts
#'
#' A model has states, one value per action each, which start anew in every
#' block, and modules, which say how a trial changes a state. What a module
#' does is not written down: a network learns it, and [spice_fit()] finds the
#' equation behind the network. Only what it may depend on is named. Models are
#' plain lists and need no Python; a saved fit holds its model as data.
#'
#' On every trial all modules see the values from before the trial. The log odds
#' of the next choice are the sum of the states, those in `betas` times an
#' inverse temperature, which is estimated; the others are in units of log odds.
#'
#' @param modules A list of `spice_module()`s.
#' @param states Starting values of the states, by name, such as
#'   `c(x_value_reward = 0.5)`.
#' @param betas Names of the states with an inverse temperature; by default the
#'   first one. `character()` for none.
#' @param hidden Names of states that do not reach the choices by themselves.
#' @param inputs Names of columns of the trials that modules use, as
#'   `"c_<column>"`.
#' @param counterfactual Does `"c_reward"` hold the rewards of actions that
#'   were not chosen, where these were shown?
#' @param name What the fit is called, or the name of the module.
#' @param target Name of the state that the module updates.
#' @param uses What the update may depend on besides the state itself:
#'   `"c_action"` (1 for the chosen action, else 0), `"c_reward"`,
#'   `"c_<column>"`, or the name of a state.
#' @param kind `"value"`: the equation gives the next value of the state.
#'   `"rate"`: it gives the rate with which the state moves towards `toward`,
#'   as in value + rate * (reward - value).
#' @param cells Whose values are updated: those of `"all"` actions, of the
#'   `"chosen"` one, or of those `"not_chosen"`. The others stay as they are.
#' @param toward What a rate leads to.
#' @return For `spice_model()` an object of class `spice_model`, which
#'   [spice_fit()] takes as `model`; for `spice_module()` a list.
#' @seealso [spice_python_model()] for models written in Python.
#' @export
#' @examples
#' # a learning rate, forgetting, and a trace of past choices
#' spice_model(
#'   modules = list(
#'     spice_module("x_learning_rate",
#'       target = "x_value", uses = c("c_reward", "x_value"), kind = "rate", cells = "chosen"
#'     ),
#'     spice_module("x_forgetting", target = "x_value", cells = "not_chosen"),
#'     spice_module("x_trace", target = "x_trace", uses = "c_action")
#'   ),
#'   states = c(x_value = 0.5, x_trace = 0)
#' )
spice_model <- function(modules, states, betas = names(states)[1], hidden = character(), inputs = character(),
                        counterfactual = FALSE, name = "declared") {
  call <- rlang::current_env()
  if (inherits(modules, "spice_module")) modules <- list(modules)
  check_modules(modules, call)
  check_states(states, call)
  parts <- list(
    modules = modules, states = states, betas = as.character(betas), hidden = as.character(hidden),
    inputs = as.character(inputs), counterfactual = isTRUE(counterfactual), name = one_text(name, "name", call)
  )
  check_model_names(parts, call)
  structure(parts, class = "spice_model")
}

check_modules <- function(modules, call) {
  if (!is.list(modules) || length(modules) == 0 || !all(vapply(modules, inherits, NA, "spice_module"))) {
    abort_spicestat("config", "`modules` must be a list of spice_module()s.", call = call)
  }
}

check_states <- function(states, call) {
  if (!is.numeric(states) || length(states) == 0 || anyNA(states) || !rlang::is_named(states)) {
    abort_spicestat(
      "config", "`states` must be numbers with names, such as c(x_value = 0.5).",
      call = call
    )
  }
}

#' @rdname spice_model
#' @export
spice_module <- function(name, target, uses = character(), kind = c("value", "rate"),
                         cells = c("all", "chosen", "not_chosen"), toward = "c_reward") {
  call <- rlang::current_env()
  structure(
    list(
      name = one_text(name, "name", call), target = one_text(target, "target", call),
      uses = as.character(uses), kind = one_of(kind, c("value", "rate"), "kind", call),
      cells = one_of(cells, c("all", "chosen", "not_chosen"), "cells", call),
      toward = one_text(toward, "toward", call)
    ),
    class = "spice_module"
  )
}

one_text <- function(x, arg, call) {
  if (!rlang::is_string(x) || is.na(x) || !nzchar(x)) {
    abort_spicestat("config", paste0("`", arg, "` must be one text."), call = call)
  }
  x
}

#' The chosen one of some words; the first, if all are given as by default
#' @noRd
one_of <- function(x, allowed, arg, call) {
  if (identical(x, allowed)) {
    return(allowed[[1]])
  }
  if (!rlang::is_string(x) || !x %in% allowed) {
    abort_spicestat(
      "config",
      c(
        paste0("`", arg, "` cannot be ", paste(format(x), collapse = ", "), "."),
        i = paste0("It is one of: ", paste(allowed, collapse = ", "), ".")
      ),
      call = call
    )
  }
  x
}

# the engine checks the rest; a mistyped name should not have to wait for it
check_model_names <- function(model, call) {
  states <- names(model$states)
  signals <- c("c_action", "c_reward", paste0("c_", model$inputs, recycle0 = TRUE), states)
  for (module in model$modules) {
    check_names_known(module$target, states, paste0("`target` of ", module$name), call)
    check_names_known(module$uses, signals, paste0("`uses` of ", module$name), call)
  }
  check_names_known(model$betas, states, "`betas`", call)
  check_names_known(model$hidden, states, "`hidden`", call)
}

check_names_known <- function(given, known, what, call) {
  unknown <- setdiff(given, known)
  if (length(unknown) > 0) {
    abort_spicestat(
      "config",
      c(
        paste0(what, " has unknown names: ", paste(unknown, collapse = ", "), "."),
        i = paste0("There are: ", paste(known, collapse = ", "), ".")
      ),
      call = call
    )
  }
}

#' @rdname spice_model
#' @param x A `spice_model()`.
#' @param ... Not used; anything here is an error.
#' @export
format.spice_model <- function(x, ...) {
  check_dots(...)
  modules <- vapply(x$modules, module_line, "")
  shown <- setdiff(names(x$states), x$hidden)
  odds <- ifelse(shown %in% x$betas, paste0("beta * ", shown), shown)
  c(
    paste0("<spice_model> ", x$name),
    paste0("States: ", paste0(names(x$states), " = ", x$states, collapse = ", ")),
    paste0("  ", modules),
    paste0("Log odds of a choice: ", paste(odds, collapse = " + "))
  )
}

module_line <- function(module) {
  where <- c(all = "all actions", chosen = "the chosen action", not_chosen = "the other actions")[[module$cells]]
  unknown <- paste0(module$name, "(", paste(c("itself", module$uses), collapse = ", "), ")")
  right <- if (module$kind == "rate") {
    paste0(module$target, " + ", unknown, " * (", module$toward, " - ", module$target, ")")
  } else {
    unknown
  }
  paste0(module$target, " of ", where, " <- ", right)
}

#' @rdname spice_model
#' @export
print.spice_model <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' A model written in Python
#'
#' For what [spice_model()] cannot say: any subclass of `BaseRNN`. Such models
#' need the engine within R (`options(spicestat.engine = "embedded")`). A saved
#' fit does not hold the class: call `spice_python_model()` and
#' `spice_fit()` again, or load it in Python.
#'
#' @param class A Python class, as `reticulate::import()` or
#'   `reticulate::py_run_string()` gives it.
#' @param config A Python `SpiceConfig`, or a list of its arguments:
#'   `rnn_modules` and `control_parameters` (names), `library_setup` (for each
#'   module the signals that its equation may use, in the order of the call)
#'   and `filter_setup`.
#' @return An object of class `spice_python_model`, which [spice_fit()] takes
#'   as `model`.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   precoded <- reticulate::import("spicestat.models.precoded", convert = FALSE)
#'   spice_python_model(
#'     precoded$RescorlaWagnerRNN,
#'     list(
#'       rnn_modules = "x_value_reward_chosen",
#'       control_parameters = c("c_action", "c_reward"),
#'       library_setup = list(x_value_reward_chosen = "c_reward")
#'     )
#'   )
#' }
#' }
spice_python_model <- function(class, config) {
  call <- rlang::current_env()
  if (!is_python_object(class)) {
    abort_spicestat(
      "config", "`class` must be a Python class, such as reticulate::import() gives.",
      call = call
    )
  }
  if (!is_python_object(config) && !(is.list(config) && rlang::is_named(config))) {
    abort_spicestat("config", "`config` must be a SpiceConfig or a named list of its arguments.", call = call)
  }
  structure(list(class = class, config = config), class = "spice_python_model")
}

is_python_object <- function(x) inherits(x, "python.builtin.object")

#' @export
print.spice_python_model <- function(x, ...) {
  check_dots(...)
  cat("<spice_python_model>\n")
  invisible(x)
}

#' A model in the form in which it crosses
#' @noRd
sent_model <- function(model, call) {
  if (inherits(model, "spice_python_model")) {
    return(sent_python_model(model, call))
  }
  if (inherits(model, "spice_model")) {
    return(sent_declaration(model))
  }
  if (!rlang::is_string(model)) {
    abort_spicestat(
      "config", "`model` must be a name, a spice_model() or a spice_python_model().",
      call = call
    )
  }
  enc2utf8(model)
}

sent_declaration <- function(model) {
  texts <- function(x) as.list(enc2utf8(x))
  modules <- lapply(model$modules, function(module) {
    list(
      name = module$name, target = module$target, inputs = texts(module$uses),
      kind = module$kind, cells = module$cells, toward = module$toward
    )
  })
  states <- Map(function(name, value) list(name, value), names(model$states), as.double(model$states))
  list(
    modules = modules, states = unname(states), betas = texts(model$betas), hidden = texts(model$hidden),
    inputs = texts(model$inputs), counterfactual = model$counterfactual, name = model$name
  )
}

sent_python_model <- function(model, call) {
  if (engine_place(call) == "subprocess") {
    abort_spicestat(
      "config",
      c(
        "a Python class cannot be sent to the engine's own process.",
        i = "Use options(spicestat.engine = \"embedded\") and restart R, or describe it with spice_model()."
      ),
      call = call
    )
  }
  config <- model$config
  if (is.list(config)) config <- lapply(config, sent_names)
  list(class = model$class, config = config)
}

# names that are lists in Python, also if there is only one; a list without
# names is a filter such as list("c_action", 1, TRUE)
sent_names <- function(x) {
  if (!is.list(x)) {
    return(as.list(x))
  }
  if (is.null(names(x))) x else lapply(x, sent_names)
}
