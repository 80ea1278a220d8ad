# Estimated marginal means of every group model, also those of the engine, through emmeans. Its generics are registered
# when emmeans is loaded.

#' Marginal means with emmeans
#'
#' `emmeans::emmeans()` and its relatives work on every group model that keeps
#' its covariates. Coefficients of the equations are the levels of a factor
#' `coefficient`: `emmeans(group, ~ diagnosis | coefficient)`. Without it, means
#' are over learning rates, inverse temperatures and so on, which a warning
#' says. Contrasts between different coefficients need a joint model; with
#' separate ones their covariance is taken as 0, which a message says once.
#'
#' With a link, means are on its scale. `type = "response"` turns them back where
#' all coefficients have the same link, as in a model of one module
#' (`spice_group(modules = )`). Where links differ it cannot, which a warning
#' says, and a note under the table names the scales; `predict(group, type =
#' "response")` has each coefficient on its own scale.
#'
#' @param object A [spice_group()].
#' @param ...,trms,xlev,grid,data As emmeans passes them.
#' @return What emmeans needs.
#' @name emmeans-methods
#' @keywords internal
NULL

#' @rdname emmeans-methods
#' @exportS3Method emmeans::recover_data
recover_data.spice_group <- function(object, data = NULL, ...) { # nolint: object_name_linter.
  # emmeans reads "a$b" as an extraction and "1" as the intercept, and then finds neither
  odd <- grep("[$@]|^[0-9.]+$", all.vars(fixed_part(formula.spice_group(object))), value = TRUE)
  if (length(odd) > 0) {
    abort_spicestat("covariate", paste0(
      "emmeans cannot read a covariate called ", name_some(odd), ". Try: rename the column and fit again."
    ))
  }
  emmeans::recover_data(
    quote(spice_group()), known_design(object)$terms,
    na.action = NULL, data = model_data(object),
    params = c(
      setdiff(all.vars(known_design(object)$terms), names(model_data(object))), texts_in(formula.spice_group(object))
    ), ...
  )
}

#' Text in a formula, as in relevel(site, ref = "B"), which emmeans takes for variables with quotes
#' @noRd
texts_in <- function(expr) {
  if (is.character(expr)) {
    return(encodeString(expr, quote = "\""))
  }
  if (is.call(expr)) unlist(lapply(as.list(expr)[-1], texts_in))
}

#' @rdname emmeans-methods
#' @exportS3Method emmeans::emm_basis
emm_basis.spice_group <- function(object, trms, xlev, grid, ...) { # nolint: object_name_linter.
  X <- matrix_for(object$design, grid) # nolint: object_name_linter.
  table <- tidy(object)
  keys <- unique(paste(table$component, table$sparse.term, sep = ":"))
  names <- paste(rep(keys, each = ncol(X)), colnames(X), sep = ":")
  asked <- asked_of_emmeans()
  if (isTRUE(attr(asked, "joint"))) {
    tested_effects(object, rlang::caller_env())
    check_tested_apart(asked, covariates_of(object), keys)
  }
  if (length(keys) > 1) warn_averaged(asked)
  if ("coefficient" %in% setdiff(asked, attr(asked, "by"))) tell_independent(object)
  # a covariate that is kept off a coefficient has the effect 0 for certain
  given <- names %in% effect_names(table)
  beta <- stats::setNames(rep(0, length(names)), names)
  beta[given] <- stats::coef(object)[names[given]]
  df <- table$df[match(names, effect_names(table))]
  df[is.na(df)] <- Inf
  list(
    X = kronecker(diag(length(keys)), X), bhat = unname(beta), V = emm_covariance(object, names, given),
    post.beta = emm_draws(object, names),
    nbasis = matrix(NA), dfargs = list(df = df),
    dffun = function(k, dfargs) min(dfargs$df[k != 0], Inf),
    misc = c(
      list(ylevs = list(coefficient = keys), estName = "emmean", famSize = length(keys)),
      emm_scale(stats::setNames(links_of(object, table), keys))
    )
  )
}

links_of <- function(object, table) {
  first <- !duplicated(paste(table$component, table$sparse.term, sep = ":"))
  link_of(object, table$component[first], table$sparse.term[first])
}

#' What emmeans is told of links, given by coefficient: the one that all have, or else a note
#' @noRd
emm_scale <- function(links) {
  if (all(links == "identity")) {
    return(NULL)
  }
  if (length(unique(links)) == 1) {
    return(list(tran = links[[1]], inv.lbl = "response"))
  }
  named <- links[links != "identity"]
  note <- paste0("Means of ", paste0(names(named), " are on the ", named, " scale", collapse = ", those of "), ".")
  if (isTRUE(type_asked_of_emmeans() %in% c("response", "unlink"))) warn_mixed_scales(note)
  list(initMesg = note)
}

warn_mixed_scales <- function(note) {
  warn_spicestat("scales", c(
    "`type = \"response\"` has no effect, as the coefficients differ in their links.",
    i = note,
    i = "predict(group, type = \"response\") has coefficients on their own scales, and so have models of one module."
  ))
}

#' The `type` in a call of emmeans, or NULL
#' @noRd
type_asked_of_emmeans <- function() {
  for (frame in frames_of_emmeans()) {
    type <- if (exists("...", frame, inherits = FALSE)) eval(quote(list(...)$type), frame)
    if (!is.null(type)) return(type)
  }
}

#' Did a function of a package call, at whatever distance?
#' @noRd
called_from <- function(package) {
  package %in% loadedNamespaces() &&
    any(vapply(sys.frames(), function(frame) identical(topenv(frame), asNamespace(package)), NA))
}

#' The calls of emmeans' functions that led here, the innermost first
#' @noRd
frames_of_emmeans <- function() {
  Filter(function(frame) identical(topenv(frame), asNamespace("emmeans")), rev(sys.frames()))
}

#' Draws of all effects of a Bayesian model, of which emmeans makes its intervals; for others what it takes for none
#' @noRd
emm_draws <- function(object, names) {
  if (is.null(object$draws)) {
    return(matrix(NA))
  }
  draws <- as.matrix(object$draws[names(object$draws) %in% names])
  whole <- matrix(0, nrow(draws), length(names), dimnames = list(NULL, names))
  whole[, colnames(draws)] <- draws
  unname(whole)
}

#' Covariance of all effects; NA where inference is withheld
#' @noRd
emm_covariance <- function(object, names, given) {
  whole <- matrix(0, length(names), length(names))
  covariance <- stats::vcov(object)[names[given], names[given], drop = FALSE]
  covariance[is.na(covariance)] <- 0
  if (any(object$glance$withheld)) covariance[] <- NA
  whole[given, given] <- covariance
  whole
}

#' The factors that emmeans() or emtrends() was asked for, which emmeans does not pass on; NULL from elsewhere
#' @noRd
asked_of_emmeans <- function() {
  for (frame in frames_of_emmeans()) {
    # joint_tests() has no specs: it tests every factor, and `coefficient` apart if it is in `by`
    if (exists("show0df", frame, inherits = FALSE)) {
      return(structure(c(character(), frame$by), joint = TRUE, by = frame$by))
    }
    if (exists("specs", frame, inherits = FALSE)) {
      specs <- get("specs", frame)
      specs <- if (is.list(specs)) specs else list(specs)
      return(structure(c(unlist(lapply(specs, factors_in)), frame$by), by = c(unlist(lapply(specs, by_in)), frame$by)))
    }
  }
}

#' Covariates that a model's design names
#' @noRd
covariates_of <- function(object) {
  intersect(all.vars(known_design(object)$terms), names(model_data(object)))
}

#' Refuse what joint_tests() is to test apart, where it would end in an error of its own that says nothing
#' @noRd
check_tested_apart <- function(by, covariates, keys) {
  unknown <- setdiff(by, c(covariates, "coefficient"))
  if (length(unknown) > 0) {
    abort_spicestat("column", c(
      paste0("joint_tests() cannot go by ", name_some(unknown), ", which is not in the model."),
      i = paste0("Allowed: ", paste(c("coefficient", covariates), collapse = ", "), ".")
    ))
  }
  if ("coefficient" %in% by && length(keys) == 1) {
    abort_spicestat("config", c(
      paste0("the model has one coefficient, ", keys, ", and by = \"coefficient\" takes several."),
      i = "Leave it out: joint_tests(group)."
    ))
  }
  if (all(covariates %in% by)) {
    abort_spicestat("config", c(
      "no covariate is left to test, as `by` has all of them.",
      i = "Leave one out of `by`; emmeans(group, ~ covariate | coefficient) has means."
    ))
  }
}

factors_in <- function(specs) {
  if (rlang::is_formula(specs)) all.vars(specs) else as.character(specs)
}

#' What stands behind the bar of a formula, within whose levels emmeans compares
#' @noRd
by_in <- function(specs) {
  right <- if (rlang::is_formula(specs)) rlang::f_rhs(specs)
  if (rlang::is_call(right, "|")) all.vars(right[[3]])
}

warn_averaged <- function(asked) {
  if (is.null(asked) || "coefficient" %in% asked) {
    return(invisible())
  }
  if (called_from("ggeffects")) {
    abort_spicestat("config", c(
      "ggemmeans() would average over different coefficients of the equations.",
      i = "Analyse one (modules =, terms =), or have all: emmeans::emmeans(group, ~ covariate | coefficient)."
    ))
  }
  if (isTRUE(attr(asked, "joint"))) {
    warn_spicestat("averaged", paste0(
      "these tests average over different coefficients of the equations, which mean little together. ",
      "To test each coefficient, write joint_tests(group, by = \"coefficient\")."
    ))
    return(invisible())
  }
  shown <- setdiff(asked, c("pairwise", "revpairwise", "."))
  shown <- if (length(shown) > 0) paste(shown, collapse = " * ") else "1"
  warn_spicestat("averaged", paste0(
    "these are means over different coefficients of the equations, which mean little together. ",
    "To have each coefficient's own, write ~ ", shown, " | coefficient."
  ))
}
