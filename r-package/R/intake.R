# What other software leaves in a table of people: labelled columns, codes for missing values, blank cells, labels that
# look alike. Rules and messages are those of spicestat/trials/missing_codes.py, so that an engine in R reads the same
# table.

#' A column as one of R's own types, where it is one in another guise
#'
#' SPSS and Stata files read by haven have labelled columns, and `scale()` gives matrices.
#' @noRd
plain_column <- function(x) {
  class(x) <- setdiff(class(x), if (is.object(x)) c("AsIs", "labelled", "noquote"))
  if (inherits(x, "POSIXlt")) {
    return(as.POSIXct(x))
  }
  if (inherits(x, "haven_labelled")) {
    return(plain_labelled(x))
  }
  # a matrix of one column, or a vector with a dimension
  if (is.atomic(x) && !is.null(dim(x)) && length(x) == dim(x)[[1]]) as.vector(x) else x
}

#' A factor where all values have labels, else numbers; missing where the file says so
#' @noRd
plain_labelled <- function(x) {
  labels <- attr(x, "labels")
  range <- attr(x, "na_range")
  if (length(range) != 2) range <- c(Inf, -Inf)
  absent <- function(values) {
    values %in% attr(x, "na_values") | (!is.na(values) & values >= range[1] & values <= range[2])
  }
  values <- as.vector(unclass(x))
  values[absent(values)] <- NA
  labels <- labels[!absent(labels)]
  if (length(labels) > 0 && all(values %in% c(labels, NA))) {
    return(factor(names(labels)[match(values, labels)], unique(names(labels))))
  }
  values
}

#' The argument `missing` as a list: values for all columns, or named by columns
#'
#' @return `NULL`, an unnamed list of values, or a named list of lists.
#' @noRd
missing_values <- function(missing, call) {
  if (is.null(missing)) {
    return(NULL)
  }
  named <- !is.null(names(missing))
  given <- if (named) lapply(as.list(missing), as.list) else as.list(missing)
  values <- if (named) unlist(given, recursive = FALSE) else given
  plain <- vapply(values, function(value) length(value) == 1 && is.atomic(value) && !is.na(value), NA)
  if (!all(plain) || (named && any(names(missing) == ""))) {
    abort_spicestat("config", c(
      "`missing` must be numbers and text that stand for a missing value.",
      i = "For all columns: missing = c(-99, \"NR\"). For some: missing = list(age = -99, group = c(\"NR\", \"?\")).",
      i = "missing = list(age = list()) says that all values of a column are meant."
    ), call = call)
  }
  given
}

#' Has the user decided about a column, so that codes in it are meant?
#' @noRd
settles <- function(missing, name) {
  !is.null(missing) && (is.null(names(missing)) || name %in% names(missing))
}

#' A table of people with plain columns, in which missing values and blank text are NA
#' @noRd
plain_people <- function(people, id, missing) {
  people <- as.data.frame(people)
  for (name in names(people)) {
    column <- plain_column(people[[name]])
    values <- if (is.null(names(missing))) missing else missing[[name]]
    people[[name]] <- if (name == id) column else mark_missing(blanked(column), values)
  }
  people
}

mark_missing <- function(x, values) {
  if (length(values) == 0 || !is.atomic(x)) {
    return(x)
  }
  texts <- trimws(vapply(values, label_text, ""))
  gone <- trimws(label_text(x)) %in% texts
  if (!any(gone)) {
    return(x)
  }
  x[gone] <- NA
  x <- if (is.factor(x)) droplevels(x) else x
  numbers <- suppressWarnings(as.numeric(x[!is.na(x)]))
  if (is.character(x) && length(numbers) > 0 && !anyNA(numbers)) as.numeric(x) else x
}

#' Text without blanks around it, NA where nothing is left
#' @noRd
blanked <- function(x) {
  if (is.factor(x)) {
    # a level that is NA, as addNA() makes it, is meant
    levels(x) <- trimws(replace(levels(x), is.na(levels(x)), "NA"))
    return(if ("" %in% levels(x)) droplevels(x, exclude = "") else x)
  }
  if (!is.character(x)) {
    return(x)
  }
  x <- trimws(x)
  replace(x, !is.na(x) & x == "", NA)
}

missing_words <- c(
  "na", "nan", "n/a", "#n/a", "n.a.", "n.a", "<na>", "nr", "n.r.", ".", "-", "--", "?", "missing", "miss", "missed"
)
large_codes <- local({
  repeated <- as.numeric(outer(7:9, 2:5, function(digit, length) strrep(digit, length)))
  below <- c(10^(2:4) - 2, 10^(2:4) - 3)
  c(repeated, below, -repeated, -below)
})
small_codes <- c(-1, 0, 9, -9, -8, -7)

#' Look at covariates for codes, labels that look alike, and numbers that came as text
#'
#' @param used Columns that the model uses: what can be nothing but a code is an error there.
#' @noRd
notice_covariates <- function(people, missing, used, call) {
  for (name in names(people)) {
    x <- people[[name]]
    if (is.numeric(x) && !is.object(x)) {
      if (!settles(missing, name)) notice_numbers(x, name, name %in% used, call)
    } else if (is.character(x) || is.factor(x)) {
      notice_text(as.character(x[!is.na(x)]), name, missing, name %in% used, call)
    }
  }
}

notice_numbers <- function(x, name, used, call) {
  x <- x[is.finite(x)]
  for (value in sort(unique(x))) {
    strength <- code_strength(value, x)
    sure <- strength >= 7.5 && value != 0 && (value %in% large_codes || sum(x == value) > 1)
    if (strength >= if (sum(x == value) >= 5) 1 else 1.5) tell_number(value, x, name, used && sure, call)
  }
}

tell_number <- function(value, x, name, refuse, call) {
  found <- paste0(
    "covariate column '", name, "' has the value ", value, " in ", sum(x == value), " of ", length(x), " rows"
  )
  advice <- paste0(
    "if it means a missing value, pass ", r_missing(name, value), "; if it is real, ", r_missing(name), " says so."
  )
  if (refuse) {
    abort_spicestat("covariate", paste0(
      found, ", far from all others, and it is a usual code for missing values. Try: ", advice
    ), call = call)
  }
  warn_spicestat("suspicious_data", paste0(found, ", which looks like a code for missing values: ", advice))
}

#' The distance of a code from all other values, in their interquartile ranges; 0 where there is nothing odd
#' @noRd
code_strength <- function(value, x) {
  rest <- x[x != value & !x %in% setdiff(large_codes, value)]
  if (!may_be_code(value, x, rest)) {
    return(0)
  }
  scale <- c(stats::IQR(rest), diff(range(rest)), max(abs(rest), 1))
  strength <- max(value - max(rest), min(rest) - value, 0) / scale[scale > 0][[1]]
  # the only negative value, or the only one besides two
  others <- length(unique(rest))
  outside <- value < min(rest) || value > max(rest)
  alone <- length(rest) >= 5 && ((value < 0 && min(rest) >= 0 && others >= 2) || (outside && others == 2))
  max(strength, if (alone) 1.5)
}

may_be_code <- function(value, x, rest) {
  if (value %in% large_codes) {
    return(length(rest) >= 2)
  }
  value %in% small_codes && mean(x == value) <= .1 && length(rest) >= 5 && min(rest) < max(rest)
}

notice_text <- function(x, name, missing, used, call) {
  levels <- unique(x)
  tell_alike(levels, name)
  is_number <- !is.na(text_number(x))
  if (settles(missing, name) || length(x) == 0) {
    return(invisible())
  }
  if (all(is_number)) {
    return(tell_text(levels, name))
  }
  words <- levels[tolower(levels) %in% missing_words | text_number(levels) %in% large_codes]
  if (mean(is_number) >= .8 && sum(is_number) >= 3) {
    tell_odd(x[!is_number], sum(is_number), name, used && all(x[!is_number] %in% words), call)
  } else if (length(words) > 0) {
    warn_spicestat("suspicious_data", paste0(
      "covariate column '", name, "' has ", paste0("'", words, "'", collapse = ", "), " in ", sum(x %in% words), " of ",
      length(x), " rows, which counts as a category of its own: if it stands for a missing value, pass ",
      r_missing(name, words), "; if not, ", r_missing(name), " says so."
    ))
  }
}

#' The number that a text says, also with a decimal comma; NA for other text
#' @noRd
text_number <- function(x) suppressWarnings(as.numeric(sub(",", ".", x, fixed = TRUE)))

#' Tell of numbers stored as text where they make many categories, and are no names such as 007
#' @noRd
tell_text <- function(levels, name) {
  if (length(levels) > 5 && !any(grepl("^0[0-9]", levels))) {
    warn_spicestat("suspicious_data", paste0(
      "covariate column '", name, "' has numbers that are stored as text, and counts as ", length(levels),
      " categories: convert it with as.numeric() if it is meant as a number."
    ))
  }
}

#' Tell of the cells that make text of a column of numbers
#' @noRd
tell_odd <- function(cells, n_numbers, name, refuse, call) {
  odd <- utils::head(unique(cells), 5)
  found <- paste0(
    "covariate column '", name, "' is text because of ", paste0("'", odd, "'", collapse = ", "), " among ",
    n_numbers, " numbers"
  )
  advice <- paste0("correct the cells or, where they stand for missing values, pass ", r_missing(name, odd), ".")
  if (refuse) {
    abort_spicestat("covariate", paste0(found, ". Try: ", advice), call = call)
  }
  warn_spicestat("suspicious_data", paste0(
    found, "; as categories each number would have an effect of its own: ", advice
  ))
}

tell_alike <- function(levels, name) {
  plain <- gsub("(?<![0-9.])0+(?=[0-9])", "", gsub("[[:space:]]", "", tolower(levels)), perl = TRUE)
  groups <- split(levels, sub("^(-?[0-9]+)[.]0$", "\\1", plain))
  groups <- groups[lengths(groups) > 1]
  if (length(groups) > 0) {
    shown <- vapply(groups, function(group) paste0("'", group, "'", collapse = ", "), "")
    warn_spicestat("suspicious_data", paste0(
      "covariate column '", name, "' has labels that differ only in case, blanks or zeros around a number, and count ",
      "as different: ", paste(utils::head(shown, 3), collapse = "; "), "; correct them if they mean the same."
    ))
  }
}

#' The argument that makes values of a column missing, as code
#' @noRd
r_missing <- function(name, values = NULL) {
  quoted <- if (is.character(values)) paste0("'", values, "'") else values
  shown <- if (length(values) == 0) "list()" else paste(quoted, collapse = ", ")
  column <- if (make.names(name) == name) name else paste0("`", name, "`")
  paste0("missing = list(", column, " = ", if (length(values) > 1) paste0("c(", shown, ")") else shown, ")")
}

#' Messages of the engine with that argument as code of R
#' @noRd
r_remedies <- function(message) {
  found <- gregexpr("missing=\\{'[^'\\\\]*': \\[[^]]*\\]\\}", message)
  regmatches(message, found) <- lapply(regmatches(message, found), function(texts) {
    vapply(texts, function(text) {
      parts <- regmatches(text, regexec("^missing=\\{'(.*)': \\[(.*)\\]\\}$", text))[[1]]
      shown <- r_missing(parts[[2]])
      if (parts[[3]] == "") {
        return(shown)
      }
      sub("list()", if (grepl(", ", parts[[3]])) paste0("c(", parts[[3]], ")") else parts[[3]], shown, fixed = TRUE)
    }, "", USE.NAMES = FALSE)
  })
  message
}
