#' Predicted choices, and residuals
#'
#' Every choice is predicted from what its participant chose and received
#' before it in the block, so that the first choice of a block has no
#' prediction, unless something was shown (see `stimulus` to `context` of
#' [spice_fit()]). What was not on offer has probability 0.
#'
#' @param object A [spice_fit()].
#' @param newdata A data frame of trials, or the path of one, with the columns
#'   that the fit was made from; `NULL` for the fit's own trials.
#' @param type For `predict()`: `"prob"`, the probability of every action, or
#'   `"choice"`, the most probable one. For `residuals()`: `"deviance"`,
#'   `"pearson"` or `"response"` (chosen, as 0 or 1, less its probability).
#' @param by What predicts: the participants' `"equations"` with pooled
#'   coefficients, or with their own maximum-likelihood estimates (`"ml"`; of
#'   models with a network), or the `"network"` that they were found with. That
#'   of `model = "history"` lies on top of the equations, and is trained in each
#'   call, which takes two to five times as long as the fit.
#' @param unseen What to do about participants whom the fit does not know:
#'   `"error"`; `"population"`, which averages over the weights that people of
#'   the fit's population may have (`model = "history"`); or `"typical"`, which
#'   gives them the usual equations with median coefficients (other models).
#' @param ... Not used; anything here is an error.
#' @return One row or value per row of the trials, in their order; `NA` for the
#'   first choice of a block.
#'   `predict()`: a tibble with columns `.pred_<action>`, or a factor, also where
#'   a choice is missing. `fitted()`: the probability of the choice that was
#'   made, `NA` where it is missing, as are residuals. `residuals()`:
#'   with two actions a vector about the second one, as for a logistic
#'   regression. With more, a matrix with one column per action; for
#'   `"deviance"` then a vector, the root of -2 log probability of the choice.
#' @importFrom stats predict
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   predict(example_fit)
#'   # these are of pooled coefficients, logLik() of everybody's own estimates
#'   -sum(residuals(example_fit)^2, na.rm = TRUE) / 2
#'   logLik(example_fit)
#' }
#' }
predict.spice_fit <- function(object, newdata = NULL, type = c("prob", "choice"),
                              by = c("equations", "ml", "network"), unseen = c("error", "population", "typical"),
                              ...) {
  check_dots(...)
  call <- rlang::current_env()
  type <- one_of(type, c("prob", "choice"), "type", call)
  found <- predicted(object, newdata, by, unseen, call)
  actions <- found$actions
  probabilities <- found$table[paste0("p_", actions)]
  if (type == "choice") {
    return(factor(actions[most_probable(as.matrix(probabilities))], levels = actions))
  }
  stats::setNames(probabilities, paste0(".pred_", actions))
}

#' The engine's predictions: `table`, and the labels of the `actions`
#' @noRd
predicted <- function(fit, newdata, by, unseen, call) {
  by <- one_of(by, c("equations", "ml", "network"), "by", call)
  options <- list(
    by = if (by == "network") "rnn" else by,
    unseen = one_of(unseen, c("error", "population", "typical"), "unseen", call)
  )
  trials <- if (!is.null(newdata)) sent_table(newdata, character(), "newdata", call)
  value <- with_fit_folder(fit, function(folder) call_bridge("predict", folder, trials, options, call = call))
  list(table = decode_table(value$predictions), actions = unlist(value$actions))
}

# max.col() would draw lots among equals
most_probable <- function(probabilities) {
  best <- max.col(replace(probabilities, is.na(probabilities), 0), ties.method = "first")
  replace(best, is.na(probabilities[, 1]), NA)
}

#' @rdname predict.spice_fit
#' @importFrom stats residuals
#' @export
residuals.spice_fit <- function(object, type = c("deviance", "pearson", "response"), ...) {
  check_dots(...)
  call <- rlang::current_env()
  type <- one_of(type, c("deviance", "pearson", "response"), "type", call)
  residuals_of(predicted(object, NULL, "equations", "error", call), type)
}

#' Residuals of what predicted() found
#' @noRd
residuals_of <- function(found, type) {
  expected <- as.matrix(found$table[paste0("p_", found$actions)])
  dimnames(expected) <- list(NULL, found$actions)
  choice <- match(as.character(found$table$choice), found$actions)
  chosen <- outer(choice, seq_along(found$actions), `==`) + 0
  raw <- chosen - expected
  if (type == "deviance") {
    size <- sqrt(-2 * log(found$table$probability))
    return(if (ncol(raw) == 2) sign(raw[, 2]) * size else size)
  }
  if (type == "pearson") raw <- raw / sqrt(expected * (1 - expected))
  if (ncol(raw) == 2) raw[, 2] else raw
}

#' @rdname predict.spice_fit
#' @importFrom stats fitted
#' @export
fitted.spice_fit <- function(object, ...) {
  check_dots(...)
  predicted(object, NULL, "equations", "error", rlang::current_env())$table$probability
}
