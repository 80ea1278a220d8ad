# What other packages make of group models: right, or an error that says what to do.

one <- function(formula = ~ diagnosis * age) spice_group(example_fit, formula, method = "metafor", modules = "beta")
separate <- function() spice_group(example_fit, ~ diagnosis * age, method = "metafor")

test_that("car tests terms and hypotheses with the model's degrees of freedom", {
  skip_if_not_installed("car")
  skip_if_not_installed("metafor")
  expect_equal(car::Anova(example_group), anova(example_group))
  group <- one()
  found <- car::linearHypothesis(group, names(coef(group))[2:3])
  theirs <- metafor::anova.rma(group$fit[[1]], btt = 2:3)
  expect_equal(found$F[2], theirs$QM, tolerance = 1e-6)
  expect_equal(found$`Pr(>F)`[2], theirs$QMp, tolerance = 1e-6)
  expect_error(car::linearHypothesis(separate(), "a = 0"), "separately", class = "spicestat_error_config")
})

test_that("lmtest has the model's own tests", {
  skip_if_not_installed("lmtest")
  skip_if_not_installed("metafor")
  table <- tidy(example_group)
  expect_equal(unname(lmtest::coeftest(example_group)[, 4]), table$p.value)
  expect_equal(lmtest::lrtest(one(~age), one()), anova(one(~age), one()))
  expect_error(lmtest::waldtest(example_group), "linearHypothesis", class = "spicestat_error_config")
  expect_error(lmtest::lrtest(example_group), class = "spicestat_error_config")
})

test_that("multcomp compares groups of one coefficient", {
  skip_if_not_installed("multcomp")
  skip_if_not_installed("metafor")
  group <- one(~ diagnosis + age)
  found <- summary(multcomp::glht(group, linfct = multcomp::mcp(diagnosis = "Tukey")))
  expect_equal(found$df, 21)
  expect_equal(as.vector(found$test$pvalues), tidy(group)$p.value[2], tolerance = 1e-4)
  expect_error(
    utils::capture.output(multcomp::glht(example_group, linfct = multcomp::mcp(diagnosis = "Tukey")), type = "message")
  )
})

test_that("insight, parameters and performance know the response, and never a covariate as such", {
  skip_if_not_installed("insight")
  expect_equal(insight::find_response(example_group), ".observed")
  expect_equal(insight::find_predictors(example_group)$conditional, c("diagnosis", "age"))
  data <- insight::get_data(example_group)
  expect_equal(data$.observed, augment(example_group)$.observed)
  expect_equal(insight::get_response(example_group), data$.observed)
  expect_equal(insight::get_statistic(example_group)$Statistic, tidy(example_group)$statistic)
  expect_equal(insight::get_parameters(example_group)$Estimate, unname(coef(example_group)))
  expect_equal(insight::get_varcov(example_group), vcov(example_group))
  expect_equal(insight::get_df(example_group), df.residual(example_group))
  expect_true(insight::model_info(example_group)$is_linear)
  expect_equal(insight::link_inverse(example_group)(2), 2)
  expect_equal(insight::n_obs(example_group), 24)
  expect_error(insight::get_predicted(example_group), "predict\\(", class = "spicestat_error_config")
  linked <- example_group
  linked$links <- list(beta = "log")
  expect_error(insight::link_inverse(linked), "differ in their links", class = "spicestat_error_config")
  skip_if_not_installed("performance")
  expect_equal(performance::model_performance(example_group)$AIC, AIC(example_group))
  expect_error(performance::r2(example_group), class = "spicestat_error_config")
})

test_that("comparisons that easystats would make of nothing, or of restricted likelihoods, are refused", {
  skip_if_not_installed("metafor")
  skip_if_not_installed("insight")
  expect_error(insight::ellipsis_info(one(), one(~age)), "anova(group, other)", fixed = TRUE)
  skip_if_not_installed("bayestestR")
  expect_error(bayestestR::bayesfactor_models(one(), one(~age)), "restricted", class = "spicestat_error_config")
  skip_if_not_installed("performance")
  expect_error(performance::compare_performance(one(), one(~age)), "anova", class = "spicestat_error_config")
})

test_that("joint_tests() refuses in words what it cannot go by", {
  skip_if_not_installed("emmeans")
  skip_if_not_installed("metafor")
  refused <- function(group, by, message, class = "spicestat_error_config") {
    expect_error(emmeans::joint_tests(group, by = by), message, class = class)
  }
  refused(one(), "coefficient", "has one coefficient, beta:x_value_reward")
  refused(one(~age), "age", "no covariate is left")
  refused(example_group, "height", "coefficient, diagnosis, age", "spicestat_error_column")
  within <- as.data.frame(emmeans::joint_tests(one(), by = "diagnosis"))
  slopes <- as.data.frame(emmeans::test(emmeans::emtrends(one(), ~diagnosis, var = "age")))
  expect_equal(within$p.value, slopes$p.value, tolerance = 1e-6)
})

test_that("ggeffects gives means of one coefficient, and averages over none", {
  skip_if_not_installed("ggeffects")
  skip_if_not_installed("metafor")
  means <- ggeffects::ggemmeans(one(~diagnosis), "diagnosis")
  new <- data.frame(diagnosis = c("control", "patient"))
  expect_equal(means$predicted, predict(one(~diagnosis), new)$.fitted, tolerance = 1e-6)
  # easystats drops arguments with a NULL in them
  expect_false(any(vapply(one(), is.null, NA)))
  # ggeffects tells of the error and returns nothing
  said <- utils::capture.output(nothing <- ggeffects::ggemmeans(separate(), "diagnosis"))
  expect_null(nothing)
})

test_that("draws of Bayesian models are posterior's", {
  skip_if_no_engine()
  for (package in c("posterior", "loo", "bayesplot")) skip_if_not_installed(package)
  group <- suppressWarnings(
    spice_group(example_fit, ~diagnosis, method = "bayes_meta", chains = 2, draws = 100, tune = 100)
  )
  draws <- posterior::as_draws(group)
  expect_equal(posterior::nchains(draws), 2)
  expect_equal(posterior::variables(draws)[1:4], names(coef(group)))
  expect_equal(unname(colMeans(as.data.frame(draws)[1:4])), unname(coef(group)), tolerance = 1e-8)
  expect_equal(dim(posterior::as_draws_array(group)), c(100, 2, 7))
  found <- suppressWarnings(loo::loo(group))
  expect_equal(nrow(found$pointwise), 24)
  expect_s3_class(bayesplot::mcmc_areas(posterior::as_draws_array(group)), "ggplot")
  narrow <- tidy(group, conf.int = TRUE, conf.level = 0.5)
  ends <- stats::quantile(as.data.frame(draws)[[1]], c(0.25, 0.75), names = FALSE)
  expect_equal(c(narrow$conf.low[1], narrow$conf.high[1]), ends)
  expect_error(posterior::as_draws(example_group), "draws nothing", class = "spicestat_error_config")
  expect_error(anova(group), "gives no tests", class = "spicestat_error_config")
})

test_that("marginaleffects is given coefficients, their covariance and predictions", {
  skip_if_not_installed("metafor")
  group <- separate()
  expect_equal(get_coef.spice_group(group), coef(group))
  again <- set_coef.spice_group(group, coef(group) + 1)
  expect_equal(coef(again), coef(group) + 1)
  found <- get_predict.spice_group(group, example_fit$people)
  expect_equal(found$estimate, fitted(group)$.fitted)
  expect_equal(unique(found$group), c("x_learning_rate_reward:1", "beta:x_value_reward"))
  expect_equal(get_predict.spice_group(example_group)$rowid, rep(1:24, 2))
  rlang::reset_message_verbosity("spicestat_independent")
  expect_message(covariance <- get_vcov.spice_group(group), "independent")
  expect_equal(covariance[1:4, 1:4], vcov(group)[1:4, 1:4])
  expect_true(all(covariance[1:4, 5:8] == 0))
  expect_null(get_vcov.spice_group(group, FALSE))
  expect_error(get_vcov.spice_group(group, "HC3"), class = "spicestat_error_config")
  expect_true("spice_group" %in% getOption("marginaleffects_model_classes"))
})
