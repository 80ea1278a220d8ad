# Which coefficients can enter a group model that R fits: the rules of spicestat/group/inputs/usable.py, on a table
# that is completed as spicestat/coefficients.py does it.

#' The coefficient table with every module and term for every participant
#'
#' @return A list: `participants`; `terms`, a data frame with `module`, `term`
#'   and `key`; and matrices (participant x term) `estimate`, `std_error`,
#'   `selected`, `converged`, `at_bound`, `n_trials`.
#' @noRd
coefficient_cells <- function(table, call) {
  table <- typed_coefficients(table, call)
  keys <- id_key(table$participant)
  first <- !duplicated(keys)
  pairs <- unique(table[c("module", "term")])
  # beta comes last, as it scales the states that the modules produce
  pairs <- pairs[order(pairs$module == "beta"), ]
  pairs$key <- paste(pairs$module, pairs$term, sep = ":")
  row <- match(keys, keys[first])
  column <- match(paste(table$module, table$term, sep = ":"), pairs$key)
  if (anyDuplicated(cbind(row, column))) {
    twice <- duplicated(cbind(row, column))
    abort_spicestat("data", paste0(
      "the coefficient table has duplicate rows: ", name_some(table$participant[twice]), "."
    ), call = call)
  }
  laid_out <- function(name, default) {
    cells <- matrix(default, sum(first), nrow(pairs), dimnames = list(keys[first], pairs$key))
    cells[cbind(row, column)] <- table[[name]]
    cells
  }
  list(
    participants = table$participant[first], terms = pairs,
    estimate = laid_out("estimate", 0), std_error = laid_out("std_error", NA_real_),
    selected = laid_out("selected", FALSE), converged = laid_out("converged", TRUE),
    at_bound = laid_out("at_bound", FALSE), n_trials = laid_out("n_trials", NA_real_)
  )
}

typed_coefficients <- function(table, call) {
  needed <- c("participant", "module", "term", "estimate", "std_error")
  lacking <- setdiff(needed, names(table))
  if (length(lacking) > 0) {
    abort_spicestat("column", paste0(
      "the coefficient table lacks the column '", lacking[[1]], "'. Got: ", paste(names(table), collapse = ", "), "."
    ), call = call)
  }
  table <- as.data.frame(table)
  defaults <- list(
    selected = !is.na(table$estimate), converged = rep(TRUE, nrow(table)),
    at_bound = rep(FALSE, nrow(table)), n_trials = rep(NA_real_, nrow(table))
  )
  absent <- setdiff(names(defaults), names(table))
  table[absent] <- defaults[absent]
  check_coefficients(table, call)
  table[c("module", "term")] <- lapply(table[c("module", "term")], as.character)
  table$estimate[!table$selected] <- 0
  table
}

check_coefficients <- function(table, call) {
  for (name in c("estimate", "std_error")) {
    if (!is.numeric(table[[name]]) && !all(is.na(table[[name]]))) {
      abort_spicestat("column", paste0("column '", name, "' of the coefficient table must be numeric."), call = call)
    }
  }
  refuse <- function(bad, what) {
    if (any(bad)) {
      abort_spicestat("data", paste0(
        "the coefficient table has ", what, ": ", name_some(unique(table$participant[bad])), "."
      ), call = call)
    }
  }
  if (nrow(table) == 0) abort_spicestat("data", "the coefficient table has no rows.", call = call)
  refuse(is.na(table$participant), "rows without a participant")
  refuse(!is.na(table$std_error) & table$std_error < 0, "negative standard errors")
  refuse(table$selected & is.na(table$estimate), "selected terms without an estimate")
}

#' Share of participants with a bound hit or without convergence
#' @noRd
share_unidentified <- function(cells) {
  mean(rowSums(cells$at_bound | !cells$converged) > 0)
}

exclusion_reasons <- c(
  "not in the participant's equation", "no estimate", "at a bound", "not converged", "no standard error",
  "standard error 0"
)

#' Why each cell cannot be used: a position in `exclusion_reasons`, 0 for those that can
#' @noRd
cell_reasons <- function(cells, needs_std_error) {
  reason <- array(0L, dim(cells$estimate))
  if (needs_std_error) {
    reason[!is.na(cells$std_error) & cells$std_error == 0] <- 6L
    reason[!is.finite(cells$std_error)] <- 5L
  }
  reason[!cells$converged] <- 4L
  reason[cells$at_bound] <- 3L
  reason[!is.finite(cells$estimate)] <- 2L
  reason[!cells$selected] <- 1L
  reason
}

#' The usable coefficients of each module and term
#'
#' @return A list: `equations`, a list of lists with `module`, `sparse_term`,
#'   `key`, `rows` (of the design), `estimate`, `std_error`, `n_trials`,
#'   `n_excluded`, `share_unidentified`; and `skipped`, a data frame.
#' @noRd
select_equations <- function(cells, design, modules, terms, needs_std_error, call) {
  wanted <- wanted_terms(cells$terms, modules, terms, call)
  reason <- cell_reasons(cells, needs_std_error)
  equations <- list()
  skipped <- no_skipped()
  counted <- integer()
  for (column in wanted) {
    unfit <- structural_reason(cells, column)
    if (is.null(unfit)) {
      counted <- c(counted, reason[design$rows, column])
      equation <- one_equation(cells, design, reason, column)
      unfit <- unfit_reason(equation, design$matrix)
    }
    if (is.null(unfit)) {
      equations[[equation$key]] <- equation
    } else {
      skipped <- rbind(skipped, skipped_row(cells$terms$module[column], cells$terms$term[column], unfit))
    }
  }
  warn_excluded(counted[counted > 0])
  if (length(equations) == 0) abort_nothing_left(skipped, call)
  list(equations = equations, skipped = skipped)
}

no_skipped <- function() {
  data.frame(module = character(), sparse_term = character(), reason = character())
}

skipped_row <- function(module, sparse_term, reason) {
  data.frame(module = module, sparse_term = sparse_term, reason = reason)
}

abort_nothing_left <- function(skipped, call) {
  listed <- utils::head(paste0(skipped$module, " / ", skipped$sparse_term, ": ", skipped$reason), 5)
  abort_spicestat("data", paste0(
    "no coefficient can be analysed. Got: ", paste(listed, collapse = "; "),
    ". Try: check estimates and standard errors."
  ), call = call)
}

wanted_terms <- function(pairs, modules, terms, call) {
  check_known(modules, pairs$module, "modules", call)
  check_known(terms, pairs$term, "terms", call)
  wanted <- which(
    (is.null(modules) | pairs$module %in% modules) & (is.null(terms) | pairs$term %in% terms)
  )
  if (length(wanted) == 0) {
    abort_spicestat("config", paste0(
      "no equation has both one of `modules` and one of `terms`. Allowed: ",
      paste(pairs$module, pairs$term, sep = " / ", collapse = ", "), "."
    ), call = call)
  }
  wanted
}

check_known <- function(given, known, arg, call) {
  unknown <- setdiff(given, known)
  if (length(unknown) > 0 || (!is.null(given) && length(given) == 0)) {
    abort_spicestat("config", paste0(
      "`", arg, "` names what the coefficient table does not have. Got: ",
      if (length(unknown) > 0) paste0("'", unknown, "'", collapse = ", ") else "(nothing)",
      ". Allowed: ", paste0("'", sort(unique(known)), "'", collapse = ", "), "."
    ), call = call)
  }
}

#' Why an equation's structure leaves nothing to analyse, or NULL
#' @noRd
structural_reason <- function(cells, column) {
  selected <- cells$selected[, column]
  if (!any(selected)) {
    return("in no participant's equation")
  }
  values <- cells$estimate[selected, column]
  if (all(is.na(cells$std_error[selected, column])) && length(unique(values)) == 1) {
    return(paste0("fixed at ", format(values[[1]]), " by the structure of the equation"))
  }
  NULL
}

one_equation <- function(cells, design, reason, column) {
  usable <- which(reason[design$rows, column] == 0)
  people <- design$rows[usable]
  lost <- mean(reason[cells$selected[, column], column] > 1)
  list(
    module = cells$terms$module[column], sparse_term = cells$terms$term[column], key = cells$terms$key[column],
    rows = usable,
    estimate = unname(cells$estimate[people, column]), std_error = unname(cells$std_error[people, column]),
    n_trials = unname(cells$n_trials[people, column]),
    n_excluded = length(cells$participants) - length(usable),
    share_unidentified = max(share_unidentified(cells), lost)
  )
}

#' Why an equation cannot be fitted with this design, or NULL
#' @noRd
unfit_reason <- function(equation, matrix) {
  n <- length(equation$rows)
  p <- ncol(matrix)
  own <- matrix[equation$rows, , drop = FALSE]
  if (n <= p) {
    return(paste0(n, " usable participants are too few for ", p, " coefficients"))
  }
  if (design_rank(own) < p) {
    return(paste0("the ", n, " usable participants do not cover all levels of the covariates"))
  }
  if (length(unique(equation$estimate)) == 1) {
    return(paste0("all usable participants have the same estimate, ", format(equation$estimate[[1]])))
  }
  residual <- stats::lm.fit(own, equation$estimate)$residuals
  if (max(abs(residual)) <= 1e-12 * max(abs(equation$estimate))) {
    return("the covariates reproduce the estimates exactly, which leaves nothing to test with")
  }
  NULL
}

warn_excluded <- function(codes) {
  if (length(codes) == 0) {
    return(invisible())
  }
  counts <- sort(table(factor(exclusion_reasons[codes], unique(exclusion_reasons[codes]))), decreasing = TRUE)
  warn_spicestat("exclusion", paste0(
    length(codes), " coefficients cannot enter the group model: ",
    paste(counts, names(counts), collapse = ", "), ".",
    if (any(codes == 1)) {
      paste(
        " Estimate the terms for all participants on the population structure, so that the group model does not",
        "run on those who passed a threshold."
      )
    }
  ))
}
