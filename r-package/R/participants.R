# Who enters a group model that R fits, and with which covariates. Rules and messages are those of
# spicestat/group/inputs/alignment.py and design.py, so that an engine in R analyses the same people.

#' Labels as text; as.character() would make 1e+05 of 100000
#' @noRd
label_text <- function(labels) {
  if (is.numeric(labels)) {
    return(format(labels, trim = TRUE, scientific = FALSE, digits = 15, drop0trailing = TRUE))
  }
  as.character(labels)
}

#' Text by which a participant's label is matched: 1, 1.0 and "1" are one person
#' @noRd
id_key <- function(labels) {
  trimws(gsub("[\u200b\u200c\u200d\u2060\ufeff]", "", label_text(labels)))
}

#' What is left of a label without case, blanks and zeros in front of numbers
#' @noRd
loose_key <- function(labels) {
  bare <- gsub("[[:space:]]", "", tolower(id_key(labels)))
  sub("^(-?[0-9]+)\\.0$", "\\1", gsub("(?<![0-9.])0+(?=[0-9])", "", bare, perl = TRUE))
}

#' An id without a row beside a row without an id that looks like it is an error, and no missing value
#' @noRd
check_alike <- function(labels, offered, call) {
  lost <- labels[!id_key(labels) %in% id_key(offered)]
  spare <- offered[!is.na(offered) & !id_key(offered) %in% id_key(labels)]
  partner <- match(loose_key(lost), loose_key(spare))
  if (!all(is.na(partner))) {
    pairs <- paste0("'", lost, "' and '", spare[partner], "'")[!is.na(partner)]
    abort_spicestat("covariate", paste0(
      "ids of ", length(pairs), " participants look alike, but are not the same in the coefficients and in the ",
      "covariate table. Got: ", paste(utils::head(pairs, 3), collapse = ", "), if (length(pairs) > 3) ", ...",
      ". Try: write them the same way in both tables; zeros in front stay where ids are read as text."
    ), call = call)
  }
}

#' Name the first few participants and count the others
#' @noRd
name_some <- function(labels, limit = 5) {
  shown <- utils::head(labels, limit)
  shown <- if (is.numeric(shown)) format(shown, trim = TRUE) else paste0("'", shown, "'")
  more <- length(labels) - limit
  paste0(paste(shown, collapse = ", "), if (more > 0) paste0(" and ", more, " more"))
}

#' Covariates in the order of the given participants
#'
#' @return A list: `people`, a data frame whose first column is `participant`,
#'   and `positions`, where its rows are among `participants`.
#' @noRd
align_people <- function(participants, people, id, call) {
  keys <- id_key(participants)
  if (is.null(people)) {
    return(list(people = data.frame(participant = participants), positions = seq_along(keys)))
  }
  # a data.table would take [ for a join
  people <- as.data.frame(people)
  given <- id_key(people[[id]])
  given[is.na(people[[id]])] <- NA
  check_one_row_each(people[[id]], given, call)
  check_alike(participants, people[[id]], call)
  row <- match(keys, given, incomparables = NA)
  if (all(is.na(row))) {
    abort_spicestat("data", paste0(
      "no participant of the coefficient table is in the covariate table. Got: ", name_some(participants, 3),
      " in the coefficients and ", name_some(people[[id]], 3), " in column '", id,
      "' of the covariates. Try: use the same labels in both tables."
    ), call = call)
  }
  missing <- is.na(row)
  if (any(missing)) {
    warn_spicestat("exclusion", paste0(
      sum(missing), " of ", length(keys), " participants have no row in the covariate table and are left out: ",
      name_some(participants[missing]), "."
    ))
  }
  covariates <- people[row[!missing], setdiff(names(people), c(id, "participant")), drop = FALSE]
  aligned <- cbind(data.frame(participant = participants[!missing]), covariates)
  rownames(aligned) <- NULL
  list(people = aligned, positions = which(!missing))
}

check_one_row_each <- function(labels, keys, call) {
  twice <- !is.na(keys) & duplicated(keys)
  if (any(twice)) {
    abort_spicestat("covariate", paste0(
      length(unique(keys[twice])), " participants have more than one row in the covariate table: ",
      name_some(unique(labels[twice])), ". Try: give one row per participant."
    ), call = call)
  }
}

#' Design matrix of a one-sided formula on a table of participants
#'
#' @return A list: `formula` (with fixed centres where it has `scale()` and the
#'   like), `frame` (participant and covariates, ready for any modelling
#'   function), `matrix`, and `rows`, positions in `people`.
#' @noRd
group_design <- function(formula, people, call) {
  check_design_formula(formula, people, call)
  used <- intersect(all.vars(formula), names(people))
  complete <- stats::complete.cases(people[used]) | length(used) == 0
  if (!any(complete)) {
    abort_spicestat("data", "no participant has all the covariates of the formula.", call = call)
  }
  warn_lacking(people, used, complete)
  frame <- people[complete, unique(c("participant", used)), drop = FALSE]
  rownames(frame) <- NULL
  frame[used] <- Map(prepare_covariate, frame[used], used, MoreArgs = list(who = frame$participant, call = call))
  made <- tryCatch(design_matrix(formula, frame), error = function(error) {
    abort_spicestat(
      "formula", paste0("the formula cannot be evaluated: ", conditionMessage(error)),
      call = call
    )
  })
  check_design(made$matrix, frame$participant, call)
  c(made, list(frame = frame, rows = which(complete)))
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
  refuse <- function(...) abort_spicestat("formula", paste0(...), call = call)
  check_one_sided(formula, call)
  if ("|" %in% all.names(formula) || "||" %in% all.names(formula)) {
    refuse(
      "the formula has more than one part. Allowed: ", formula_example,
      ". Try: method = \"meta\" takes random parts; in this model that of participants is always there."
    )
  }
  if ("." %in% all.vars(formula)) refuse("'.' is not known here; name the covariates.")
  if (!is.null(attr(stats::terms(formula), "offset"))) refuse("the formula has an offset, which coefficients lack.")
  check_known_variables(formula, names(people), "participant", call)
}

check_known_variables <- function(formula, columns, id, call) {
  unknown <- Filter(
    function(name) !name %in% c(columns, ".") && !is_constant(name, environment(formula)), all.vars(formula)
  )
  if (length(unknown) > 0) {
    known <- setdiff(columns, id)
    abort_spicestat("formula", paste0(
      "the formula names the unknown variable '", unknown[[1]], "'. Allowed: ",
      if (length(known) > 0) paste(known, collapse = ", ") else "(no covariates were given)",
      ". Try: correct the name, or pass the table that holds it as `data`."
    ), call = call)
  }
}

# pi, T, or the number of knots that the user keeps in a variable
is_constant <- function(name, env) {
  value <- get0(name, envir = if (is.null(env)) globalenv() else env)
  is.atomic(value) && length(value) == 1
}

warn_lacking <- function(people, used, complete) {
  if (all(complete)) {
    return(invisible())
  }
  lacking <- used[vapply(people[used], anyNA, NA)]
  warn_spicestat("exclusion", paste0(
    sum(!complete), " of ", nrow(people), " participants lack ", paste0("'", lacking, "'", collapse = " or "),
    " and are left out: ", name_some(people$participant[!complete]), "."
  ))
}

#' A number, or a factor whose first level is the reference
#'
#' Levels of text are sorted as the engine sorts them, and not by locale.
#' @noRd
prepare_covariate <- function(x, name, who, call) {
  if (is.logical(x)) {
    x <- factor(x, c(FALSE, TRUE))
  } else if (is.character(x)) {
    x <- factor(x, sort(unique(x), method = "radix"))
  }
  if (is.factor(x)) {
    return(prepare_factor(x, name, call))
  }
  if (!is.numeric(x) || is.object(x)) {
    abort_spicestat("covariate", paste0(
      "covariate '", name, "' has an unusable type. Got: ", class(x)[[1]],
      ". Allowed: numbers, text, logicals, factors."
    ), call = call)
  }
  if (any(is.infinite(x))) {
    abort_spicestat("covariate", paste0(
      "covariate '", name, "' is infinite for participants ", name_some(who[is.infinite(x)]), "."
    ), call = call)
  }
  as.double(x)
}

prepare_factor <- function(x, name, call) {
  own <- attr(x, "contrasts")
  # ordered factors have polynomial contrasts, in which no level is a reference
  x <- factor(as.character(x), levels(droplevels(x)))
  if (nlevels(x) < 2) {
    abort_spicestat("covariate", paste0(
      "the factor '", name, "' has a single level. Got: '", levels(x),
      "'. Try: leave it out of the formula, or add participants of another level."
    ), call = call)
  }
  stats::contrasts(x) <- if (is.character(own)) own else "contr.treatment"
  x
}

#' Model matrix, and the formula with the centres and scales of these data in it
#' @noRd
design_matrix <- function(formula, frame) {
  model <- stats::model.frame(formula, frame, na.action = stats::na.pass)
  terms <- stats::terms(model)
  matrix <- stats::model.matrix(terms, model)
  if (ncol(matrix) == 0) stop("it has no coefficients")
  from <- as.list(attr(terms, "variables"))[-1]
  to <- as.list(attr(terms, "predvars"))[-1]
  fixed <- formula
  fixed[[2]] <- replace_calls(formula[[2]], from, to)
  list(formula = fixed, matrix = matrix)
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
