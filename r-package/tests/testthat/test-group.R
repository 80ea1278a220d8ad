coefficients_table <- function(n = 12) {
  set.seed(2)
  data.frame(
    participant = sprintf("s%02d", seq_len(n)), module = "x_learning_rate", term = "1",
    estimate = 0.4 + stats::rnorm(n, sd = 0.1), std_error = 0.05
  )
}

people_table <- function(n = 12) {
  data.frame(
    id = sprintf("s%02d", seq_len(n)),
    group = factor(rep(c("patient", "control"), length.out = n), levels = c("patient", "control")),
    age = 20 + seq_len(n)
  )
}

grouped <- function(formula = ~ group + age, people = people_table(), ...) {
  spice_group(coefficients_table(), formula, data = people, participant = id, ...)
}

test_that("names with dots and with underscores are one table", {
  dotted <- tidy(example_fit, conf.int = TRUE)
  call <- rlang::current_env()
  wanted <- as.data.frame(example_fit$coefficients)
  wanted$participant <- as.character(wanted$participant)
  given <- coefficients_of(dotted, call)
  # group models read own estimates, and no pooled ones
  wanted <- wanted[setdiff(names(wanted), c("pooled", "pooled_sd", "shared"))]
  shared <- setdiff(names(wanted), c("conf_low", "conf_high"))
  expect_equal(given[shared], wanted[shared])
  expect_identical(coefficients_of(example_fit$coefficients, call), wanted)
})

test_that("a factor's first level is the reference", {
  skip_if_no_engine()
  group <- grouped()
  expect_equal(tidy(group)$term, c("(Intercept)", "groupcontrol", "age"))
})

test_that("a fit is analysed by its choices and a table by its estimates", {
  skip_if_no_engine()
  expect_equal(spice_group(example_fit, ~diagnosis)$method, "hierarchical")
  expect_equal(grouped()$method, "meta")
  logged <- spice_group(example_fit, ~diagnosis, links = list(beta = "log"))
  plain <- spice_group(example_fit, ~diagnosis)
  beta <- function(group) group$coefficients$estimate[group$coefficients$module == "beta"][1]
  expect_equal(exp(beta(logged)), beta(plain), tolerance = 0.2)
  expect_error(spice_group(coefficients_table(), ~age, people_table(), "hierarchical", participant = "id"),
    class = "spicestat_error_config"
  )
  expect_error(
    spice_group(example_fit, ~diagnosis, method = "lme"), "unknown group method.*lme.*hierarchical.*lme4",
    class = "spicestat_error_config"
  )
  expect_error(spice_group(example_fit, ~diagnosis, method = 1), "must be one text", class = "spicestat_error_config")
})

test_that("all methods give the contract's columns", {
  skip_if_no_engine()
  for (method in c("multivariate_meta", "meta", "permutation", "mixed", "hurdle", "ols")) {
    group <- suppressWarnings(spice_group(example_fit, ~diagnosis, method = method))
    expect_s3_class(group, "spice_group")
    expect_equal(names(group$coefficients), names(example_group$coefficients))
    fixed <- tidy(group)
    joint <- method %in% c("multivariate_meta", "mixed")
    n_models <- if (joint) 1 else nrow(unique(fixed["component"]))
    expect_equal(nrow(glance(group, each = TRUE)), n_models)
    expect_equal(nrow(glance(group)), 1)
  }
})

test_that("meta-regression with equal errors has the estimates of lm", {
  skip_if_no_engine()
  group <- grouped()
  data <- cbind(coefficients_table(), people_table())
  expected <- stats::coef(stats::lm(estimate ~ group + age, data))
  expect_equal(stats::setNames(coef(group), names(expected)), expected, tolerance = 1e-6)
})

test_that("a fit brings its own covariates", {
  skip_if_no_engine()
  own <- spice_group(example_fit, ~ diagnosis + age)
  given <- spice_group(example_fit, ~ diagnosis + age, data = example_fit$people)
  expect_equal(tidy(own), tidy(given))
  expect_equal(tidy(own), tidy(example_group), tolerance = 1e-6)
})

test_that("names with dots and R's functions work in formulas", {
  skip_if_no_engine()
  people <- stats::setNames(people_table(), c("id", "dx.group", "age.years"))
  group <- grouped(~ dx.group + log(age.years) + I(age.years^2), people)
  expect_equal(tidy(group)$term, c("(Intercept)", "dx.groupcontrol", "log(age.years)", "I(age.years^2)"))
  expect_false(anyNA(vcov(group)))
  people$age.years[[1]] <- NA
  expect_warning(grouped(~age.years, people), "lack 'age.years'", class = "spicestat_warning_exclusion")
  by_dotted_id <- stats::setNames(people_table(), c("my.id", "group", "age"))
  again <- spice_group(coefficients_table(), ~age, by_dotted_id, participant = my.id)
  expect_equal(nobs(again), 12)
})

test_that("bad input is refused with the class of its code", {
  skip_if_no_engine()
  for (name in c("std.error", "estimate", "coefficient")) {
    renamed <- stats::setNames(people_table(), c("id", name, "age"))
    expect_error(grouped(stats::reformulate(name), renamed), name, class = "spicestat_error_covariate")
  }
  expect_error(grouped(~height), "height", class = "spicestat_error_formula")
  expect_error(grouped(estimate ~ age), class = "spicestat_error_formula")
  twice <- rbind(people_table(), people_table())
  expect_error(grouped(~age, twice), class = "spicestat_error_covariate")
  expect_error(grouped(~age, transform(people_table(), id = "x")), class = "spicestat_error")
  expect_error(grouped(~age, conf_level = 2), class = "spicestat_error_config")
  expect_error(grouped(~age, method = "magic"))
  expect_error(spice_group(1, ~age), class = "spicestat_error_column")
  expect_error(spice_group(data.frame(x = 1), ~age), class = "spicestat_error_column")
  expect_error(spice_group(coefficients_table(), ~age, 1, participant = "id"), class = "spicestat_error_column")
})

test_that("a missing covariate leaves its participant out, with a warning", {
  skip_if_no_engine()
  people <- people_table()
  people$age[3] <- NA
  expect_warning(group <- grouped(~age, people), class = "spicestat_warning_exclusion")
  expect_equal(nobs(group), 11)
})

test_that("an unknown covariate is named with those that there are", {
  expect_error(
    spice_group(example_fit, ~diagnosi), "unknown variable 'diagnosi'.*diagnosis", class = "spicestat_error_formula"
  )
})

test_that("links can be a named vector, and anything else is refused with what is allowed", {
  expect_equal(checked_links(c(beta = "log"), NULL), list(beta = "log"))
  expect_null(checked_links(NULL, NULL))
  for (links in list("log", list("log"), TRUE, list(beta = 1), list(beta = c("log", "logit")))) {
    expect_error(checked_links(links, NULL), "Names are modules.*\"logit\"", class = "spicestat_error_config")
  }
  expect_error(check_settings(list(covariates_on = 2), NULL), "must be text", class = "spicestat_error_config")
  expect_error(check_settings(list(avoid_boundary = "no"), NULL), "TRUE or FALSE", class = "spicestat_error_config")
})

test_that("modules that the fit lacks are refused with those that it has", {
  expect_error(spice_group(example_fit, ~diagnosis, modules = "alpha"), "Got: 'alpha'. Allowed: 'beta'",
    class = "spicestat_error_config"
  )
  expect_error(spice_group(example_fit, ~diagnosis, conf_level = c(0.9, 0.8)), class = "spicestat_error_config")
})

test_that("ids are found by the name that the fit's trials have for them", {
  fit <- example_fit
  fit$call$participant <- quote(pid)
  people <- stats::setNames(model_data(example_group), c("pid", "diagnosis", "age"))
  expect_equal(own_id(fit, people, NULL), "pid")
  expect_equal(own_id(fit, model_data(example_group), NULL), "participant")
  expect_error(spice_group(fit, ~age, stats::setNames(people, c("code", "d", "age"))), "participant = <name>",
    class = "spicestat_error_column"
  )
})

test_that("formulas with a left-hand side, or without a ~, are refused with what to write", {
  expect_error(spice_group(example_fit, estimate ~ diagnosis), "left-hand side", class = "spicestat_error_formula")
  expect_error(spice_group(example_fit, "diagnosis"), "Write ~ diagnosis.", class = "spicestat_error_formula")
})

test_that("a group model is fitted again with another formula, by its call", {
  skip_if_not_installed("metafor")
  group <- spice_group(example_fit, ~diagnosis, method = "metafor", modules = "beta")
  expect_equal(update(group, ~ . + age)$formula, "~diagnosis + age")
  expect_equal(update(group, method = "lme4", evaluate = FALSE)$method, "lme4")
  expect_equal(
    tidy(update(group, ~age, conf_level = 0.9)),
    tidy(spice_group(example_fit, ~age, method = "metafor", modules = "beta", conf_level = 0.9))
  )
  group$call <- NULL
  expect_error(update(group, ~age), "Call spice_group\\(\\)", class = "spicestat_error_config")
})

test_that("a model from elsewhere is fitted again, or the data to name again are said", {
  skip_if_not_installed("metafor")
  inside <- function() {
    own <- example_fit
    half <- 2
    wanted <- ~ I(age / half)
    spice_group(own, wanted, method = "metafor", modules = "beta")
  }
  group <- inside()
  half <- 10
  expect_error(update(group, conf_level = 0.9), "no 'own'", class = "spicestat_error_config")
  again <- update(group, fit = example_fit, conf_level = 0.9)
  expect_equal(coef(again), coef(group))
  expect_equal(nrow(tidy(update(again, ~ . + diagnosis))), 3)
  # what data start from must be there, not the columns that a call of subset() names
  inside <- function(people) {
    some <- spice_group(as.data.frame(example_fit), ~diagnosis, subset(people, age > 0), "metafor", modules = "beta")
    list(update(some, ~ . + age), stats::drop1(some), stats::add1(some, ~ . + age))
  }
  environment(inside) <- globalenv()
  found <- inside(as.data.frame(example_fit$people))
  larger <- spice_group(example_fit, ~ diagnosis + age, method = "metafor", modules = "beta", estimator = "ML")
  expect_equal(coef(found[[1]]), coef(update(larger, estimator = "REML")))
  smaller <- update(larger, ~ . - age)
  expect_equal(found[[2]]$AIC[1], stats::AIC(smaller), tolerance = 1e-6)
  expect_equal(found[[3]]$AIC[2], stats::AIC(larger), tolerance = 1e-6)
  each <- lapply(list(~age, ~diagnosis), spice_group, fit = example_fit, method = "metafor")
  expect_equal(coef(update(each[[1]], ~diagnosis, fit = example_fit)), coef(each[[2]]))
  expect_error(update(each[[1]], ~diagnosis), "update\\(model, fit = <table>", class = "spicestat_error_config")
})

test_that("the package parameters shows a group model", {
  skip_if_not_installed("parameters")
  table <- parameters::model_parameters(example_group, ci = 0.9)
  expect_equal(table$Coefficient, unname(coef(example_group)))
  expect_equal(table$CI_low, tidy(example_group, conf.int = TRUE, conf.level = 0.9)$conf.low)
  expect_output(print(table), "90% CI")
})

test_that("the two parts of a hurdle model keep their own covariances", {
  skip_if_no_engine()
  group <- suppressWarnings(spice_group(example_fit, ~diagnosis, method = "hurdle"))
  table <- tidy(group)
  covariance <- vcov(group)
  expect_equal(names(coef(group)), rownames(covariance))
  expect_false(anyDuplicated(rownames(covariance)) > 0)
  expect_equal(unname(sqrt(diag(covariance))), table$std.error, tolerance = 1e-8)
  expect_equal(rownames(confint(group)), rownames(covariance))
})

test_that("missing covariates are imputed as by the engine, and pooled", {
  skip_if_no_engine()
  data <- cohort()
  data$people$age[c(3, 8, 21, 30)] <- NA
  data$people$ill[c(5, 12)] <- NA
  group <- group_cohort(data, ~ ill * age, "meta", imputations = 4)
  expect_identical(nobs(group), 40L)
  expect_match(group$messages[1], "'age' of 4, |'ill' of 2")
  module <- reticulate::import("spicestat", convert = FALSE)
  files <- tempfile(c("table", "people"), fileext = ".csv")
  utils::write.csv(data$table, files[1], row.names = FALSE)
  utils::write.csv(data$people, files[2], row.names = FALSE)
  theirs <- module$spice_group(
    files[1], "~ ill * age", data = files[2], participant = "id", method = "meta", imputations = 4L
  )$tidy()
  numbers <- function(name) unlist(reticulate::py_to_r(reticulate::py_get_item(theirs, name)$tolist()))
  ours <- tidy(group, conf.int = TRUE)
  for (name in c("estimate", "std_error", "df", "conf_low", "p_adjusted")) {
    expect_equal(ours[[sub("_", ".", name)]], numbers(name), tolerance = 1e-8)
  }
  data$people$ill <- factor(data$people$ill, c("yes", "no"))
  expect_identical(levels(group_cohort(data, ~ ill + age, "meta", imputations = 2)$design$frame$ill), c("yes", "no"))
  complete <- cohort()
  expect_identical(
    tidy(group_cohort(complete, method = "meta", imputations = 4)), tidy(group_cohort(complete, method = "meta"))
  )
  expect_error(group_cohort(data, method = "meta", imputations = 1), "whole number", class = "spicestat_error_config")
  expect_error(group_cohort(data, method = "metafor", imputations = 5), "engine", class = "spicestat_error_config")
})
