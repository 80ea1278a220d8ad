# Text among the covariates has one effect per different value, which is hardly meant where there are many. Factors are
# compared with their first level, whatever their own contrasts.

#' Refuse categories that leave nothing to estimate from, and tell of text with many
#'
#' Covariates that the formula converts, as in `as.numeric(x)` or `factor(x)`, are left to it.
#' @noRd
check_categories <- function(formula, people, id, call, native = FALSE) {
  people <- as.data.frame(people)[setdiff(names(people), id)]
  if ("." %in% all.vars(formula)) {
    used <- names(people)
  } else {
    used <- intersect(as.character(plain_variables(formula)), names(people))
  }
  for (name in used) {
    values <- people[[name]]
    if (is.character(values) || is.factor(values)) check_category(values[!is.na(values)], name, call)
    tell_contrasts(values, name, native)
  }
}

#' Say once that effects compare with the first level, where a factor asks for something else
#' @noRd
tell_contrasts <- function(values, name, native) {
  own <- attr(values, "contrasts")
  kept <- identical(own, "contr.treatment") || (native && is.character(own))
  if (kept || !(is.ordered(values) || !is.null(own))) {
    return(invisible())
  }
  what <- if (is.ordered(values)) {
    paste0("ordered factor '", name, "' is coded with treatment contrasts")
  } else {
    paste0("the contrasts of factor '", name, "' are not used, but treatment contrasts")
  }
  trend <- if (is.ordered(values)) paste0("For a linear trend use as.numeric(", name, "). ")
  rlang::inform(c(
    paste0(what, ": each effect compares a level with the first, '", levels(values)[[1]], "'."),
    i = paste0(trend, "emmeans::contrast() makes other comparisons.")
  ), class = "spicestat_message_contrasts", .frequency = "once", .frequency_id = paste0("spicestat_contrasts_", name))
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
