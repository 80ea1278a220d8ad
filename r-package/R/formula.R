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
