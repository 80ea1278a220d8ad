#' Effects of covariates as a table of the package parameters
#'
#' `parameters::parameters()` of a group model. The R package's own object, where
#' one fitted the model, is `group$fit`.
#'
#' @param model A [spice_group()].
#' @param ci Level of the intervals; `NULL` takes that of the analysis.
#' @param ... Not used; anything here is an error.
#' @return A data frame that parameters prints, with one block per coefficient of
#'   the equations.
#' @keywords internal
#' @exportS3Method parameters::model_parameters
model_parameters.spice_group <- function(model, ci = NULL, ...) { # nolint: object_name_linter.
  check_dots(...)
  table <- tidy(model, conf.int = TRUE, conf.level = ci)
  level <- if (is.null(ci)) model$coefficients$conf_level[[1]] else ci
  note <- effect_note(model, table)
  found <- data.frame(
    Parameter = table$term, Component = paste0(table$component, ":", table$sparse.term, note),
    Coefficient = table$estimate, SE = table$std.error, CI = level, CI_low = table$conf.low,
    CI_high = table$conf.high, t = table$statistic, df_error = table$df, p = table$p.value
  )
  structure(found, class = c("parameters_model", "see_parameters_model", "data.frame"), ci = level)
}
