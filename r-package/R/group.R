#' Relate participants' coefficients to covariates
#'
#' Each coefficient of the equations is an outcome, estimated with a known
#' error in each participant; the formula says what it may depend on.
#'
#' @param fit A [spice_fit()], or a data frame with one row per participant,
#'   module and term: columns `participant`, `module`, `term`, `estimate` and
#'   `std_error`, or what [tidy()] of a fit gives.
#' @param formula What coefficients depend on, such as `~ diagnosis + age`.
#'   For factors the first level is the reference.
#' @param data A data frame with one row per participant. `NULL` takes the
#'   covariates that came with the fit.
#' @param method `NULL` is `"hierarchical"` for a fit and `"meta"` for a data
#'   frame. `"hierarchical"`: coefficients and effects are estimated together
#'   from the choices. `"meta"`: meta-regression with known sampling
#'   covariance, REML and the Knapp-Hartung adjustment;
#'   `"multivariate_meta"`: the same for all coefficients together.
#'   `"deshrunk_meta"`: two stages with everybody's likelihood. `"bayes"`,
#'   `"bayes_meta"`: posteriors. `"mixed"`: a mixed model of all coefficients.
#'   `"permutation"`: Freedman-Lane permutation tests. `"presence"`,
#'   `"hurdle"`: whether a term is in the equations, and how large it is.
#'   `"ols"`: ordinary least squares with robust errors, which takes the
#'   estimates as if they were known; for comparison.
#' @param modules,terms Character: which modules and terms of the equations
#'   to analyse; `NULL` for all.
#' @param adjust How p-values are adjusted for the number of coefficients:
#'   `"BH"`, `"BY"`, `"holm"`, `"bonferroni"`, `"maxT"` or `"none"`.
#' @param conf_level Level of the confidence intervals.
#' @param participant Column of `data` with the participant's id: a bare name
#'   or text.
#' @param max_unidentified Share of participants without an identified
#'   estimate above which p-values and intervals are withheld.
#' @param ... Further settings of the method, by name, such as
#'   `links = list(beta = "log")`.
#' @return An object of class `spice_group`: a list of the tibbles
#'   `coefficients`, `covariance` (of the effects on one coefficient), `glance`
#'   and `skipped` (coefficients that were not analysed, and why), and the text
#'   `formula`, `method`.
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   group <- spice_group(example_fit, ~ diagnosis + age)
#'   tidy(group, conf.int = TRUE)
#' }
#' }
#' tidy(example_group)
spice_group <- function(fit, formula, data = NULL, method = NULL,
                        modules = NULL, terms = NULL, adjust = "BH", conf_level = 0.95,
                        participant = "participant", max_unidentified = 0.2, ...) {
  call <- rlang::current_env()
  method <- group_method(method, fit, call)
  formula <- as_formula(formula, call)
  id <- column_name(rlang::enquo(participant), names(data), "participant", call)
  estimates <- coefficients_of(fit, call)
  if (is.null(data)) {
    data <- if (inherits(fit, "spice_fit")) fit$people
    id <- "participant"
  }
  people <- if (!is.null(data)) sent_people(data, all.vars(formula), id, call)
  settings <- list(
    method = method, modules = modules, terms = terms, adjust = adjust,
    conf_level = conf_level, max_unidentified = max_unidentified, ...
  )
  options <- c(
    list(formula = formula_text(formula, call), participant = hide_dots(id)),
    engine_options(settings, call)
  )
  if (method %in% choice_methods && inherits(fit, "spice_fit")) {
    # these methods read the choices, which are in the fit's files
    options$folder <- tempfile("spice_fit_")
    on.exit(unlink(options$folder, recursive = TRUE))
    write_files(fit$files, options$folder)
  }
  covariance <- if (inherits(fit, "spice_fit")) encode_table(fit$covariance)
  tables <- call_bridge(
    "group", encode_table(estimates), covariance, people, options,
    call = call
  )
  new_spice_group(tables, deparse1(formula), method)
}

choice_methods <- c("hierarchical", "bayes", "deshrunk_meta")
group_methods <- c(
  choice_methods, "multivariate_meta", "bayes_meta", "meta", "permutation", "mixed", "presence", "hurdle", "ols"
)

group_method <- function(method, fit, call) {
  if (is.null(method)) {
    return(if (inherits(fit, "spice_fit")) "hierarchical" else "meta")
  }
  rlang::arg_match0(method, group_methods, error_call = call)
}

new_spice_group <- function(tables, formula, method) {
  tables <- lapply(tables, decode_table)
  tables$coefficients$term <- show_dots(tables$coefficients$term)
  tables$covariance[c("row", "column")] <- lapply(tables$covariance[c("row", "column")], show_dots)
  tables$glance$formula <- rep(formula, nrow(tables$glance))
  structure(c(tables, list(formula = formula, method = method)), class = "spice_group")
}

sent_people <- function(data, used, id, call) {
  if (!is.data.frame(data)) {
    abort_spicestat("column", "`data` must be a data frame.", call = call)
  }
  wanted <- if ("." %in% used) names(data) else intersect(names(data), c(id, used))
  # a data.table would take [ for a join
  people <- as.data.frame(data)[wanted]
  names(people) <- hide_dots(names(people))
  encode_table(people, call = call)
}

# names that tidy() gives, and those of the engine's table
engine_names <- c(
  level = "participant", component = "module", std.error = "std_error", conf.low = "conf_low",
  conf.high = "conf_high", present = "selected", inclusion.prob = "inclusion_prob",
  n.trials = "n_trials", at.bound = "at_bound"
)

#' The coefficient table in the engine's names, from a fit or a data frame
#' @noRd
coefficients_of <- function(fit, call) {
  if (inherits(fit, "spice_fit")) {
    return(fit$coefficients)
  }
  if (!is.data.frame(fit)) {
    abort_spicestat("column", "`fit` must come from spice_fit(), or be a data frame.", call = call)
  }
  fit <- as.data.frame(fit)
  renamed <- names(fit) %in% names(engine_names) & !engine_names[names(fit)] %in% names(fit)
  names(fit)[renamed] <- engine_names[names(fit)[renamed]]
  known <- c("participant", "module", "term", "estimate", "converged", unname(engine_names))
  fit[intersect(names(fit), unique(known))]
}
