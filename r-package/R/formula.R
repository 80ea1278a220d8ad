# The engine's formula language is R's but for as.factor(), which it calls factor().

#' A model formula as text for the engine
#' @noRd
formula_text <- function(formula, call) {
  formula <- as_formula(formula, call)
  replaced <- do.call(substitute, list(formula, list(as.factor = quote(factor))))
  enc2utf8(paste(deparse(replaced, width.cutoff = 500L), collapse = " "))
}

as_formula <- function(formula, call) {
  if (rlang::is_string(formula)) {
    formula <- tryCatch(stats::as.formula(formula, env = globalenv()), error = function(error) {
      abort_spicestat("formula", c(
        "cannot read the formula.",
        x = conditionMessage(error),
        i = if (!grepl("~", formula, fixed = TRUE)) paste0("Write ~ ", formula, ".")
      ), call = call)
    })
  }
  if (!inherits(formula, "formula")) {
    abort_spicestat(
      "formula", "`formula` must be a formula such as ~ diagnosis + age.",
      call = call
    )
  }
  formula
}

#' A formula without its random parts, such as (1 | site)
#' @noRd
fixed_part <- function(formula) {
  side <- without_bars(formula[[length(formula)]])
  formula[[length(formula)]] <- if (is.null(side)) 1 else side
  formula
}

#' A side of a formula without random parts; NULL where nothing is left
#' @noRd
without_bars <- function(side) {
  if (!has_bars(side) || is_call(side, c("|", "||"))) {
    return(if (!has_bars(side)) side)
  }
  if (is_call(side, "(")) {
    return(without_bars(side[[2]]))
  }
  parts <- lapply(as.list(side)[-1], without_bars)
  kept <- Filter(Negate(is.null), parts)
  if (length(kept) == length(parts)) as.call(c(side[[1]], parts)) else if (length(kept) > 0) kept[[1]]
}

is_call <- function(side, names) is.call(side) && as.character(side[[1]])[[1]] %in% names

has_bars <- function(side) any(c("|", "||") %in% all.names(side))

#' The environment in which a model's formula means later what it meant when the model was fitted
#'
#' Holds the user's variables and functions that the formula names beside the columns, with the values that they had.
#' @noRd
kept_environment <- function(formula, columns) {
  from <- environment(formula)
  if (is.null(from)) from <- globalenv()
  kept <- new.env(parent = topenv(from))
  for (name in setdiff(all.names(formula, unique = TRUE), columns)) {
    owner <- users_environment(name, from)
    if (!is.null(owner)) assign(name, get(name, envir = owner, inherits = FALSE), envir = kept)
  }
  kept
}

#' Where a name is the user's own; NULL for those of packages
#' @noRd
users_environment <- function(name, from) {
  while (!identical(from, emptyenv()) && !isNamespace(from) && is.null(attr(from, "name"))) {
    if (exists(name, envir = from, inherits = FALSE)) {
      return(from)
    }
    from <- parent.env(from)
  }
  NULL
}
