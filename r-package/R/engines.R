# Group models that R packages fit. An engine is a function that takes inputs (see group_inputs()) and settings,
# and returns a list: `fixed`, `ran_pars`, `ran_vals`, `glance` (data frames), `covariance` (matrices by equation),
# `joint_covariance` (or NULL), `fit` (the real object, or a list of them by equation), `skipped`, `messages`.

native_engines <- list(
  metafor = list(
    package = "metafor", needs_std_error = TRUE,
    settings = list(estimator = "REML", knapp_hartung = TRUE, joint = FALSE)
  ),
  lme4 = list(package = "lme4", needs_std_error = FALSE, settings = list(estimator = "REML")),
  glmmTMB = list(package = "glmmTMB", needs_std_error = FALSE, settings = list(estimator = "REML")),
  # brms has too many arguments to list: they go to brms::brm()
  brms = list(package = "brms", needs_std_error = TRUE, settings = NULL)
)

#' Fit a group model with an R package
#' @noRd
fit_natively <- function(method, estimates, covariance, people, options, settings, call) {
  engine <- native_engines[[method]]
  need_package(engine$package, paste0("method = \"", method, "\""), call)
  settings <- engine_settings(method, engine$settings, settings, call)
  if (is.null(options$max_unidentified)) options$max_unidentified <- 0.2
  check_group_options(options, call)
  inputs <- group_inputs(estimates, covariance, people, options$modules, options$terms, engine$needs_std_error, call)
  inputs$conf_level <- options$conf_level
  found <- engine_function(method)(inputs, settings, call)
  found$skipped <- rbind(inputs$skipped, found$skipped)
  if (NROW(found$fixed) == 0) abort_nothing_left(found$skipped, call)
  assemble_group(found, inputs, method, options, call)
}

engine_function <- function(method) {
  switch(method, metafor = fit_metafor, lme4 = fit_lme4, glmmTMB = fit_glmm_tmb, brms = fit_brms)
}

need_package <- function(package, what, call, otherwise = NULL) {
  if (!requireNamespace(package, quietly = TRUE)) {
    advice <- c(paste0("Run install.packages(\"", package, "\")"), otherwise)
    abort_spicestat("install", c(
      paste0(what, " needs the R package '", package, "', which is not installed."),
      i = paste0(paste(advice, collapse = ", "), ".")
    ), call = call)
  }
}

engine_settings <- function(method, defaults, given, call) {
  if (is.null(defaults)) {
    return(given)
  }
  unknown <- setdiff(names(given), names(defaults))
  if (length(unknown) > 0) {
    abort_spicestat("config", paste0(
      "the group method '", method, "' has no such setting. Got: ", paste(unknown, collapse = ", "),
      ". Allowed: ", paste(names(defaults), collapse = ", "), "."
    ), call = call)
  }
  settings <- utils::modifyList(defaults, given)
  if (!rlang::is_string(settings$estimator) || !settings$estimator %in% c("REML", "ML")) {
    abort_spicestat("config", "unknown `estimator`. Allowed: \"REML\", \"ML\".", call = call)
  }
  for (name in intersect(names(settings), c("knapp_hartung", "joint"))) {
    if (!rlang::is_bool(settings[[name]])) {
      abort_spicestat("config", paste0("`", name, "` must be TRUE or FALSE."), call = call)
    }
  }
  settings
}

check_group_options <- function(options, call) {
  if (!rlang::is_string(options$adjust) || !options$adjust %in% adjustments) {
    abort_spicestat("config", paste0(
      "unknown adjustment of p-values. Got: ", name_some(options$adjust),
      ". Allowed: ", paste(adjustments, collapse = ", "), "."
    ), call = call)
  }
  if (!is_share(options$max_unidentified)) {
    abort_spicestat("config", c(
      "`max_unidentified` is out of range. Allowed: a share in [0, 1].",
      i = if (is_percent(options$max_unidentified)) paste0("Did you mean ", options$max_unidentified / 100, "?")
    ), call = call)
  }
  check_level(options$conf_level, call)
}

is_share <- function(x) {
  is.numeric(x) && length(x) == 1 && isTRUE(x >= 0 && x <= 1)
}

#' Everything that an engine reads
#' @noRd
group_inputs <- function(estimates, covariance, people, modules, terms, needs_std_error, call) {
  cells <- coefficient_cells(estimates, call)
  design <- design_of_people(people, call)
  selected <- select_equations(cells, design, modules, terms, needs_std_error, call)
  list(
    cells = cells, design = design, equations = selected$equations, skipped = selected$skipped,
    covariance = covariance, formula = people$formula
  )
}

assemble_group <- function(found, inputs, method, options, call) {
  formula <- deparse1(inputs$formula)
  glance <- glance_rows(found$glance, options$max_unidentified, method, formula)
  withheld <- warn_about(glance, options$max_unidentified)
  group <- list(
    coefficients = coefficient_rows(found, glance, inputs$design, options$adjust, options$conf_level, call),
    covariance = long_covariance(found$covariance, inputs$equations),
    glance = glance,
    skipped = tibble::as_tibble(found$skipped),
    ran_vals = tibble::as_tibble(found$ran_vals),
    joint_covariance = found$joint_covariance,
    participants = participant_rows(found, inputs),
    messages = c(withheld, as.character(found$messages), effects_at_zero(inputs$design)),
    formula = formula, method = method, fit = found$fit
  )
  structure(c(group, kept_design(inputs$design, inputs$formula)), class = "spice_group")
}

#' Data of one equation, as its model is given them
#'
#' All participants of the design are in it, so that scale() and the like
#' mean the same in every equation; `used` marks those that count.
#' @noRd
equation_data <- function(equation, design) {
  own <- c("estimate", "std.error", "variance", "used")
  check_free(names(design$frame), own)
  data <- design$frame
  data$estimate <- data$std.error <- NA_real_
  data$estimate[equation$rows] <- equation$estimate
  data$std.error[equation$rows] <- equation$std_error
  data$variance <- data$std.error^2
  data$used <- seq_len(nrow(data)) %in% equation$rows
  data
}

#' One row per participant and equation, with `equation` first by which models tell them apart
#' @noRd
stacked_data <- function(inputs) {
  own <- c("equation", "module", "sparse.term", "estimate", "std.error", "n.trials", "scale", "weight")
  model <- inputs$design$model
  made <- names(model)[!vapply(variables_of(inputs$design$terms), is.symbol, NA)]
  frame <- cbind(inputs$design$frame, as.data.frame(model[made], optional = TRUE))
  check_free(names(frame), own)
  keys <- names(inputs$equations)
  parts <- lapply(inputs$equations, function(equation) {
    scale <- residual_sd(equation, inputs$design$matrix)
    cbind(
      frame[equation$rows, "participant", drop = FALSE],
      data.frame(
        equation = factor(equation$key, keys), module = equation$module, sparse.term = equation$sparse_term,
        estimate = equation$estimate, std.error = equation$std_error, n.trials = equation$n_trials,
        scale = scale, weight = 1 / scale^2
      ),
      frame[equation$rows, setdiff(names(frame), "participant"), drop = FALSE]
    )
  })
  data <- do.call(rbind, unname(parts))
  # rbind() loses them
  for (name in names(inputs$design$contrasts)) {
    if (is.factor(data[[name]])) stats::contrasts(data[[name]]) <- inputs$design$contrasts[[name]]
  }
  data$participant <- factor(id_key(data$participant), id_key(frame$participant))
  rownames(data) <- NULL
  data
}

check_free <- function(names, own, call = rlang::caller_env()) {
  clash <- intersect(names, own)
  if (length(clash) > 0) {
    abort_spicestat("covariate", paste0(
      "covariates have names of the table's own columns: ", paste(clash, collapse = ", "),
      ". Try: rename them."
    ), call = call)
  }
}

variables_of <- function(terms) as.list(attr(terms, "variables"))[-1]

#' A design's formula in which what it computes, such as log(age), is a column of that name, or of another
#'
#' Packages differ in what they make of calls beside `:`.
#' @noRd
formula_of_columns <- function(design, names = base::names(design$model)) {
  formula <- stats::formula(design$terms)
  formula[[2]] <- replace_calls(formula[[2]], variables_of(design$terms), lapply(names, as.symbol))
  formula
}

#' Residual standard deviation of a coefficient's own regression
#' @noRd
residual_sd <- function(equation, matrix) {
  own <- stats::lm.fit(matrix[equation$rows, , drop = FALSE], equation$estimate)
  sqrt(sum(own$residuals^2) / own$df.residual)
}

#' `estimate ~ 0 + equation + equation:(covariates)`: every equation has effects of its own
#' @noRd
stacked_formula <- function(formula, random = NULL) {
  terms <- stats::terms(formula)
  parts <- c(
    "0", if (attr(terms, "intercept") == 1) "equation",
    paste0(rep("equation:", length(attr(terms, "term.labels"))), attr(terms, "term.labels")), random
  )
  stats::as.formula(paste("estimate ~", paste(parts, collapse = " + ")), env = environment(formula))
}

#' The stacked design matrix with one block of columns per equation
#' @noRd
stacked_matrix <- function(inputs) {
  blocks <- lapply(inputs$equations, function(equation) inputs$design$matrix[equation$rows, , drop = FALSE])
  sizes <- vapply(blocks, nrow, 0L)
  p <- ncol(inputs$design$matrix)
  whole <- matrix(0, sum(sizes), p * length(blocks))
  first <- cumsum(c(0, sizes))
  for (k in seq_along(blocks)) {
    whole[first[k] + seq_len(sizes[k]), (k - 1) * p + seq_len(p)] <- blocks[[k]]
  }
  colnames(whole) <- stacked_names(inputs)
  whole
}

stacked_names <- function(inputs) {
  terms <- colnames(inputs$design$matrix)
  paste(rep(names(inputs$equations), each = length(terms)), terms, sep = ":")
}

#' For each wanted column of a design, where a model has it: R orders and names columns in its own way
#' @noRd
find_columns <- function(wanted, own) {
  size <- pmax(colSums(abs(wanted)), .Machine$double.eps)
  vapply(seq_len(ncol(wanted)), function(j) {
    distance <- colSums(abs(own - wanted[, j])) / size[j]
    found <- which.min(distance)
    if (distance[found] > 1e-6) stop("the model has no column for ", colnames(wanted)[j])
    found
  }, 0L)
}

#' Evaluate a call of a modelling function where it finds its data, and again when somebody updates the model
#' @noRd
eval_model <- function(model, formula, ...) {
  env <- rlang::new_environment(list(...), parent = parent_of_data(formula))
  model <- rlang::call_modify(model, !!!lapply(formulas_in(model), in_environment, env = env))
  listen(eval(model, env))
}

parent_of_data <- function(formula) {
  env <- environment(formula)
  if (is.null(env)) globalenv() else env
}

formulas_in <- function(model) {
  Filter(function(argument) rlang::is_formula(argument), as.list(model)[-1])
}

in_environment <- function(formula, env) {
  environment(formula) <- env
  formula
}

#' Run a fit and keep what it says
#'
#' @return A list of `value` (an error object if it failed) and `said`.
#' @noRd
listen <- function(expr) {
  said <- character()
  value <- tryCatch(
    withCallingHandlers(
      expr,
      warning = function(w) {
        said <<- c(said, conditionMessage(w))
        invokeRestart("muffleWarning")
      },
      message = function(m) {
        said <<- c(said, trimws(conditionMessage(m)))
        invokeRestart("muffleMessage")
      }
    ),
    error = function(e) e
  )
  list(value = value, said = unique(said))
}

row_of <- function(equation, ...) {
  data.frame(module = equation$module, sparse_term = equation$sparse_term, ..., check.names = FALSE)
}
