# Quantities that follow from several coefficients, with delta-method errors: Python's GroupResult.derived_means().

#' Quantities derived from the mean coefficients of a group
#'
#' An expression names coefficients of the equations, and each is replaced by its marginal
#' mean on its own scale (that of emmeans, which must be installed). Standard errors are by
#' the delta method. Expressions over several coefficients need a method that gives their
#' covariance, such as `"hierarchical"` or `"multivariate_meta"`. The quantity of the mean
#' coefficients is not the mean of the participants' quantities unless the expression is
#' linear.
#'
#' @param group A [spice_group()].
#' @param expressions Named text, such as `c("half-life" = 'log(0.5) / log(x_value["x_value"])')`.
#'   A coefficient is written `component["term"]`, or `term("component", "term")` where the
#'   component is no name of R. Beside these there are numbers, `+ - * / ^`, parentheses,
#'   `exp`, `log` (natural), `sqrt` and `abs`; nothing else is evaluated.
#' @param variables Covariates at whose values the quantity is wanted, as text or as a formula such
#'   as `~ diagnosis`. Others are averaged over.
#' @param at,weights,cov_keep As `at`, `weights` and `cov.keep` of `emmeans::emmeans()`.
#' @param conf_level Level of the intervals, between 0 and 1; `NULL` takes that of the analysis.
#' @return A tibble with one row per quantity and value of the `variables`: `quantity`, the variables,
#'   `estimate`, `std.error`, `df` (the smallest of the effects involved), `conf.low`, `conf.high`
#'   (`NA` where inference is withheld). Where an expression is not defined, as the logarithm of a
#'   negative number, all are `NaN`.
#' @export
#' @examples
#' if (requireNamespace("emmeans", quietly = TRUE)) {
#'   spice_derived_means(
#'     example_group,
#'     c(step = 'x_learning_rate_reward["1"] * beta["x_value_reward"]'),
#'     ~diagnosis
#'   )
#' }
spice_derived_means <- function(group, expressions, variables = NULL, at = NULL, weights = "equal", cov_keep = 2,
                                conf_level = NULL) {
  call <- rlang::current_env()
  check_group(group, call)
  need_package("emmeans", "spice_derived_means()", call)
  level <- if (is.null(conf_level)) group$coefficients$conf_level[[1]] else check_level(conf_level, call)
  effects <- split_effects(tidy(group, conf.int = TRUE), call)
  parsed <- parsed_expressions(expressions, names(effects), call)
  rows <- reference_rows(group, variables, list(at = at, weights = weights, cov.keep = cov_keep), call)
  parts <- lapply(names(parsed), function(name) {
    found <- derived_rows(group, parsed[[name]], effects, rows$matrix, level, call)
    tibble::as_tibble(cbind(quantity = name, rows$grid, found))
  })
  do.call(rbind, parts)
}

#' The rows of the design that marginal means average to, with the values of the variables that they are at
#' @noRd
reference_rows <- function(group, variables, settings, call) {
  variables <- if (is.null(variables)) character() else factors_in(variables)
  require_names(variables, covariates_of(group), "variables", call)
  grid <- do.call(emmeans::emmeans, c(list(group, c("coefficient", variables)), settings))
  first <- which(grid@grid$coefficient == grid@levels$coefficient[1])
  columns <- known_design(group)$columns
  matrix <- grid@linfct[first, seq_along(columns), drop = FALSE]
  list(
    matrix = structure(matrix, dimnames = list(NULL, columns)),
    grid = data.frame(grid@grid[first, variables, drop = FALSE], row.names = NULL, check.names = FALSE)
  )
}

#' A quantity at each row of the design, with its error and interval
#' @noRd
derived_rows <- function(group, expression, effects, X, level, call) { # nolint: object_name_linter.
  involved <- effects[expression$coefficients]
  designs <- lapply(involved, function(table) X[, table$term, drop = FALSE])
  means <- Map(function(design, table) as.vector(design %*% table$estimate), designs, involved)
  scales <- lapply(involved, function(table) scale_of(link_of(group, table$component[1], table$sparse.term[1])))
  own <- Map(function(scale, mean) scale$inverse(mean), scales, means)
  # deriv() gives numbers where the expression is the same at all rows
  value <- suppressWarnings(eval(expression$code, stats::setNames(own, expression$symbols), baseenv()))
  gradient <- matrix(attr(value, "gradient"), nrow(X))
  slopes <- Map(function(scale, mean, k) scale$slope(mean) * gradient[, k], scales, means, seq_along(means))
  jacobian <- do.call(cbind, unname(Map(`*`, designs, slopes)))
  covariance <- covariance_between(group, involved, call)
  error <- sqrt(pmax(rowSums((jacobian %*% covariance) * jacobian), 0))
  df <- do.call(pmin, unname(Map(smallest_df, designs, involved)))
  found <- t_rows(as.vector(value), error, df, level)
  found[!is.finite(found$estimate) | !is.finite(error), c("estimate", "std.error", interval)] <- NaN
  hidden <- vapply(involved, function(table) all(is.na(table$p.value) & is.na(table$conf.low)), NA)
  if (any(hidden)) found[interval] <- NA_real_
  found
}

smallest_df <- function(design, table) {
  apply(design != 0, 1, function(used) min(table$df[used], Inf))
}

#' Covariance of all effects on some coefficients
#' @noRd
covariance_between <- function(group, involved, call) {
  names <- unlist(lapply(unname(involved), effect_names))
  covariance <- stats::vcov(group)[names, names, drop = FALSE]
  if (length(involved) > 1 && anyNA(covariance)) {
    abort_spicestat("config", c(
      paste0(
        "method = \"", group$method, "\" gives no covariance between coefficients, which an expression over several ",
        "needs. Got: ", listed(names(involved)), "."
      ),
      i = "Use method = \"hierarchical\" or \"multivariate_meta\"."
    ), call = call)
  }
  covariance
}

#' Expressions as code that gives their value and gradient, with the coefficients that they name
#' @noRd
parsed_expressions <- function(expressions, known, call) {
  texts <- is.list(expressions) || is.character(expressions)
  if (!texts || length(expressions) == 0 || !rlang::is_named(expressions) ||
    !all(vapply(expressions, rlang::is_string, NA))) {
    abort_spicestat("config", paste0(
      "`expressions` must be named text. Got: ", deparse1(expressions), ". Allowed: ", expression_example, "."
    ), call = call)
  }
  lapply(expressions, parsed_expression, known = known, call = call)
}

expression_example <- "c(step = 'x_learning_rate_reward[\"1\"] * beta[\"x_value_reward\"]')"
expression_functions <- c("+", "-", "*", "/", "^", "(", "exp", "log", "sqrt", "abs")

parsed_expression <- function(text, known, call) {
  refuse <- function(...) abort_spicestat("config", c(paste0("the expression '", text, "' ", ...)), call = call)
  code <- tryCatch(str2lang(text), error = function(error) refuse("cannot be read. Allowed: ", expression_example, "."))
  found <- unique(coefficients_in(code, refuse))
  if (length(found) == 0) refuse("names no coefficient. Allowed: ", listed(known), ".")
  unknown <- setdiff(found, known)
  if (length(unknown) > 0) refuse("names ", listed(unknown), ". Allowed: ", listed(known), ".")
  symbols <- paste0(".c", seq_along(found))
  list(
    coefficients = found, symbols = symbols,
    code = stats::deriv(with_symbols(code, stats::setNames(symbols, found)), symbols)
  )
}

#' Keys of the coefficients in an expression, of which any other part must be arithmetic
#' @noRd
coefficients_in <- function(code, refuse) {
  key <- coefficient_key(code)
  if (!is.null(key)) {
    return(key)
  }
  if (is.numeric(code)) {
    return(NULL)
  }
  function_name <- if (is.call(code) && is.symbol(code[[1]])) as.character(code[[1]]) else ""
  arguments <- as.list(code)[-1]
  arithmetic <- function_name %in% expression_functions && is.null(names(arguments)) &&
    length(arguments) <= if (function_name %in% c("+", "-", "*", "/", "^")) 2 else 1
  if (!arithmetic || length(arguments) == 0) {
    refuse(
      "has ", deparse1(code), ", which is neither a coefficient nor arithmetic. Allowed: coefficients such as ",
      "beta[\"x_value\"], numbers, ", paste(expression_functions, collapse = " "), "."
    )
  }
  unlist(lapply(arguments, coefficients_in, refuse = refuse))
}

#' The key of beta["x_value"], or of term("beta", "x_value"); NULL for anything else
#' @noRd
coefficient_key <- function(code) {
  if (!is.call(code) || length(code) != 3) {
    return(NULL)
  }
  indexed <- identical(code[[1]], quote(`[`)) && is.symbol(code[[2]])
  called <- identical(code[[1]], quote(term)) && rlang::is_string(code[[2]])
  if ((indexed || called) && rlang::is_string(code[[3]])) paste(as.character(code[[2]]), code[[3]], sep = ":")
}

#' Code with symbols instead of coefficients, and without abs(), which deriv() does not know
#' @noRd
with_symbols <- function(code, symbols) {
  key <- coefficient_key(code)
  if (!is.null(key)) {
    return(as.symbol(symbols[[key]]))
  }
  if (is.call(code)) code[-1] <- lapply(as.list(code)[-1], with_symbols, symbols = symbols)
  if (is_call(code, "abs")) substitute(sqrt((x)^2), list(x = code[[2]])) else code
}
