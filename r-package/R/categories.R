# Text among the covariates has one effect per different value, which is hardly meant where there are many.

#' Refuse categories that leave nothing to estimate from, and tell of text with many
#'
#' Covariates that the formula converts, as in `as.numeric(x)` or `factor(x)`, are left to it.
#' @noRd
check_categories <- function(formula, people, id, call) {
  people <- as.data.frame(people)[setdiff(names(people), id)]
  if ("." %in% all.vars(formula)) {
    used <- names(people)
  } else {
    used <- intersect(as.character(plain_variables(formula)), names(people))
  }
  for (name in used) {
    values <- people[[name]]
    if (is.character(values) || is.factor(values)) check_category(values[!is.na(values)], name, call)
  }
}

#' Variables of a formula that stand in it as they are
#' @noRd
plain_variables <- function(formula) {
  Filter(is.symbol, as.list(attr(stats::terms(formula), "variables"))[-1])
}

check_category <- function(values, name, call) {
  n <- length(unique(values))
  kind <- if (is.factor(values)) "a factor" else "text"
  numbers <- n > 2 && !anyNA(suppressWarnings(as.numeric(as.character(values))))
  advice <- if (numbers) {
    paste0("They are numbers stored as ", kind, ": convert them with as.numeric(as.character(", name, ")).")
  } else {
    "Combine categories, or leave the column out."
  }
  if (n > 2 && n >= length(values) - 1) {
    abort_spicestat("covariate", c(
      paste0(
        "column '", name, "' has ", n, " different values in ", length(values),
        " participants, and as categories each would have an effect of its own."
      ),
      i = advice
    ), call = call)
  }
  if (n > most_categories(values, numbers)) warn_categories(name, kind, n, advice)
}

#' Up to how many categories nothing is said: a factor that has names is meant
#' @noRd
most_categories <- function(values, numbers) {
  if (is.factor(values)) {
    return(if (numbers) 10 else Inf)
  }
  if (numbers) 5 else 10
}

warn_categories <- function(name, kind, n, advice) {
  warn_spicestat("categories", c(
    paste0("column '", name, "' is ", kind, ", and is taken for ", n, " categories with ", n - 1, " effects."),
    i = advice, i = if (kind == "text") "factor() says that this is meant, and no warning comes."
  ))
}
