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

# Debian's R lacks the packages, so that declared ones could not be checked there: methods join when they are loaded.
join_marginaleffects <- function(...) {
  join("marginaleffects", list(
    get_coef = get_coef.spice_group, set_coef = set_coef.spice_group, get_vcov = get_vcov.spice_group,
    get_predict = get_predict.spice_group
  ))
}

join_broom_helpers <- function(...) join("broom.helpers", list(model_get_n = model_get_n.spice_group))

join <- function(package, methods) {
  for (name in names(methods)) {
    registerS3method(name, "spice_group", methods[[name]], envir = asNamespace(package))
  }
}

#' Numbers of participants: broom.helpers counts the rows of the frame, which has everybody once for each coefficient
#' @noRd
model_get_n.spice_group <- function(model) { # nolint: object_name_linter.
  counts <- NextMethod()
  times <- nlevels(coefficient_factor(estimates_of(model)))
  counts$n_obs <- counts$n_obs / times
  attr(counts, "N_obs") <- attr(counts, "N_obs") / times # nolint: object_name_linter.
  counts
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
  check_joint_df(model, rlang::caller_env())
  covariance <- stats::vcov(model)
  if (any(model$glance$withheld)) covariance[] <- NA
  tell_independent(model)
  if (!any(model$glance$withheld)) covariance[is.na(covariance)] <- 0
  covariance
}

#' Say once that the covariance of effects on different coefficients is taken as 0, where it is not known
#' @noRd
tell_independent <- function(model) {
  if (anyNA(stats::vcov(model)) && !any(model$glance$withheld)) {
    rlang::inform(paste0(
      "Coefficients were analysed separately: effects on different ones are taken as independent in what combines them."
    ), .frequency = "once", .frequency_id = "spicestat_independent")
  }
}

#' hypotheses(joint = ) takes the number of rows less that of effects for degrees of freedom, and asks no model
#' @noRd
check_joint_df <- function(model, call) {
  frame <- Find(function(frame) exists("joint_index", frame, inherits = FALSE), rev(sys.frames()))
  several <- length(unique(paste(tidy(model)$component, tidy(model)$sparse.term))) > 1
  if (!is.null(frame) && several && frame$joint_test == "f" && is.null(frame$df)) {
    abort_spicestat("config", c(
      "a joint test needs degrees of freedom, which marginaleffects does not ask group models for.",
      i = "hypotheses(group, joint = c(...), df = c(<number of effects>, df.residual(group))), or anova(group)."
    ), call = call)
  }
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
