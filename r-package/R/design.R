# Formulas are R's for every method: R makes the design, with the session's contrasts, functions and variables, and the
# engine is given the matrix.

#' Design of a one-sided formula on a table of participants
#'
#' @param people A data frame with the column `participant`.
#' @return A list: `formula` (with fixed centres where it has `scale()` and the
#'   like), `frame` (participant and covariates, ready for any modelling
#'   function), `matrix`, `rows`, positions in `people`, `random`, the random parts, and what
#'   makes the matrix of other people: `terms`, `contrasts`, `xlevels`, `assign`.
#' @noRd
group_design <- function(formula, people, call) {
  check_design_formula(formula, people, call)
  used <- intersect(all.vars(formula), names(people))
  for (name in used) if (is.list(people[[name]])) refuse_type(people[[name]], name, call)
  complete <- stats::complete.cases(people[used]) | length(used) == 0
  if (!any(complete)) {
    abort_spicestat("data", "no participant has all the covariates of the formula.", call = call)
  }
  warn_lacking(people, used, complete)
  frame <- people[complete, unique(c("participant", used)), drop = FALSE]
  rownames(frame) <- NULL
  check_session_lengths(formula, frame, call)
  made <- evaluated(design_matrix(fixed_part(formula), frame, call), call)
  check_design(made$matrix, frame$participant, call)
  random <- evaluated(lapply(random_parts(formula), random_design, frame = frame, call = call), call)
  c(made, list(frame = frame, rows = which(complete), random = random))
}

evaluated <- function(code, call) {
  tryCatch(code, error = function(error) {
    if (inherits(error, "spicestat_error")) stop(error)
    abort_spicestat("formula", paste0("the formula cannot be evaluated: ", conditionMessage(error)), call = call)
  })
}

formula_example <- "a one-sided formula such as ~ diagnosis + age, ~ diagnosis * age or ~ 1"

check_one_sided <- function(formula, call) {
  if (length(formula) > 2) {
    abort_spicestat("formula", paste0(
      "the formula has a left-hand side. Allowed: ", formula_example,
      ". Try: write nothing before '~'; the outcome is each coefficient of the equations in turn."
    ), call = call)
  }
}

check_design_formula <- function(formula, people, call) {
  check_one_sided(formula, call)
  if (!is.null(attr(stats::terms(fixed_part(formula)), "offset"))) {
    abort_spicestat("formula", "the formula has an offset, which coefficients lack.", call = call)
  }
  check_known_variables(formula, names(people), "participant", call)
}

check_known_variables <- function(formula, columns, id, call) {
  alone <- as.character(plain_variables(fixed_part(formula)))
  unknown <- Filter(function(name) {
    # contr.sum in C(dose, contr.sum)
    is_argument <- !name %in% alone && exists(name, parent_of_data(formula), mode = "function")
    !name %in% columns && !is_argument && is.null(session_value(name, formula))
  }, all.vars(formula))
  if (length(unknown) > 0) {
    known <- setdiff(columns, id)
    abort_spicestat("formula", paste0(
      "the formula names the unknown variable '", unknown[[1]], "'. Allowed: ",
      if (length(known) > 0) paste(known, collapse = ", ") else "(no covariates were given)",
      ". Try: correct the name, or pass the table that holds it as `data`."
    ), call = call)
  }
}

#' A variable of the session that a formula may name: numbers, text, dates or factors; NULL for anything else
#' @noRd
session_value <- function(name, formula) {
  value <- get0(name, envir = parent_of_data(formula))
  if (is.atomic(value) && !is.null(value)) value
}

#' Variables of the session with a value for each row of the data become columns of it, as with lm()
#' @noRd
with_session_columns <- function(data, formula, aliases) {
  for (name in setdiff(all.vars(formula), c(names(data), aliases))) {
    value <- session_value(name, formula)
    if (nrow(data) > 1 && NROW(value) == nrow(data)) data[[name]] <- plain_column(value)
  }
  data
}

#' Participants are not in the order of the session's variables
#' @noRd
check_session_lengths <- function(formula, frame, call) {
  for (name in setdiff(all.vars(formula), names(frame))) {
    if (nrow(frame) > 1 && length(session_value(name, formula)) == nrow(frame)) {
      abort_spicestat("formula", paste0(
        "the variable '", name, "' has ", nrow(frame), " values, but not one for each row of the covariates, so that ",
        "it is not known whose they are. Try: make it a column of `data`."
      ), call = call)
    }
  }
}

#' A formula in which `.` is all covariates
#' @noRd
without_dot <- function(formula, covariates, call) {
  if (!"." %in% all.vars(formula)) {
    return(formula)
  }
  if (length(covariates) == 0) {
    abort_spicestat("formula", "the formula has '.', and there are no covariates.", call = call)
  }
  columns <- as.data.frame(stats::setNames(rep(list(0), length(covariates)), covariates), optional = TRUE)
  side <- stats::formula(stats::terms(fixed_part(formula), data = columns, simplify = TRUE))[[2]]
  for (bar in bars_in(formula[[2]])) side <- call("+", side, call("(", bar))
  formula[[2]] <- side
  formula
}

#' Matrix of a formula, what makes it of other people, and the formula with the centres and scales of these data in it
#' @noRd
design_matrix <- function(formula, frame, call) {
  model <- stats::model.frame(formula, frame, na.action = stats::na.pass, drop.unused.levels = TRUE)
  check_variables(model, frame, call)
  terms <- stats::terms(model)
  matrix <- stats::model.matrix(terms, model)
  if (ncol(matrix) == 0) stop("it has no coefficients")
  from <- as.list(attr(terms, "variables"))[-1]
  to <- lapply(as.list(attr(terms, "predvars"))[-1], frozen, frame = frame, env = parent_of_data(formula))
  attr(terms, "predvars") <- as.call(c(quote(list), to))
  fixed <- formula
  fixed[[2]] <- replace_calls(formula[[2]], from, to)
  list(
    formula = fixed, matrix = matrix[, , drop = FALSE], assign = attr(matrix, "assign"), model = model, terms = terms,
    contrasts = attr(matrix, "contrasts"), xlevels = stats::.getXlevels(terms, model),
    factors = factors_of(model, frame)
  )
}

#' What a formula makes of all participants together, such as mean(age), as the value that it had in these
#'
#' Other people would have another, as R's own models take it.
#' @noRd
frozen <- function(expr, frame, env) {
  if (!is.call(expr) || !any(all.vars(expr) %in% names(frame))) {
    return(expr)
  }
  value <- tryCatch(eval(expr, frame, env), error = function(error) NULL)
  if (is.atomic(value) && !is.null(value) && NROW(value) != nrow(frame)) {
    return(value)
  }
  if (is.factor(value) && is_call(expr, "cut")) expr <- with_breaks(expr, value, frame, env)
  expr[-1] <- lapply(as.list(expr)[-1], frozen, frame = frame, env = env)
  expr
}

#' cut(age, 2) with the breaks that two parts of these ages have, and their labels
#' @noRd
with_breaks <- function(expr, value, frame, env) {
  expr <- match.call(base::cut.default, expr)
  n <- eval(expr$breaks, frame, env)
  if (length(n) == 1) {
    # as cut.default() has them
    ends <- range(eval(expr$x, frame, env), na.rm = TRUE)
    breaks <- seq(ends[1], ends[2], length.out = n + 1)
    expr$breaks <- replace(breaks, c(1, n + 1), ends + c(-1, 1) * diff(ends) / 1000)
    expr$labels <- levels(value)
  }
  expr
}

#' The design of other people, with the levels, contrasts and centres of a model; rows with missing values stay
#' @noRd
matrix_for <- function(design, data) {
  stats::model.matrix(design$terms, frame_for(design, data), contrasts.arg = design$contrasts)
}

#' What the formula computes of other people's covariates
#' @noRd
frame_for <- function(design, data) {
  withCallingHandlers(
    stats::model.frame(design$terms, data, na.action = stats::na.pass, xlev = design$xlevels),
    warning = function(warning) {
      # they are in design$contrasts
      if (grepl("^contrasts dropped", conditionMessage(warning))) invokeRestart("muffleWarning")
    }
  )
}

#' Refuse to make the design of other people where a row's values depend on who else is there, as with rank(age)
#' @noRd
check_by_row <- function(group, call) {
  design <- known_design(group, call)
  whole <- matrix_for(design, design$frame)
  some <- seq_len(max(1, nrow(whole) %/% 3))
  part <- tryCatch(matrix_for(design, design$frame[some, , drop = FALSE]), error = function(error) NULL)
  same <- !is.null(part) && isTRUE(all.equal(unname(part[some, ]), unname(whole[some, ]), check.attributes = FALSE))
  if (!same) {
    abort_spicestat("formula", c(
      paste0(
        "what the formula ", group$formula, " makes of a person depends on who else is there, so that it is not known ",
        "for other people."
      ),
      i = "Compute the column in the data first."
    ), call = call)
  }
}

replace_calls <- function(expr, from, to) {
  for (i in seq_along(from)) {
    if (identical(expr, from[[i]])) {
      return(to[[i]])
    }
  }
  if (is.call(expr)) expr[-1] <- lapply(expr[-1], replace_calls, from, to)
  expr
}

# a matrix, as poly() gives it, has a class too
is_number <- function(x) is.numeric(x) && (!is.object(x) || !is.null(dim(x)) || inherits(x, "AsIs"))

is_category <- function(x) is.factor(x) || is.character(x) || is.logical(x)

#' Refuse variables of a formula that cannot be used
#' @noRd
check_variables <- function(model, frame, call) {
  for (name in names(model)) {
    x <- model[[name]]
    if (is_category(x)) {
      check_levels_of(x, name, call)
    } else if (!is_number(x)) {
      refuse_type(x, name, call)
    } else if (name %in% names(frame)) {
      check_finite(x, name, frame$participant, call)
    }
  }
}

refuse_type <- function(x, name, call) {
  abort_spicestat("covariate", c(
    paste0(
      "covariate '", name, "' has an unusable type. Got: ", class(x)[[1]],
      ". Allowed: numbers, text, logicals, factors."
    ),
    i = if (inherits(x, c("Date", "POSIXct", "difftime"))) {
      paste0("as.numeric(", name, ") in the formula makes a number of it: days, seconds, or its own units.")
    } else {
      "Make a column with one value for each participant of it."
    }
  ), call = call)
}

check_finite <- function(x, name, who, call) {
  if (any(is.infinite(x))) {
    abort_spicestat("covariate", paste0(
      "covariate '", name, "' is infinite for participants ", name_some(who[is.infinite(x)]), "."
    ), call = call)
  }
}

check_levels_of <- function(x, name, call) {
  found <- unique(as.character(x[!is.na(x)]))
  if (length(found) < 2) {
    abort_spicestat("covariate", paste0(
      "the factor '", name, "' has a single level. Got: '", found,
      "'. Try: leave it out of the formula, or add participants of another level."
    ), call = call)
  }
}

#' Covariates that are categories in the formula, also as in `factor(visit)`, by the names of their columns
#' @noRd
factors_of <- function(model, frame) {
  found <- frame["participant"]
  made_of <- lapply(variables_of(stats::terms(model)), all.vars)
  for (place in which(vapply(model, is_category, NA))) {
    column <- made_of[[place]]
    if (length(column) == 1 && column != "participant") found[[column]] <- as.character(model[[place]])
  }
  found
}

check_design <- function(matrix, who, call) {
  names <- colnames(matrix)
  bad <- which(colSums(!is.finite(matrix)) > 0)
  if (length(bad) > 0) {
    abort_spicestat("covariate", paste0(
      "the formula's '", names[bad[[1]]], "' is missing or infinite for participants ",
      name_some(who[!is.finite(matrix[, bad[[1]]])]),
      ". Try: check the transformation, for example the logarithm of zero."
    ), call = call)
  }
  n <- nrow(matrix)
  p <- ncol(matrix)
  if (n <= p) {
    abort_spicestat("data", paste0(
      n, " participants are too few for ", p, " coefficients (", some(names, 8), "). Allowed: at least ", p + 1,
      " participants. Try: use a simpler formula."
    ), call = call)
  }
  if (design_rank(matrix) < p) {
    redundant <- names[-qr(scaled_columns(matrix), tol = 1e-9)$pivot[seq_len(design_rank(matrix))]]
    abort_spicestat("formula", paste0(
      "the columns of the formula are linearly dependent: ", paste(redundant, collapse = ", "),
      ". Try: leave out covariates that are constant or follow from the others."
    ), call = call)
  }
}

#' Numerical rank, whatever the units of the columns
#' @noRd
design_rank <- function(matrix) {
  values <- svd(scaled_columns(matrix), nu = 0, nv = 0)$d
  sum(values > 1e-9)
}

scaled_columns <- function(matrix) {
  length <- sqrt(colSums(matrix^2))
  sweep(matrix, 2, ifelse(length > 0, length, 1), "/")
}

#' The columns of a random part, and the level of each row, from 0
#' @noRd
random_design <- function(part, frame, call) {
  matrix <- design_matrix(part$effects, frame, call)$matrix
  env <- parent_of_data(part$effects)
  values <- lapply(part$groups, function(group) id_key(eval(group, frame, env)))
  key <- do.call(paste, c(values, sep = "\r"))
  list(
    text = part$text, group = paste(vapply(part$groups, deparse1, "", backtick = FALSE), collapse = ":"),
    names = colnames(matrix), matrix = matrix, codes = match(key, unique(key)) - 1, correlated = part$correlated
  )
}

#' A design in a form that Python takes
#' @noRd
sent_design <- function(design, formula, call) {
  labels <- attr(design$terms, "term.labels")
  list(
    formula = enc2utf8(deparse1(formula)), names = as_vector(enc2utf8(colnames(design$matrix))),
    terms = as_vector(enc2utf8(c("(Intercept)", labels)[design$assign + 1])),
    matrix = sent_matrix(design$matrix), factors = encode_table(design$factors, call = call),
    random = lapply(design$random, function(part) {
      part[c("text", "group")] <- lapply(part[c("text", "group")], enc2utf8)
      part$names <- as_vector(enc2utf8(part$names))
      part$matrix <- sent_matrix(part$matrix)
      part$codes <- as_vector(as.integer(part$codes))
      part
    })
  )
}

sent_matrix <- function(matrix) {
  encode_table(as.data.frame(unname(matrix)))
}
