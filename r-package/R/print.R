#' Print a fit or a group model
#'
#' Tables have the width of the console. Where there is no room for all columns
#' of a group model, standard errors are left out first, and then the p-values
#' before adjustment; of a fit, the median standard errors.
#'
#' @param x A [spice_fit()] or [spice_group()].
#' @param digits Significant digits of numbers, from 1 to 15; p-values always have three
#'   decimals.
#' @param ... Passed on to `format()`, which knows `digits` and nothing else.
#' @return `format()` returns lines of text; `print()` returns `x`, invisibly.
#' @export
#' @examples
#' example_fit
#' example_group
print.spice_fit <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname print.spice_fit
#' @export
format.spice_fit <- function(x, digits = 3, ...) {
  check_dots(...)
  digits <- check_digits(digits)
  table <- x$coefficients
  bad <- unidentified(table)
  c(
    paste0(
      "<spice_fit> ", count(length(unique(table$participant)), "participant"), ", ",
      count(stats::nobs(x), "trial")
    ),
    score_line(x$scores, digits),
    fit_notes(x$glance),
    unidentified_lines(bad),
    "",
    strwrap(terms_header(table), width = getOption("width")),
    term_lines(summary(x), digits),
    "What each term means: spice_report(fit, \"report.html\")."
  )
}

#' What the table of terms is of: people's own estimates, which differ more than people do
#' @noRd
terms_header <- function(table) {
  about <- if (any(is.finite(table[["pooled"]]))) {
    "of participants' own estimates, which scatter more than they do; tidy() has pooled ones"
  } else {
    "over the participants that have them"
  }
  shared <- if (any(table[["shared"]] %in% TRUE)) "; with sd 0, the population's, which is everybody's"
  paste0("Terms of the equations (mean and sd ", about, shared, "):")
}

#' Terms that somebody has as a table, those that nobody has in a sentence
#' @noRd
term_lines <- function(terms, digits) {
  absent <- terms$n.present == 0
  left_out <- vapply(split_in_order(terms$term[absent], terms$component[absent]), paste, "", collapse = ", ")
  c(
    fitting_table(terms[!absent, ], "median.std.error", digits),
    if (any(absent)) {
      text <- paste0("In nobody's equation are, of ", paste0(names(left_out), ": ", left_out, collapse = "; "), ".")
      strwrap(text, width = getOption("width"), exdent = 2)
    }
  )
}

#' How rewards were taken, and what contradicts itself; older fits do not say it
#' @noRd
fit_notes <- function(glance) {
  notes <- c(glance$rewards, glance$contradictions)
  notes <- notes[!is.na(notes) & nzchar(notes)]
  strwrap(paste0(toupper(substr(notes, 1, 1)), substring(notes, 2), "."), width = getOption("width"), exdent = 2)
}

score_line <- function(scores, digits) {
  shown <- paste(scores$model, format(scores$nll, digits = digits, trim = TRUE), collapse = ", ")
  strwrap(paste("Negative log likelihood per choice:", shown), width = getOption("width"), exdent = 2)
}

#' Who has no estimate of some term, and what that means for what comes next
#' @noRd
unidentified_lines <- function(bad) {
  if (length(bad) == 0) {
    return(NULL)
  }
  text <- paste0(
    "No identified estimate of some terms for ", count(length(bad), "participant"), " (", some(bad), "). Other ",
    "values fit their choices as well. They enter the means of other terms, and group models by \"hierarchical\", ",
    "which read choices; other methods leave these estimates out."
  )
  strwrap(text, width = getOption("width"), exdent = 2)
}

unidentified <- function(table) {
  unique(as.character(table$participant[table$at_bound | !table$converged]))
}

count <- function(n, what) {
  paste0(format(n, big.mark = ","), " ", what, if (n != 1) "s")
}

some <- function(labels, most = 5) {
  shown <- paste(utils::head(labels, most), collapse = ", ")
  if (length(labels) > most) paste0(shown, ", ...") else shown
}

#' @rdname print.spice_fit
#' @export
print.spice_group <- function(x, ...) {
  cat(format(x, ...), sep = "\n")
  invisible(x)
}

#' @rdname print.spice_fit
#' @export
format.spice_group <- function(x, digits = 3, ...) {
  check_dots(...)
  digits <- check_digits(digits)
  table <- tidy(x, conf.int = TRUE)
  notes <- x$messages[!startsWith(x$messages, withheld_start)]
  c(
    paste0("<spice_group> coefficient ", sub("^~ *", "~ ", x$formula), ", method \"", x$method, "\""),
    if (any(x$glance$withheld)) {
      strwrap(paste0("p-values and intervals are withheld where they are NA: ", withheld_because(x)))
    },
    if (!all(x$glance$converged)) "Not converged: see the column `converged` of glance().",
    contradiction_lines(x$glance),
    skipped_line(x$skipped),
    effect_lines(table, x, digits),
    together_lines(x, digits),
    if (length(notes) > 0) {
      c("", strwrap(paste0("Note: ", notes), width = getOption("width"), exdent = 2))
    },
    if (!is.null(x$fit)) c("", fit_line(x$fit))
  )
}

contradiction_lines <- function(glance) {
  found <- setdiff(unique(glance$contradictions), c("", NA))
  strwrap(found, width = getOption("width"), exdent = 2)
}

fit_line <- function(fit) {
  several <- inherits(fit, "list")
  kind <- class(if (several) fit[[1]] else fit)[[1]]
  if (several) {
    paste0("$fit: ", length(fit), " ", kind, " objects, such as $fit[[\"", names(fit)[[1]], "\"]]")
  } else {
    paste0("$fit: ", kind)
  }
}

#' What the equations lack by their structure is no loss, and hence not mentioned
#' @noRd
skipped_line <- function(skipped) {
  lost <- skipped$reason[!grepl("^(in no participant's equation|fixed at )", skipped$reason)]
  if (length(lost) > 0) {
    why <- if (length(unique(lost)) == 1) paste0(" (", lost[[1]], ")")
    text <- paste0("Not analysed: ", count(length(lost), "coefficient"), why, "; see $skipped")
    strwrap(text, width = getOption("width"), exdent = 2)
  }
}

#' One paragraph per coefficient of the equations
#' @noRd
effect_lines <- function(table, group, digits) {
  # there are no p-values in a posterior
  p <- if (!all(is.na(table$p.value)) || all(is.na(table$conf.low))) c("p.value", "p.adjusted")
  lines <- fitting_table(
    table[c("term", "estimate", "std.error", "conf.low", "conf.high", p)], c("std.error", "p.value"), digits
  )
  key <- paste0(table$component, ", ", table$sparse.term, effect_note(group, table))
  paragraphs <- lapply(unique(key), function(one) {
    c("", paste0(one, ":"), lines[1], lines[-1][key == one])
  })
  unlist(paragraphs)
}

#' Tests of terms for all coefficients together, where there are several and their covariance is known
#' @noRd
together_lines <- function(group, digits) {
  table <- tidy(group)
  several <- length(unique(paste(table$component, table$sparse.term, sep = ":"))) > 1
  # there are no p-values in a posterior
  if (!several || is.null(group$joint_covariance) || is.null(group$design) || all(is.na(table$p.value))) {
    return(NULL)
  }
  tests <- stats::anova(group, across = TRUE)
  found <- data.frame(
    term = rownames(tests), num.df = as.integer(tests$Df), den.df = tests[["Den Df"]],
    statistic = tests[["F value"]], p.value = tests[["Pr(>F)"]]
  )
  found <- found[!is.na(found$p.value), ]
  if (nrow(found) > 0) c("", "all coefficients, together:", fitting_table(found, "num.df", digits))
}

# decimals, not digits: an adjusted value must not look smaller than the one it adjusts
p_text <- function(p) {
  ifelse(is.na(p), "NA", ifelse(p < 0.001, "<0.001", sprintf("%.3f", p)))
}

#' A table in the width of the console: closer together, and then without the `dispensable` columns, one by one
#' @noRd
fitting_table <- function(table, dispensable, digits, width = getOption("width")) {
  lines <- text_table(table, digits = digits)
  for (name in c("", dispensable)) {
    if (max(nchar(lines)) <= width) break
    table <- table[setdiff(names(table), name)]
    lines <- text_table(table, gap = " ", digits = digits)
  }
  lines
}

check_digits <- function(digits, call = rlang::caller_env()) {
  if (!rlang::is_integerish(digits, n = 1, finite = TRUE) || digits < 1 || digits > 15) {
    abort_spicestat("config", paste0("`digits` must be a whole number from 1 to 15. Got: ", deparse1(digits), "."),
      call = call
    )
  }
  as.integer(digits)
}

#' Lines of an aligned table: text to the left, numbers to the right
#' @noRd
text_table <- function(table, gap = "  ", digits = 3) {
  cells <- lapply(names(table), function(name) {
    column <- table[[name]]
    text <- if (name %in% c("p.value", "p.adjusted")) {
      p_text(column)
    } else if (is.double(column)) {
      formatC(column, digits = digits, format = "fg", flag = "#")
    } else {
      as.character(column)
    }
    text <- trimws(sub("\\.$", "", text))
    formatted <- format(c(name, text), justify = if (is.numeric(column)) "right" else "left")
    if (is.numeric(column)) formatC(trimws(formatted), width = max(nchar(formatted))) else formatted
  })
  lines <- do.call(paste, c(cells, sep = gap))
  paste0("  ", sub("\\s+$", "", lines))
}
