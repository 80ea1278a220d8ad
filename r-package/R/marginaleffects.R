# What marginaleffects asks of a model. Coefficients of the equations are its groups, as the outcomes of a multinomial
# model are: predictions(group) has the column `group`.

#' Group models for marginaleffects
#'
#' `marginaleffects::predictions()`, `avg_slopes()`, `avg_comparisons()` and
#' `hypotheses()` work on each coefficient of the equations, which the column `group`
#' of their results names. Where coefficients were analysed separately, effects on
#' different ones are taken as independent, which a message says once. Tests are normal unless
#' `df = df.residual(group)` is given.
#'
#' @return What marginaleffects needs: coefficients, their covariance and predictions.
#' @name marginaleffects-methods
#' @keywords internal
NULL

# Debian's R lacks the package, so that a declared one could not be checked there: methods join it when it is loaded.
join_marginaleffects <- function(...) {
  methods <- list(
    get_coef = get_coef.spice_group, set_coef = set_coef.spice_group, get_vcov = get_vcov.spice_group,
    get_predict = get_predict.spice_group
  )
  for (name in names(methods)) {
    registerS3method(name, "spice_group", methods[[name]], envir = asNamespace("marginaleffects"))
  }
}

get_coef.spice_group <- function(model, ...) stats::coef(model) # nolint: object_name_linter.

set_coef.spice_group <- function(model, coefs, ...) { # nolint: object_name_linter.
  fixed <- model$coefficients$effect == "fixed"
  model$coefficients$estimate[fixed] <- unname(coefs)
  model
}

get_vcov.spice_group <- function(model, vcov = NULL, ...) { # nolint: object_name_linter.
  if (identical(vcov, FALSE)) {
    return(NULL)
  }
  if (!is.null(vcov) && !isTRUE(vcov)) {
    abort_spicestat("config", "a group model has its own covariance of effects: leave `vcov` out.")
  }
  covariance <- stats::vcov(model)
  if (any(model$glance$withheld)) covariance[] <- NA
  if (anyNA(covariance) && !any(model$glance$withheld)) {
    rlang::inform(paste0(
      "Coefficients were analysed separately: effects on different ones are taken as independent in what combines them."
    ), .frequency = "once", .frequency_id = "spicestat_independent")
    covariance[is.na(covariance)] <- 0
  }
  covariance
}

get_predict.spice_group <- function(model, newdata = NULL, type = "response", ...) { # nolint: object_name_linter.
  data <- if (is.null(newdata)) model_data(model) else as.data.frame(newdata)
  X <- matrix_for(known_design(model), data) # nolint: object_name_linter.
  ids <- if (is.null(data$rowid)) seq_len(nrow(data)) else data$rowid
  parts <- lapply(split_effects(tidy(model)), function(table) {
    values <- as.vector(X[, table$term, drop = FALSE] %*% table$estimate)
    link <- link_of(model, table$component[1], table$sparse.term[1])
    if (!identical(type, "link")) values <- stats::make.link(link)$linkinv(values)
    data.frame(rowid = ids, group = paste(table$component[1], table$sparse.term[1], sep = ":"), estimate = values)
  })
  do.call(rbind, unname(parts))
}
