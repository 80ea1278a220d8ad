# Formulas of every kind, in every method: the same as with the design matrix made by hand, and as metafor has them.
# SPICESTAT_TEST_LONG=true runs the whole grid; otherwise meta-regressions have every formula, and others some of them.

study <- function() {
  data <- cohort(40)
  set.seed(9)
  people <- data$people
  people$ill <- factor(people$ill)
  people$edu <- factor(sample(c("low", "mid", "high"), 40, TRUE), c("low", "mid", "high"), ordered = TRUE)
  people$sex <- sample(c("f", "m"), 40, TRUE)
  people$smokes <- rep(c(TRUE, FALSE, FALSE, TRUE), 10)
  people$site <- factor(rep(c("A", "B", "C", "D"), 10))
  people$arm <- people$site
  stats::contrasts(people$arm) <- stats::contr.sum(4)
  people$code <- as.character(rep(1:4, 10))
  people$z <- scale(people$age)
  people$`BDI total` <- stats::rpois(40, 12)
  people$born <- as.Date("1980-01-01") + 365 * people$age
  list(table = data$table, people = people)
}

k <- 2
knots <- c(30, 45)
half <- function(x) x / 2
formulas <- list(
  ~ as.numeric(edu), ~ relevel(ill, ref = "yes"), ~ ifelse(age > 30, 1, 0), ~ I(age - mean(age)),
  ~ factor(ill, levels = c("yes", "no")), ~ log1p(age), ~ cut(age, 2), ~ I(age / k), ~ C(edu, contr.sum), ~z, ~edu,
  ~ poly(age, 2), ~ poly(age, 2, raw = TRUE), ~ splines::ns(age, 3), ~ splines::bs(age, knots = knots),
  ~ scale(age) * ill, ~ ill * sex + age, ~smokes, ~ I(age > 40) + ill, ~ `BDI total` + age, ~arm, ~ half(age),
  ~ as.numeric(code), ~code, ~ site - 1, ~ 0 + ill + age, ~ ill / age, ~ ill:age, ~ (ill + sex + smokes)^2,
  ~ as.numeric(born), ~ interaction(ill, sex), ~ exp(age / 50), ~ site == "A", ~ substr(sex, 1, 1), ~ C(site, sum)
)

of_formula <- function(data, formula, method, ...) {
  suppressWarnings(suppressMessages(spice_group(data$table, formula, data$people, method, participant = id, ...)))
}

#' Data and formula of the same model by a design matrix that is given column by column
with_matrix <- function(data, formula) {
  X <- stats::model.matrix(formula, data$people) # nolint: object_name_linter.
  intercept <- colnames(X)[1] == "(Intercept)"
  if (intercept) X <- X[, -1, drop = FALSE] # nolint: object_name_linter.
  names <- paste0("x", seq_len(ncol(X)))
  columns <- stats::setNames(as.data.frame(unname(X)), names)
  columns$id <- data$people$id
  side <- paste(if (!intercept) "0 +", paste(names, collapse = " + "))
  list(table = data$table, people = columns, formula = stats::as.formula(paste("~", side)))
}

by_hand <- function(data, formula, method, ...) {
  made <- with_matrix(data, formula)
  of_formula(made, made$formula, method, ...)
}

#' The choices of the example, whose participants have the covariates of the study
study_of_choices <- function() {
  people <- study()$people[1:24, ]
  people$id <- example_fit$people$participant
  list(table = example_fit, people = people)
}

#' The study, in which a third of the participants lack the first coefficient
study_with_gaps <- function() {
  data <- study()
  absent <- seq(1, 40, 3)
  data$table$selected <- !seq_len(80) %in% absent
  data$table$estimate[absent] <- 0
  data$table$std_error[absent] <- NA
  data
}

#' A model by a formula, with the numbers and the predictions of the one with the design matrix made by hand
expect_by_hand <- function(data, formula, method, ..., tolerance = 1e-6) {
  label <- paste(method, deparse1(formula))
  group <- of_formula(data, formula, method, ...)
  manual <- by_hand(data, formula, method, ...)
  expect_gt(sum(!is.na(group$coefficients$estimate)), 0)
  for (column in c("estimate", "std_error", "df", "p_value")) {
    expect_equal(group$coefficients[[column]], manual$coefficients[[column]], tolerance = tolerance, label = label)
  }
  # two parts have no single value to predict
  if (method != "hurdle") {
    new <- data$people[c(3, 8, 20), ]
    theirs <- predict(manual)
    theirs <- theirs$.fitted[theirs$participant %in% new$id]
    expect_equal(predict(group, new)$.fitted, theirs, tolerance = tolerance, label = label)
  }
  group
}

#' A third of the formulas, with and without an intercept and with interactions, where each takes long
a_third <- function() if (runs_long()) formulas else formulas[seq(2, length(formulas), 3)]

#' Methods that the k-th formula is tried with
in_turn <- function(methods, k) if (runs_long()) methods else methods[1 + k %% length(methods)]

test_that("formulas mean what they mean to R, in every method", {
  skip_if_no_engine()
  for (package in c("metafor", "lme4", "glmmTMB")) skip_if_not_installed(package)
  data <- study()
  methods <- c("ols", "multivariate_meta", "mixed", "lme4", "glmmTMB", "metafor")
  for (k in seq_along(formulas)) {
    for (method in in_turn(methods, k)) expect_by_hand(data, formulas[[k]], method)
  }
})

test_that("models of a coefficient that some lack take the same formulas", {
  skip_if_no_engine()
  data <- study_with_gaps()
  settings <- list(presence = list(), hurdle = list(), permutation = list(n_permutations = 19, seed = 1))
  for (k in seq_along(formulas)) {
    for (method in in_turn(names(settings), k)) {
      do.call(expect_by_hand, c(list(data, formulas[[k]], method, tolerance = 1e-8), settings[[method]]))
    }
  }
})

test_that("meta-regressions of formulas are metafor's, and so are their predictions, means and figures", {
  skip_if_no_engine()
  for (package in c("metafor", "emmeans")) skip_if_not_installed(package)
  data <- study()
  for (formula in formulas) {
    label <- deparse1(formula)
    group <- expect_by_hand(data, formula, "meta")
    expect_equal(fitted(group)$.fitted, predict(group)$.fitted, label = label)
    expect_equal(unique(tidy(group)$term), colnames(stats::model.matrix(formula, data$people)))
    theirs <- of_formula(data, formula, "metafor")
    expect_equal(unname(fitted(theirs$fit[[1]])), fitted(group)$.fitted[1:40], tolerance = 1e-6, label = label)
    new <- data$people[c(3, 8, 20), ]
    expect_equal(predict(group, new)$.fitted, predict(theirs, new)$.fitted, tolerance = 1e-6, label = label)
    variable <- all.vars(formula[[2]])[[1]]
    of <- stats::as.formula(paste0("~ `", variable, "` | coefficient"))
    ours <- suppressWarnings(suppressMessages(as.data.frame(emmeans::emmeans(group, of))))
    theirs <- suppressWarnings(suppressMessages(as.data.frame(emmeans::emmeans(theirs, of))))
    expect_equal(ours$emmean, theirs$emmean, tolerance = 1e-6, label = label)
    expect_s3_class(ggplot2::ggplot_build(autoplot(group, type = "covariate")), "ggplot_built")
  }
})

test_that("models of the choices are those of the design matrix made by hand", {
  skip_if_no_engine()
  data <- study_of_choices()
  for (formula in a_third()) {
    group <- of_formula(data, formula, "hierarchical")
    manual <- by_hand(data, formula, "hierarchical")
    label <- deparse1(formula)
    expect_equal(unique(tidy(group)$term), colnames(stats::model.matrix(formula, data$people)), label = label)
    for (column in c("estimate", "std_error", "df", "p_value")) {
      expect_equal(group$coefficients[[column]], manual$coefficients[[column]], tolerance = 1e-8, label = label)
    }
    expect_equal(predict(group, data$people[c(3, 8, 20), ])$.fitted, predict(group)$.fitted[c(3, 8, 20, 27, 32, 44)])
  }
})

#' Draws of a posterior by a formula, which are those by the design matrix made by hand
expect_same_draws <- function(data, formula, method, ...) {
  fitted <- lapply(list(of_formula, by_hand), function(fitting) {
    fitting(data, formula, method, chains = 1, draws = 5, tune = 50, seed = 1, ...)
  })
  drawn <- lapply(fitted, function(group) unname(as.matrix(group$draws[-(1:2)])))
  expect_equal(nrow(drawn[[1]]), 5)
  expect_equal(drawn[[1]], drawn[[2]], tolerance = 1e-10, label = paste(method, deparse1(formula)))
  new <- data$people[c(3, 8, 20), ]
  theirs <- predict(fitted[[2]])
  expect_equal(predict(fitted[[1]], new)$.fitted, theirs$.fitted[theirs$participant %in% new$id], tolerance = 1e-8)
}

test_that("a posterior of estimates has the same draws as with the design matrix made by hand", {
  skip_if_no_engine()
  skip_if_not(reticulate::py_module_available("numpyro"), "Python package numpyro")
  data <- study()
  for (name in c("w1", "w2")) data$people[[name]] <- stats::rnorm(40)
  for (formula in a_third()) {
    # with further covariates nearly all have four columns, for which the sampler is compiled once
    n_columns <- ncol(stats::model.matrix(formula, data$people))
    fillers <- lapply(c("w1", "w2")[seq_len(max(0, 4 - n_columns))], as.symbol)
    formula[[2]] <- Reduce(function(side, filler) call("+", call("(", side), filler), fillers, formula[[2]])
    if (n_columns <= 4 || runs_long()) expect_same_draws(data, formula, "bayes_meta")
  }
})

test_that("a posterior of the choices has the same draws as with the design matrix made by hand", {
  skip_if_no_engine()
  skip_if_not(reticulate::py_module_available("numpyro"), "Python package numpyro")
  data <- study_of_choices()
  # of as many columns, for which the sampler is compiled once; few nodes are coarse, but the same for both
  some <- list(~ relevel(ill, ref = "yes") + half(age), ~ poly(age, 2), ~ 0 + C(ill, contr.sum) + age)
  for (formula in if (runs_long()) formulas else some) expect_same_draws(data, formula, "bayes", n_nodes = 64)
})

#' What Stan is told of a model's second coefficient
told_stan <- function(data, formula) {
  people <- group_people(data$table, data$table, formula, data$people, "id", NULL, NULL)
  inputs <- group_inputs(data$table, NULL, people, NULL, NULL, TRUE, NULL)
  arguments <- brms_arguments(brms_formula(inputs), inputs$equations[["beta:v"]], inputs$design, list())
  do.call(brms::make_standata, arguments[c("formula", "data", "prior", "stanvars")])
}

test_that("brms gives Stan what it gives it of the design matrix made by hand", {
  skip_if_not_installed("brms")
  data <- study()
  for (formula in a_third()) {
    told <- told_stan(data, formula)
    X <- stats::model.matrix(formula, data$people) # nolint: object_name_linter.
    expect_equal(unname(told$X), unname(X), ignore_attr = TRUE, label = deparse1(formula))
    made <- with_matrix(data, formula)
    manual <- told_stan(made, made$formula)
    expect_equal(lapply(told, as.vector), lapply(manual, as.vector), label = deparse1(formula))
  }
})

test_that("brms draws what it draws with the design matrix made by hand", {
  skip_if_not_installed("brms")
  skip_if_not(runs_long(), "SPICESTAT_TEST_LONG=true")
  find_boost()
  data <- study()
  for (formula in list(~ C(site, sum) + I(age / k) + `BDI total`, ~ 0 + ill + poly(age, 2))) {
    drawn <- lapply(list(of_formula, by_hand), function(fitting) {
      group <- fitting(data, formula, "brms", chains = 1, iter = 200, seed = 3)
      lapply(group$fit, function(fit) unname(as.matrix(fit)))
    })
    expect_equal(drawn[[1]], drawn[[2]], tolerance = 1e-10, label = deparse1(formula))
  }
})

test_that("estimates from the choices take the same formulas", {
  skip_if_no_engine()
  k <- 10
  group <- spice_group(example_fit, ~ C(diagnosis, sum) + I(age / k))
  expect_equal(unique(tidy(group)$term), c("(Intercept)", "C(diagnosis, sum)1", "I(age/k)"))
  plain <- suppressWarnings(tidy(example_group))
  expect_equal(tidy(group)$estimate[2] * -2, plain$estimate[2], tolerance = 1e-3)
  expect_equal(tidy(group)$estimate[3], plain$estimate[3] * 10, tolerance = 1e-3)
  expect_equal(names(model.frame(group))[1:3], c(".observed", "C(diagnosis, sum)", "I(age/k)"))
})

test_that("variables of the session with a value for each row are columns, and others of that length are refused", {
  skip_if_not_installed("metafor")
  data <- study()
  decades <- data$people$age / 10
  group <- of_formula(data, ~decades, "metafor")
  shuffled <- data
  shuffled$people <- data$people[40:1, ]
  decades <- rev(decades)
  expect_equal(coef(of_formula(shuffled, ~decades, "metafor")), coef(group))
  expect_equal(coef(group)[[2]], coef(of_formula(data, ~age, "metafor"))[[2]] * 10)
  others <- data$people
  others$id <- paste0(others$id, "x")
  shuffled$people <- rbind(data$people, others)
  expect_error(of_formula(shuffled, ~decades, "metafor"), "not one for each row", class = "spicestat_error_formula")
  expect_error(of_formula(data, ~mean, "metafor"), "unknown variable 'mean'", class = "spicestat_error_formula")
})

test_that("what depends on who else is there is not predicted for others", {
  skip_if_not_installed("metafor")
  data <- study()
  ranked <- of_formula(data, ~ rank(age), "metafor")
  expect_error(predict(ranked, data$people[1:2, ]), "who else is there", class = "spicestat_error_formula")
  centred <- of_formula(data, ~ I(age - mean(age)), "metafor")
  expect_equal(predict(centred, data$people[1:2, ])$.fitted, predict(centred)$.fitted[c(1, 2, 41, 42)])
})

test_that("text is ordered as the session orders it, and participants may be permuted within any factor", {
  skip_if_no_engine()
  data <- study()
  group <- spice_group(data$table, ~ factor(code) + age, data$people, "permutation",
    participant = id, strata = "code", n_permutations = 99
  )
  expect_equal(unique(tidy(group)$term)[2:4], paste0("factor(code)", 2:4))
  expect_error(
    spice_group(data$table, ~age, data$people, "permutation", participant = id, strata = "code"),
    class = "spicestat_error_covariate"
  )
})
