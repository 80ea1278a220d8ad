#' Relate participants' coefficients to covariates
#'
#' Each coefficient of the equations is an outcome, estimated with a known
#' error in each participant; the formula says what it may depend on.
#'
#' @param fit A [spice_fit()], or a data frame with one row per participant,
#'   module and term: columns `participant`, `module`, `term`, `estimate` and
#'   `std_error`, or what [tidy()] of a fit gives.
#' @param formula What coefficients depend on, such as `~ diagnosis + age`. With the
#'   methods `"hierarchical"` and `"meta"` lme4's random parts may be added: `~ drug *
#'   anxiety + (drug | participant) + (1 | site)` where people were fitted on several
#'   occasions (`occasion` of [spice_fit()]).
#'   Everything that [stats::lm()] takes: contrasts of factors and of the session
#'   (`options(contrasts = )`), functions and variables of yours. Means of all participants,
#'   as in `I(age - mean(age))`, keep their values in [predict()]. Text is taken for categories:
#'   with more than 10 different values that is said in a warning, and with one
#'   for (nearly) each participant it is an error.
#' @param data A data frame with one row per participant. `NULL` takes the
#'   covariates that came with the fit.
#' @param method `NULL` is `"hierarchical"` for a fit and `"meta"` for a data frame. See
#'   below for the methods of the engine, and for those of R packages: `"metafor"`,
#'   `"lme4"`, `"glmmTMB"` and `"brms"`.
#' @param modules,terms Character: which modules and terms of the equations
#'   to analyse; `NULL` for all.
#' @param adjust How p-values are adjusted within each term of the formula (all levels
#'   of a factor together) for the number of coefficients:
#'   `"BH"`, `"BY"`, `"holm"`, `"bonferroni"`, `"maxT"` or `"none"`.
#' @param conf_level Level of the confidence intervals.
#' @param participant Column of `data` with the participant's id: a bare name
#'   or text. By default `participant` or, where there is none, what it was called
#'   in the call of [spice_fit()].
#' @param missing Values of covariates that mean "not there": `c(-99, "NR")` in all
#'   columns of `data`, or `list(age = -99, group = c("NR", "?"))` in some; see
#'   [spice_fit()]. Blank text is missing, too.
#' @param max_unidentified Share of participants without an identified
#'   estimate above which p-values and intervals are withheld. `NULL`: 0.4 for
#'   `"hierarchical"` and `"bayes"`, for which everybody's choices count, and no limit for
#'   these with `model = "history"`, whose likelihood is concave; else 0.2.
#' @param imputations `NULL` leaves out participants who lack a covariate of the
#'   formula. A number such as 20: covariates of people are filled in so many times by
#'   chained equations, with people's own estimates among the predictors, and Rubin's
#'   rules make one result of the models of all. For the engine's methods with standard
#'   errors alone (`"hierarchical"`, `"meta"`, `"multivariate_meta"`, `"mixed"`, `"ols"`). The
#'   imputations are always the same.
#' @param progress Show a progress bar for the methods of the engine that take long?
#' @param ... Further settings of the method, by name, such as
#'   `links = list(beta = "log")`.
#'
#' @section Methods of the engine:
#' * `"bayes"`: the posterior of the model of `hierarchical`, by NUTS.
#' * `"bayes_meta"`: the posterior of the model of `multivariate_meta`, by NUTS.
#' * `"hierarchical"`: coefficients and their relation to covariates estimated
#'   together, from the choices; takes random parts.
#' * `"hurdle"`: `presence`, and `meta` among those who have the term.
#' * `"meta"`: meta-regression of each coefficient with known sampling
#'   variances, by REML with Knapp-Hartung tests; takes random parts.
#' * `"mixed"`: one mixed model of all coefficients with a random intercept per
#'   participant; ignores standard errors.
#' * `"multivariate_meta"`: meta-regression of all coefficients together, with
#'   their full sampling covariances.
#' * `"ols"`: least squares with HC3 standard errors, the naive baseline.
#' * `"permutation"`: Freedman-Lane permutation tests of each covariate.
#' * `"presence"`: whether a term is in a participant's equation, by Firth's
#'   logistic regression.
#'
#' @section Settings of "hierarchical":
#' * `links`: a named list (or vector) of `"identity"` (the default), `"logit"` for
#'   shares between 0 and 1 such as learning rates, or `"log"` for positive
#'   numbers such as inverse temperatures. Names are modules, `list(beta =
#'   "log")`, or coefficients, `list("beta:x_value_reward" = "log")`, which count
#'   first. Effects and deviations are then on that scale.
#' * `covariates_on`: modules or coefficients that the covariates may change; the
#'   others have an intercept alone. By default all.
#' * `estimator`: `"REML"` or `"ML"`.
#' * `integration`: `"moments"`, by nodes, or `"laplace"`, the approximation of
#'   `lme4::glmer()`, which is faster and somewhat biased with few trials. By default
#'   the latter for more than four weights of `model = "history"`.
#' * `guessing`: whether some participants may be guessing (`TRUE`); `weight` in
#'   `augment()` says how probably each is not.
#' * `nodes_per_dimension`: nodes of the quadrature along each coefficient. By
#'   default 15, 9, 5 and 4 for 1 to 4 coefficients; where the fit does not converge
#'   with these, or two more give a participant another likelihood, and above 4
#'   coefficients, importance sampling with 1536 points in all. A number that is
#'   given is taken as it is.
#' * `max_rounds`: rounds of the search (40). More may help where `glance()` says
#'   that it has not converged.
#' * `avoid_boundary`: a weak prior that keeps covariances from becoming singular
#'   (`TRUE`).
#'
#' @section Methods of R packages:
#' These need no Python, but the package of that name. They read the
#' estimates, as `"meta"` does: the same participants and coefficients enter,
#' with the same warnings, and inference is withheld by the same rule. `$fit`
#' is the package's own object, for use with emmeans, parameters,
#' broom.mixed and so on. `emmeans::emmeans(group, ~ diagnosis | coefficient)`
#' works on the group model itself, whatever its method.
#' * `"metafor"`: the model of `"meta"`. `$fit` is a list of `rma` objects, by
#'   coefficient: `$fit[["beta:x_value_reward"]]`. With `joint = TRUE` all
#'   coefficients together, with their known covariances and an unstructured
#'   covariance between participants, in one `rma.mv` (the model of
#'   `"multivariate_meta"`, whose own search is faster and more exact). Settings:
#'   `estimator` (`"REML"` or `"ML"`), `knapp_hartung` (`TRUE`), `joint` (`FALSE`).
#' * `"lme4"`: the model of `"mixed"`; `$fit` is one `lmerModLmerTest` (without
#'   lmerTest an `lmerMod`, and degrees of freedom N - p instead of
#'   Satterthwaite's). `tidy()` and `print()` of the group have Satterthwaite's
#'   degrees of freedom too, but at most N - p of the coefficient (its
#'   participants less its effects), for its scale is estimated from its own
#'   residuals alone: where `summary(group$fit)` has more, its p-values are
#'   smaller. All coefficients in one model,
#'   `estimate ~ 0 + equation + equation:(covariates) + (0 + scale |
#'   participant)`, where `equation` tells coefficients apart and `scale` is
#'   a coefficient's residual standard deviation, so that all count the same and
#'   estimates keep their units. Standard errors of the estimates are not used.
#'   Setting: `estimator`.
#' * `"glmmTMB"`: the same, but each coefficient's residual variance is
#'   estimated in the model. Tests are t(N - p); glmmTMB's own summary has
#'   normal tests. Setting: `estimator`.
#' * `"brms"`: `estimate | se(std.error, sigma = TRUE) ~ covariates` for each
#'   coefficient, `$fit` a list of `brmsfit` objects. What the formula computes is a column
#'   there, `log.age.` for `log(age)`. Priors: flat for effects,
#'   Student t for the intercept and the standard deviation, with 2.5 times the
#'   estimates' (median absolute) deviation as scale. There are no
#'   p-values. Settings: those of `brms::brm()`, such as `prior`, `chains`, `cores`.
#'
#' @return An object of class `spice_group`: a list of the tibbles
#'   `coefficients`, `covariance` (of the effects on one coefficient), `glance`,
#'   `skipped` (coefficients that were not analysed, and why), `ran_vals`
#'   (deviations of participants, or `NULL`) and `participants` (see [augment()]),
#'   the matrix `joint_covariance` (of all effects, or `NULL`), the text
#'   `formula`, `method`, `messages` (what to know when reading the result),
#'   `links` (as they were given, or `NULL`), `fit` (the R package's own
#'   object, if one fitted the model), `call` (for [update()]), and
#'   `environment` (the user's variables that the formula names, as they were).
#' @references
#' Knapp & Hartung (2003), <https://doi.org/10.1002/sim.1482> (tests of `"meta"`);
#' Viechtbauer (2010), <https://doi.org/10.18637/jss.v036.i03> (metafor);
#' Firth (1993), <https://doi.org/10.1093/biomet/80.1.27> (`"presence"`);
#' Freedman & Lane (1983), <https://doi.org/10.1080/07350015.1983.10509354> (`"permutation"`);
#' Long & Ervin (2000), <https://doi.org/10.1080/00031305.2000.10474549> (`"ols"`).
#' @export
#' @examples
#' \donttest{
#' if (spicestat_available()) {
#'   group <- spice_group(example_fit, ~ diagnosis + age)
#'   tidy(group, conf.int = TRUE)
#' }
#' }
#' tidy(example_group)
#'
#' # in R alone
#' if (requireNamespace("metafor", quietly = TRUE)) {
#'   group <- spice_group(example_fit, ~ diagnosis + age, method = "metafor")
#'   group$fit[["beta:x_value_reward"]]
#' }
spice_group <- function(fit, formula, data = NULL, method = NULL,
                        modules = NULL, terms = NULL, adjust = "BH", conf_level = 0.95,
                        participant = "participant", missing = NULL, max_unidentified = NULL,
                        imputations = NULL, progress = interactive(), ...) {
  call <- rlang::current_env()
  written <- match.call()
  formula <- as_formula(formula, call)
  method <- group_method(method, fit, call)
  check_one_sided(formula, call)
  check_people(data, call)
  check_level(conf_level, call)
  id <- if (missing(participant)) own_id(fit, data, call) else NULL
  if (is.null(id)) id <- column_name(rlang::enquo(participant), names(data), "participant", call)
  estimates <- coefficients_of(fit, call)
  native <- method %in% names(native_engines)
  imputations <- checked_imputations(imputations, method, native, call)
  if (native) refuse_parts_natively(fit, formula, method, call)
  people <- group_people(fit, estimates, formula, data, id, missing_values(missing, call), call)
  options <- list(
    modules = modules, terms = terms, adjust = adjust, conf_level = conf_level, max_unidentified = max_unidentified
  )
  covariance <- if (inherits(fit, "spice_fit")) fit$covariance
  if (native) {
    group <- fit_natively(method, estimates, covariance, people, options, list(...), call)
  } else {
    settings <- c(list(method = method), options, check_settings(list(...), call))
    group <- fit_by_engine(fit, estimates, covariance, people, settings, imputations, new_progress(progress), call)
  }
  group$call <- written
  group$estimator <- list(...)$estimator
  # easystats takes a list with a NULL in it for an empty argument, and drops it
  structure(Filter(Negate(is.null), unclass(group)), class = class(group))
}

#' The column of ids where none was named: "participant", or what the fit's trials called it
#' @noRd
own_id <- function(fit, data, call) {
  if (is.null(data) || "participant" %in% names(data)) {
    return("participant")
  }
  named <- if (inherits(fit, "spice_fit")) called_participant(fit)
  if ((is.symbol(named) || is.character(named)) && as.character(named) %in% names(data)) {
    return(as.character(named))
  }
  abort_spicestat("column", c(
    "`data` has no column 'participant'.",
    i = "Say which column has the ids: participant = <name>.",
    i = paste0("The data has: ", paste(names(data), collapse = ", "), ".")
  ), call = call)
}

#' What a fit's trials called the participants
#' @noRd
called_participant <- function(fit) {
  if (is.null(fit$occasions)) fit$call$participant else fit$occasions$column[fit$occasions$role == "participant"]
}

#' Fit a group model in Python
#' @noRd
fit_by_engine <- function(fit, estimates, covariance, people, settings, imputations, show, call) {
  check_known(settings$modules, estimates$module, "modules", call)
  check_known(settings$terms, estimates$term, "terms", call)
  reads_choices <- call_bridge("reads_choices", settings$method, as.list(names(native_engines)), call = call)
  if (reads_choices) people <- with_choices(people, estimates)
  imputed <- if (!is.null(imputations)) imputed_people(fit, estimates, people, imputations, call)
  if (!is.null(imputed)) people <- imputed$typical
  design <- design_of_people(people, call)
  options <- engine_options(settings, call)
  if (!is.null(imputed)) {
    options$imputed <- lapply(imputed$each, function(one) sent_design(design_of_people(one, call), one$formula, call))
    options$imputed_text <- imputed$missing
  }
  if (!is.null(covariance)) covariance <- encode_table(covariance)
  sent <- sent_design(design, people$formula, call)
  refit <- list(design = sent, options = options)
  ask <- function(folder = NULL) {
    options$folder <- folder
    call_bridge("group", encode_table(estimates), covariance, sent, options, progress = show, call = call)
  }
  # choices are in the fit's files, and so is who is one person
  from_files <- inherits(fit, "spice_fit") && (reads_choices || !is.null(fit$occasions))
  tables <- if (from_files) with_fit_folder(fit, ask) else ask()
  group <- new_spice_group(tables, people$formula, design, settings$method, settings$links)
  # averages over structures fit the same model to other fits
  if (from_files) group$design$refit <- refit
  group
}

#' Without participants who made no choice, whose covariates would make levels that nobody has
#' @noRd
with_choices <- function(people, estimates) {
  if (is.null(estimates$n_trials)) {
    return(people)
  }
  idle <- id_key(people$people$participant) %in% id_key(estimates$participant[estimates$n_trials == 0])
  people$people <- people$people[!idle, , drop = FALSE]
  people$positions <- people$positions[!idle]
  people
}

#' Settings whose form Python would not take, or misread
#' @noRd
check_settings <- function(settings, call) {
  settings$links <- checked_links(settings$links, call)
  if (!is.null(settings$covariates_on) && !is.character(settings$covariates_on)) {
    abort_spicestat("config", paste0(
      "`covariates_on` must be text. Got: ", deparse1(settings$covariates_on),
      ". Allowed: modules such as \"beta\", or coefficients such as \"beta:x_value\"."
    ), call = call)
  }
  if (!is.null(settings$avoid_boundary) && !rlang::is_bool(settings$avoid_boundary)) {
    abort_spicestat("config", "`avoid_boundary` must be TRUE or FALSE.", call = call)
  }
  settings
}

#' Links as a list; a character vector does as well
#' @noRd
checked_links <- function(links, call) {
  if (length(links) == 0) {
    return(NULL)
  }
  texts <- (is.list(links) || is.character(links)) && all(vapply(links, rlang::is_string, NA))
  if (!texts || !rlang::is_named(links)) {
    abort_spicestat("config", c(
      paste0("`links` must be named text. Got: ", deparse1(links), "."),
      i = "Names are modules, as in list(beta = \"log\"), or coefficients, as in list(\"beta:x_value\" = \"log\").",
      i = "Links are \"identity\", \"logit\" (shares between 0 and 1) and \"log\" (positive numbers)."
    ), call = call)
  }
  as.list(links)
}

#' The method's name; the engine and `native_engines` know which there are
#' @noRd
group_method <- function(method, fit, call) {
  if (is.null(method)) {
    return(if (inherits(fit, "spice_fit")) "hierarchical" else "meta")
  }
  if (!rlang::is_string(method)) {
    abort_spicestat("config", paste0("`method` must be one text, or NULL. Got: ", deparse1(method), "."), call = call)
  }
  method
}

#' Methods of R's packages have no random parts but the participants', and would take occasions for people
#' @noRd
refuse_parts_natively <- function(fit, formula, method, call) {
  if (inherits(fit, "spice_fit") && !is.null(fit$occasions) && anyDuplicated(fit$people$person) > 0) {
    abort_spicestat("config", paste0(
      "method = \"", method, "\" takes participants for different people. Got: people on several occasions. ",
      "Try: method = \"hierarchical\" or \"meta\", with a random part such as (1 | participant)."
    ), call = call)
  }
  if (has_bars(formula)) {
    abort_spicestat("formula", paste0(
      "the formula has more than one part. Allowed: ", formula_example,
      ". Try: method = \"meta\" takes random parts; in this model that of participants is always there."
    ), call = call)
  }
}

#' A group model from the engine's tables
#' @noRd
new_spice_group <- function(tables, formula, design, method, links = NULL) {
  tables <- lapply(tables, decode_table)
  tables$glance$formula <- rep(deparse1(formula), nrow(tables$glance))
  if (!is.null(tables$joint_covariance)) {
    tables$joint_covariance <- labelled_matrix(tables$joint_covariance)
  }
  tables$messages <- as.character(tables$messages$message)
  tables$participants <- with_covariates(tables$participants, design$frame)
  structure(
    c(tables, list(formula = deparse1(formula), method = method, links = links), kept_design(design, formula)),
    class = "spice_group"
  )
}

#' The engine's table of participants with R's covariates
#' @noRd
with_covariates <- function(table, frame) {
  if (is.null(table)) {
    return(NULL)
  }
  rows <- match(id_key(table$participant), id_key(frame$participant))
  of_model <- table[seq(match("module", names(table)), length(table))]
  tibble::as_tibble(cbind(frame[rows, , drop = FALSE], of_model, row.names = NULL))
}

#' What a group model keeps of its design: for the covariates of other people, and the values that names had
#' @noRd
kept_design <- function(design, formula) {
  environment <- kept_environment(formula, names(design$frame))
  environment(design$terms) <- environment
  kept <- design[c("terms", "contrasts", "xlevels", "frame", "assign")]
  list(design = c(kept, list(columns = colnames(design$matrix))), environment = environment)
}

#' A matrix from a table with the columns module, sparse_term, term and one per effect
#' @noRd
labelled_matrix <- function(table) {
  names <- paste(table$module, table$sparse_term, table$term, sep = ":")
  matrix <- as.matrix(as.data.frame(table)[-(1:3)])
  dimnames(matrix) <- list(names, names)
  matrix
}

check_people <- function(data, call) {
  if (!is.null(data) && !is.data.frame(data)) {
    abort_spicestat("column", "`data` must be a data frame.", call = call)
  }
}

# what results call their own columns
reserved_columns <- c(
  "module", "sparse_term", "component", "sparse.term", "coefficient", "estimate", "std_error", "std.error", "observed",
  "used", "fitted", "fitted_std_error", "residual", "std_residual", "hat", "cooks_distance", "posterior_mean",
  "posterior_std_error", "fitted_natural", "posterior_natural", "(Intercept)"
)

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
  fit <- fit[intersect(names(fit), unique(known))]
  typed_coefficients(fit, call)
  fit
}
