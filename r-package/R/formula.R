# Formulas as they are written: without random parts, and with the variables that they name.

as_formula <- function(formula, call) {
  if (rlang::is_string(formula)) {
    check_text(formula, call)
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

# what formulas that are text may call; I(system("...")) is no covariate
text_functions <- c(
  "~", "+", "-", "*", "/", ":", "^", "%in%", "(", "|", "||", "==", "!=", "<", "<=", ">", ">=", "!", "&", "I", "c",
  "log", "log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "round", "min", "max", "mean", "median", "sd",
  "C", "factor", "as.factor", "ordered", "relevel", "cut", "ifelse", "interaction", "as.numeric", "as.integer",
  "as.character", "scale", "poly", "ns", "bs", "contr.treatment", "contr.sum", "contr.helmert", "contr.poly",
  "contr.SAS", "pmin", "pmax"
)

#' Text may come from a file, and must not do what it likes
#' @noRd
check_text <- function(formula, call) {
  read <- tryCatch(str2lang(formula), error = function(error) NULL)
  unknown <- setdiff(calls_in(read), text_functions)
  if (length(unknown) > 0) {
    abort_spicestat("formula", c(
      paste0("a formula that is text may not call ", name_some(unknown), "."),
      i = paste0("Write it as a formula, without quotes: ", formula, ".")
    ), call = call)
  }
}

#' Names of what an expression calls
#' @noRd
calls_in <- function(expr) {
  if (is.call(expr)) unlist(c(deparse1(expr[[1]]), lapply(as.list(expr)[-1], calls_in)))
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

#' Random parts of a formula, as lme4 reads them
#'
#' `(1 | a/b)` is `(1 | a) + (1 | a:b)`. With `||` every column of a part has a variance of its own.
#'
#' @return A list of lists: `text`, `effects` (a one-sided formula), `groups` (a list of expressions) and `correlated`.
#' @noRd
random_parts <- function(formula) {
  bars <- bars_in(formula[[length(formula)]])
  parts <- lapply(bars, function(bar) {
    effects <- rlang::new_formula(NULL, bar[[2]], env = parent_of_data(formula))
    lapply(nested_groups(bar[[3]]), function(groups) {
      list(text = paste0("(", deparse1(bar), ")"), effects = effects, groups = groups, correlated = is_call(bar, "|"))
    })
  })
  unlist(parts, recursive = FALSE)
}

bars_in <- function(side) {
  if (is_call(side, c("|", "||"))) {
    return(list(side))
  }
  if (is.call(side)) unlist(lapply(as.list(side)[-1], bars_in), recursive = FALSE)
}

nested_groups <- function(side) {
  if (is_call(side, "(")) {
    return(nested_groups(side[[2]]))
  }
  if (is_call(side, "/")) {
    outer <- nested_groups(side[[2]])
    inner <- lapply(nested_groups(side[[3]]), function(groups) c(outer[[length(outer)]], groups))
    return(c(outer, inner))
  }
  if (is_call(side, ":")) {
    return(list(c(nested_groups(side[[2]])[[1]], nested_groups(side[[3]])[[1]])))
  }
  list(list(side))
}
