# Compiling takes two minutes: SPICESTAT_TEST_LONG=true runs everything, otherwise the program and its data are tested.
skip_if_not_installed("brms")

brms_inputs <- function(formula = ~ ill + age) {
  data <- cohort(20)
  people <- group_people(data$table, data$table, formula, data$people, "id", NULL, NULL)
  inputs <- group_inputs(data$table, NULL, people, NULL, NULL, TRUE, NULL)
  inputs$conf_level <- 0.9
  inputs
}

arguments_of <- function(inputs, key) {
  brms_arguments(brms_formula(inputs), inputs$equations[[key]], inputs$design, list(chains = 1))
}

test_that("the Stan program knows the standard errors and adds a variance between participants", {
  inputs <- brms_inputs()
  arguments <- arguments_of(inputs, "beta:v")
  code <- do.call(brms::make_stancode, arguments[c("formula", "data", "prior", "stanvars")])
  expect_match(code, "sqrt\\(square\\(sigma\\) \\+ se2\\)")
  expect_match(code, "student_t_lpdf\\(Intercept \\| 3, prior_location, prior_scale\\)")
  data <- do.call(brms::make_standata, arguments[c("formula", "data", "prior", "stanvars")])
  expect_equal(as.vector(data$se), inputs$equations[["beta:v"]]$std_error)
  expect_equal(as.vector(data$Y), inputs$equations[["beta:v"]]$estimate)
  expect_equal(data$prior_location, stats::median(data$Y))
  expect_equal(dim(data$X), c(20L, 3L))
  # what differs between coefficients is data, so that one compilation serves all
  other <- arguments_of(inputs, "x_rate:1")
  expect_identical(do.call(brms::make_stancode, other[c("formula", "data", "prior", "stanvars")]), code)
  expect_equal(arguments$chains, 1)
})

test_that("what the formula computes is a column for brms, with a name that it can read", {
  data <- cohort(20)
  data$people$`Fragen_` <- data$people$age^2
  data$people$`BDI total` <- rev(data$people$age)
  data$people$BDI.total <- sqrt(data$people$age)
  formula <- ~ ill + I(age / 10) + `Fragen_` + `BDI total` + BDI.total
  people <- group_people(data$table, data$table, formula, data$people, "id", NULL, NULL)
  arguments <- arguments_of(group_inputs(data$table, NULL, people, NULL, NULL, TRUE, NULL), "beta:v")
  expect_equal(arguments$formula[[3]], quote(ill + I.age.10. + Fragen. + BDI.total.1 + BDI.total))
  told <- do.call(brms::make_standata, arguments[c("formula", "data", "prior", "stanvars")])
  expect_equal(unname(told$X), unname(stats::model.matrix(formula, data$people)), ignore_attr = TRUE)
  data$people$estimate <- data$people$age
  expect_error(
    group_cohort(data, ~estimate, method = "brms"), "names of the table's own",
    class = "spicestat_error_covariate"
  )
})

test_that("without an intercept there is no prior for one", {
  inputs <- brms_inputs(~ 0 + ill)
  code <- do.call(brms::make_stancode, arguments_of(inputs, "beta:v")[c("formula", "data", "prior", "stanvars")])
  expect_false(grepl("Intercept", code))
})

test_that("draws become the tables of a group model", {
  inputs <- brms_inputs()
  set.seed(1)
  draws <- matrix(stats::rnorm(3000, 5), ncol = 3)
  table <- summarise_draws(draws, 0.9)
  expect_equal(table$estimate, colMeans(draws))
  expect_equal(table$conf_low[1], stats::quantile(draws[, 1], 0.05, names = FALSE))
  equation <- inputs$equations[["beta:v"]]
  mean <- c(3, 0, 0.02)
  effects <- matrix(mean, 2, 3, byrow = TRUE)
  deviations <- brms_deviations(effects, c(0.5, 0.5), equation, inputs$design)
  share <- 0.25 / (0.25 + equation$std_error^2)
  expect_equal(deviations$estimate, share * (equation$estimate - as.vector(inputs$design$matrix %*% mean)))
  expect_equal(deviations$std_error, sqrt(share * equation$std_error^2))
})

test_that("brms agrees with metafor", {
  skip_if_not(runs_long(), "SPICESTAT_TEST_LONG=true")
  find_boost()
  data <- cohort()
  group <- group_cohort(data, method = "brms", chains = 2, iter = 3000)
  reference <- group_cohort(data, method = "metafor")
  expect_named(group$fit, c("x_rate:1", "beta:v"))
  expect_s3_class(group$fit[[1]], "brmsfit")
  expect_lt(max(abs(coef(group) - coef(reference)) / tidy(reference)$std.error), 0.2)
  expect_equal(tidy(group)$std.error, tidy(reference)$std.error, tolerance = 0.1)
  expect_true(all(is.na(tidy(group)$p.value)))
  expect_true(all(glance(group)$converged))
  expect_equal(ranef(group)$participant, ranef(reference)$participant, tolerance = 0.1)
  narrow <- tidy(group, conf.int = TRUE, conf.level = 0.5)
  wide <- tidy(group, conf.int = TRUE)
  expect_true(all(narrow$conf.low > wide$conf.low & narrow$conf.high < wide$conf.high))
  expect_output(print(group), "brmsfit objects")
})
