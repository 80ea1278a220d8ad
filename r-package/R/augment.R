#' Trials with the fit's predictions
#'
#' @param x A [spice_fit()].
#' @param data The trials that were fitted, to which columns are added; `NULL`
#'   gives the participant and the choice alone.
#' @param newdata Other trials of the same participants.
#' @param ... Not used; anything here is an error.
#' @return A tibble with one row per trial: `data`, and `.fitted`, the
#'   probability of the choice that was made; `.resid`, the deviance residual
#'   (not for `newdata`); `.pred_<action>`, the probability of each action. `NA` on
#'   the first trial of a block, which nothing predicts.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) augment(example_fit, example_trials)
#' }
augment.spice_fit <- function(x, data = NULL, newdata = NULL, ...) {
  check_dots(...)
  found <- predicted(x, newdata, "equations", "error", rlang::current_env())
  own <- if (is.null(newdata)) data else newdata
  if (is.null(own)) own <- found$table[c("participant", "choice")]
  if (!is.data.frame(own) || nrow(own) != nrow(found$table)) {
    abort_spicestat("data", paste0(
      "`data` are not the trials that were fitted: there were ", count(nrow(found$table), "row"),
      ". Try: pass other trials as `newdata`."
    ))
  }
  added <- c(
    list(.fitted = found$table$probability),
    if (is.null(newdata)) list(.resid = residuals_of(found, "deviance")),
    stats::setNames(as.list(found$table[paste0("p_", found$actions)]), paste0(".pred_", found$actions))
  )
  tibble::new_tibble(c(as.list(own), added), nrow = nrow(own))
}

#' Participants with fitted values, residuals and posterior means
#'
#' @param x A [spice_group()].
#' @param data A data frame with one row per participant, whose columns are put
#'   beside the results, also those that the formula does not use; `NULL` for the
#'   covariates of the formula. Ids are in the column `participant` or, where there is none, in the first
#'   column.
#' @param newdata A data frame of other people; see [predict.spice_group()].
#' @param ... Not used; anything here is an error.
#' @return A tibble with one row per participant and coefficient of the
#'   equations: `participant`, the covariates, `component`, `sparse.term`;
#'   `.observed`, `std.error`: the participant's own estimate; `.used`: did it
#'   enter the model? `.fitted`, `.se.fit`: what the covariates predict;
#'   `.resid`, `.std.resid`, `.hat`, `.cooksd`: residual, standardised residual,
#'   leverage and Cook's distance; `.posterior`, `.se.posterior`: the
#'   coefficient as the model estimates it, for methods that do. With a link,
#'   all of these are on its scale, and `.fitted.natural` and
#'   `.posterior.natural` on the coefficient's own. With `newdata`: its columns, `component`,
#'   `sparse.term`, `.fitted` and `.se.fit`.
#' @export
#' @examples
#' augment(example_group)
#' augment(example_group, newdata = data.frame(diagnosis = "patient", age = 30))
augment.spice_group <- function(x, data = NULL, newdata = NULL, ...) {
  check_dots(...)
  call <- rlang::current_env()
  if (!is.null(newdata)) {
    if (!is.null(data)) abort_spicestat("config", "augment() takes `data` or `newdata`, not both.")
    found <- stats::predict(x, newdata)
    return(found[setdiff(names(found), c(".lower", ".upper"))])
  }
  table <- estimates_of(x, call)
  if (!is.null(data)) table <- with_columns_of(table, data, call)
  renamed <- names(table) %in% names(augment_names)
  names(table)[renamed] <- augment_names[names(table)[renamed]]
  table
}

#' A table of participants with all columns of the user's data
#' @noRd
with_columns_of <- function(table, data, call) {
  check_people(data, call)
  data <- as.data.frame(data)
  id <- if ("participant" %in% names(data)) "participant" else names(data)[[1]]
  rows <- match(id_key(table$participant), id_key(data[[id]]))
  if (anyNA(rows)) {
    abort_spicestat("data", paste0(
      "`data` lacks participants of the model, by column '", id, "': ",
      name_some(unique(table$participant[is.na(rows)])), "."
    ), call = call)
  }
  own <- table[seq(match("module", names(table)), length(table))]
  beside <- data[rows, setdiff(names(data), c(id, names(own))), drop = FALSE]
  tibble::as_tibble(cbind(participant = table$participant, beside, own, row.names = NULL))
}

augment_names <- c(
  module = "component", sparse_term = "sparse.term", observed = ".observed", std_error = "std.error", used = ".used",
  fitted = ".fitted", fitted_std_error = ".se.fit", residual = ".resid", std_residual = ".std.resid", hat = ".hat",
  cooks_distance = ".cooksd", posterior_mean = ".posterior", posterior_std_error = ".se.posterior",
  fitted_natural = ".fitted.natural", posterior_natural = ".posterior.natural"
)

#' One row per participant and equation of a model that R fitted, in the engine's names
#'
#' The same quantities as in spicestat/group/after/augment.py.
#' @noRd
participant_rows <- function(found, inputs) {
  analysed <- unique(paste(found$fixed$module, found$fixed$sparse_term, sep = ":"))
  rows <- lapply(inputs$equations[analysed], participant_rows_of, found = found, inputs = inputs)
  tibble::as_tibble(do.call(rbind, unname(rows)))
}

participant_rows_of <- function(equation, found, inputs) {
  frame <- inputs$design$frame
  X <- inputs$design$matrix # nolint: object_name_linter.
  mine <- function(table) table[table$module == equation$module & table$sparse_term == equation$sparse_term, ]
  spread <- mine(found$ran_pars)
  sds <- spread$estimate[spread$term %in% c("sd__(Intercept)", "sd__Observation")]
  own <- own_estimates(equation, inputs, within = "sd__Observation" %in% spread$term)
  fitted <- as.vector(X %*% mine(found$fixed)$estimate)
  variance <- if ("sd__Observation" %in% spread$term) rep(sum(sds^2), nrow(X)) else sum(sds^2) + own$std_error^2
  deviation <- mine(found$ran_vals)
  at <- match(id_key(frame$participant), id_key(deviation$level))
  posterior <- fitted + deviation$estimate[at]
  covariance <- found$covariance[[equation$key]]
  cbind(
    frame,
    row_of(equation,
      own, fitted = fitted, fitted_std_error = sqrt(rowSums((X %*% covariance) * X)),
      residual_diagnostics(own, X, fitted, variance),
      posterior_mean = posterior, posterior_std_error = deviation$std_error[at],
      fitted_natural = fitted, posterior_natural = posterior
    )
  )
}

own_estimates <- function(equation, inputs, within) {
  cells <- inputs$cells
  rows <- inputs$design$rows
  cell <- function(name) unname(cells[[name]][rows, equation$key])
  std_error <- cell("std_error")
  usable <- cell("selected") & cell("converged") & !cell("at_bound")
  data.frame(
    observed = ifelse(cell("selected"), cell("estimate"), NA), std_error = std_error,
    used = usable & is.finite(cell("estimate")) & (within | (!is.na(std_error) & std_error > 0))
  )
}

residual_diagnostics <- function(own, X, fitted, variance) { # nolint: object_name_linter.
  hat <- rep(NA_real_, nrow(X))
  weighted <- X[own$used, , drop = FALSE] / sqrt(variance[own$used])
  hat[own$used] <- rowSums(qr.Q(qr(weighted))^2)
  # leverage 1: the participant alone determines an effect, whatever it did
  left <- ifelse(hat < 1 - 1e-10, 1 - hat, NA)
  residual <- ifelse(own$used, own$observed - fitted, NA)
  standard <- residual / sqrt(variance * left)
  data.frame(
    residual = residual, std_residual = standard, hat = hat,
    cooks_distance = standard^2 * hat / (left * ncol(X))
  )
}
