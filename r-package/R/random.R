#' Deviations of participants, and how much they differ
#'
#' @param object,x A [spice_group()], or what `VarCorr()` returned.
#' @param condVar Add the standard errors as attribute `se`?
#' @param sigma 1: standard deviations are in the coefficients' units.
#' @param row.names,optional Not used.
#' @param digits Digits to print.
#' @param ... Not used; anything here is an error.
#' @return `ranef()`: a list with the data frame `participant`, one row per
#'   participant and one column `<module>:<term>` per coefficient of the
#'   equations, as lme4's. `VarCorr()`: a list with the covariance matrix
#'   `participant` of these deviations (and, for mixed models, `Residual`), which
#'   has the attributes `stddev` and `correlation`; `as.data.frame()` of it has
#'   lme4's columns `grp`, `var1`, `var2`, `vcov`, `sdcor`. Covariances are `NA`
#'   where coefficients were analysed separately.
#' @name ranef.spice_group
#' @examples
#' head(ranef(example_group)$participant)
#' VarCorr(example_group)
NULL

#' @rdname ranef.spice_group
#' @export
ranef.spice_group <- function(object, condVar = FALSE, ...) { # nolint: object_name_linter.
  check_dots(...)
  check_flag(condVar, "condVar")
  table <- need_deviations(object, rlang::current_env())
  keys <- unique(paste(table$module, table$sparse_term, sep = ":"))
  people <- unique(label_text(table$level))
  wide <- function(values) {
    cells <- matrix(NA_real_, length(people), length(keys), dimnames = list(people, keys))
    cells[cbind(label_text(table$level), paste(table$module, table$sparse_term, sep = ":"))] <- values
    as.data.frame(cells, optional = TRUE)
  }
  frame <- wide(table$estimate)
  if (condVar) attr(frame, "se") <- wide(table$std_error)
  list(participant = frame)
}

#' @rdname ranef.spice_group
#' @export
VarCorr.spice_group <- function(x, sigma = 1, ...) { # nolint: object_name_linter.
  check_dots(...)
  if (!identical(sigma, 1)) {
    abort_spicestat("config", "`sigma` must be 1: standard deviations are in the units of the coefficients.")
  }
  refuse_parts(x)
  rows <- x$coefficients[x$coefficients$effect == "ran_pars", ]
  if (nrow(rows) == 0) {
    abort_spicestat("config", paste0("method = \"", x$method, "\" estimates no standard deviations."))
  }
  groups <- unique(rows$group)
  structure(
    stats::setNames(lapply(groups, function(group) spread_matrix(rows[rows$group == group, ])), groups),
    class = "spice_varcorr"
  )
}

#' A covariance matrix from rows of standard deviations and correlations
#' @noRd
spread_matrix <- function(rows) {
  key <- paste(rows$module, rows$sparse_term, sep = ":")
  is_sd <- startsWith(rows$term, "sd__")
  sd <- stats::setNames(rows$estimate[is_sd], key[is_sd])
  correlation <- diag(length(sd))
  correlation[correlation == 0] <- NA
  dimnames(correlation) <- list(names(sd), names(sd))
  other <- sub("^cor__\\(Intercept\\)\\.", "", rows$term[!is_sd])
  correlation[cbind(key[!is_sd], other)] <- correlation[cbind(other, key[!is_sd])] <- rows$estimate[!is_sd]
  structure(correlation * outer(sd, sd), stddev = sd, correlation = correlation)
}

#' @rdname ranef.spice_group
#' @export
as.data.frame.spice_varcorr <- function(x, row.names = NULL, optional = FALSE, ...) { # nolint: object_name_linter.
  check_dots(...)
  parts <- Map(function(matrix, group) {
    pairs <- which(upper.tri(matrix, diag = TRUE), arr.ind = TRUE)
    pairs <- pairs[order(pairs[, 1] != pairs[, 2]), , drop = FALSE]
    names <- rownames(matrix)
    same <- pairs[, 1] == pairs[, 2]
    data.frame(
      grp = group, var1 = names[pairs[, 1]], var2 = ifelse(same, NA, names[pairs[, 2]]), vcov = matrix[pairs],
      sdcor = ifelse(same, attr(matrix, "stddev")[pairs[, 1]], attr(matrix, "correlation")[pairs])
    )
  }, unclass(x), names(x))
  do.call(rbind, unname(parts))
}

#' @rdname ranef.spice_group
#' @export
print.spice_varcorr <- function(x, digits = 3, ...) {
  check_dots(...)
  for (group in names(x)) {
    correlation <- attr(x[[group]], "correlation")
    shown <- data.frame(Std.Dev. = format(attr(x[[group]], "stddev"), digits = digits))
    below <- format(round(correlation, digits))
    below[!lower.tri(correlation)] <- ""
    known <- any(!is.na(correlation[lower.tri(correlation)]))
    if (known) shown <- cbind(shown, Corr = below[, -ncol(below), drop = FALSE])
    names(shown) <- c("Std.Dev.", if (known) c("Corr", rep("", ncol(shown) - 2)))
    cat(group, "\n", sep = "")
    print(as.matrix(shown), quote = FALSE, right = TRUE)
  }
  invisible(x)
}
