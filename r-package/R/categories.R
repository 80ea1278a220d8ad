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
  if (!(is.ordered(values) || !is.null(own)) || identical(own, "contr.treatment") || (native && is.character(own))) {
    return(invisible())
  }
  rlang::inform(c(
    paste0(
      if (is.ordered(values)) "ordered factor '" else "the contrasts of factor '", name,
      if (is.ordered(values)) "' is coded with treatment contrasts" else "' are not used, but treatment contrasts",
      ": each effect compares a level with the first, '", levels(values)[[1]], "'."
    ),
    i = paste0("For a linear trend use as.numeric(", name, "); for other comparisons, emmeans::contrast().")
  ), class = "spicestat_message_contrasts", .frequency = "once", .frequency_id = paste0("spicestat_contrasts_", name))
}

#' Variables of a formula that stand in it as they are
#' @noRd
plain_variables <- function(formula) {
  Filter(is.symbol, as.list(attr(stats::terms(formula), "variables"))[-1])
}

check_category <- function(values, name, call) {
  n <- length(unique(values))
  numbers <- n > 2 && !anyNA(suppressWarnings(as.numeric(as.character(values))))
  advice <- if (numbers) {
    kind <- if (is.factor(values)) "a factor" else "text"
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
  text <- is.character(values)
  if ((text || numbers) && (n > 10 || (text && numbers && n > 5))) {
    warn_spicestat("categories", c(
      paste0(
        "column '", name, "' is ", if (text) "text" else "a factor", ", and is taken for ", n, " categories with ",
        n - 1, " effects."
      ),
      i = advice, i = if (text) "factor() says that this is meant, and no warning comes."
    ))
  }
}
