# Missing covariates of people, filled in by the engine

checked_imputations <- function(imputations, method, native, call) {
  if (is.null(imputations)) {
    return(NULL)
  }
  if (native) {
    abort_spicestat("config", paste0(
      "method = \"", method, "\" has no imputations. Try: a method of the engine, such as \"meta\", or mice and ",
      "with() on a data frame of your own."
    ), call = call)
  }
  whole <- is.numeric(imputations) && length(imputations) == 1 && isTRUE(imputations == round(imputations))
  if (!whole || imputations < 2) {
    abort_spicestat("config", paste0(
      "`imputations` must be NULL or one whole number from 2. Got: ", deparse1(imputations), "."
    ), call = call)
  }
  as.integer(imputations)
}

#' People with covariates that are filled in: a typical one, one for each imputation; NULL where nothing is missing
#' @noRd
imputed_people <- function(fit, estimates, people, imputations, call) {
  formula <- people$formula
  effects <- lapply(random_parts(formula), function(part) all.vars(part$effects))
  variables <- intersect(unique(c(all.vars(fixed_part(formula)), unlist(effects))), names(people$people))
  if (!anyNA(people$people[variables])) {
    return(NULL)
  }
  sent <- people$people[unique(c("participant", intersect("person", people$person), variables))]
  options <- list(variables = as.list(variables), imputations = imputations)
  ask <- function(folder = NULL) {
    options$folder <- folder
    positions <- as.list(as.integer(people$positions - 1))
    call_bridge("impute", encode_table(estimates), encode_table(sent), positions, options, call = call)
  }
  occasions <- inherits(fit, "spice_fit") && !is.null(fit$occasions)
  found <- if (occasions) with_fit_folder(fit, ask) else ask()
  filled <- function(table) {
    table <- decode_table(table)
    for (name in variables) people$people[[name]] <- like_column(table[[name]], people$people[[name]])
    people
  }
  list(
    typical = filled(found$typical), each = unname(lapply(found[as.character(seq_len(imputations))], filled)),
    missing = found$missing
  )
}

#' A column as the engine gives it back, of the type that it had
#' @noRd
like_column <- function(new, old) {
  if (is.factor(old)) {
    return(factor(as.character(new), levels(old)))
  }
  if (is.logical(old)) as.logical(new) else if (is.character(old)) as.character(new) else as.numeric(new)
}
