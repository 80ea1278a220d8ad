skip_if_not_installed("lme4")

test_that("lme4 with lmerTest gives the numbers of the engine's mixed model", {
  skip_if_not_installed("lmerTest")
  skip_if_no_engine()
  data <- cohort()
  for (formula in list(~1, ~ ill + age, ~ ill * scale(age))) {
    ours <- suppressWarnings(group_cohort(data, formula, "lme4"))
    theirs <- group_cohort(data, formula, "mixed")
    expect_gt(sigma(ours)[[1]], 0)
    expect_same_numbers(ours, theirs, tolerance = 1e-4)
    expect_lt(relative(tidy(ours)$estimate, tidy(theirs)$estimate), 1e-6)
  }
  expect_s4_class(ours$fit, "lmerModLmerTest")
  expect_match(ours$messages, "ignores the estimates' standard errors", all = FALSE)
})

test_that("coefficients that not everybody has enter, too, and scale() means the same", {
  skip_if_not_installed("lmerTest")
  skip_if_no_engine()
  data <- cohort()
  data$table$at_bound[c(3, 9)] <- TRUE
  ours <- suppressWarnings(group_cohort(data, ~ ill + scale(age), "lme4"))
  theirs <- suppressWarnings(group_cohort(data, ~ ill + scale(age), "mixed"))
  expect_lt(relative(tidy(ours)$estimate, tidy(theirs)$estimate), 1e-6)
  expect_equal(names(vcov(ours)[1, ]), names(coef(theirs)))
})

test_that("glmmTMB estimates residual variances with the rest", {
  # that of Debian 13 warns of the TMB that it was built with
  suppressWarnings(skip_if_not_installed("glmmTMB"))
  data <- cohort()
  tmb <- group_cohort(data, method = "glmmTMB")
  lmer <- group_cohort(data, method = "lme4")
  expect_s3_class(tmb$fit, "glmmTMB")
  expect_equal(coef(tmb), coef(lmer), tolerance = 1e-5)
  expect_equal(tidy(tmb)$std.error, tidy(lmer)$std.error, tolerance = 0.05)
  expect_equal(unique(tidy(tmb)$df), 37)
  expect_equal(sigma(tmb), sigma(lmer), tolerance = 0.2)
  expect_gt(as.numeric(logLik(tmb)), as.numeric(logLik(lmer)) - 1e-6)
  # each residual standard deviation is in the units of its coefficient
  within <- as.data.frame(VarCorr(tmb))
  residual <- within$sdcor[within$grp == "Residual" & is.na(within$var2)]
  expect_true(residual[1] < 0.1 && residual[2] > 0.2)
})

test_that("deviations are in the units of the coefficients", {
  group <- group_cohort(cohort(), method = "lme4")
  spread <- vapply(ranef(group)$participant, stats::sd, 0)
  expect_equal(spread[[2]] / spread[[1]], sigma(group)[[2]] / sigma(group)[[1]], tolerance = 1e-6)
  augmented <- augment(group)
  expect_equal(augmented$.posterior - augmented$.fitted, tidy(group, effects = "ran_vals")$estimate)
})

test_that("a singular model is said to be one", {
  group <- spice_group(example_fit, ~ diagnosis + age, method = "lme4")
  expect_true(lme4::isSingular(group$fit))
  expect_match(group$messages, "singular", all = FALSE)
  expect_true(glance(group)$converged)
})

test_that("one coefficient alone is refused", {
  expect_error(group_cohort(cohort(), method = "lme4", modules = "beta"), "single term", class = "spicestat_error_data")
})

test_that("without lmerTest the degrees of freedom are N - p", {
  inputs <- list(design = list(matrix = matrix(1, 10, 2, dimnames = list(NULL, c("a", "b")))), equations = list(
    "x:1" = list(module = "x", sparse_term = "1", rows = 1:10),
    "b:v" = list(module = "b", sparse_term = "v", rows = 1:8)
  ))
  expect_equal(joint_fixed(1:4, rep(1, 4), inputs)$df, c(8, 8, 6, 6))
  expect_equal(joint_fixed(1:4, rep(1, 4), inputs, c(5, 20, 3, 2))$df, c(5, 8, 3, 2))
  expect_equal(joint_fixed(1:4, rep(1, 4), inputs, Inf)$df, rep(Inf, 4))
})

test_that("emmeans, broom.mixed, parameters and insight work on $fit", {
  data <- cohort()
  for (method in c("lme4", "glmmTMB")) {
    skip_if_not_installed(method)
    group <- group_cohort(data, method = method)
    if (requireNamespace("emmeans", quietly = TRUE)) {
      means <- suppressMessages(as.data.frame(emmeans::emmeans(group$fit, ~ ill | equation)))
      expect_equal(diff(means$emmean[means$equation == "x_rate:1"]), coef(group)[["x_rate:1:illyes"]])
    }
    if (requireNamespace("broom.mixed", quietly = TRUE)) {
      expect_true(all(coef(group) %in% generics::tidy(group$fit, effects = "fixed")$estimate))
    }
    if (requireNamespace("parameters", quietly = TRUE)) {
      table <- as.data.frame(suppressMessages(parameters::model_parameters(group$fit, effects = "fixed")))
      expect_true(all(round(coef(group), 6) %in% round(table$Coefficient, 6)))
    }
    if (requireNamespace("insight", quietly = TRUE)) {
      expect_setequal(insight::find_predictors(group$fit)$conditional, c("equation", "ill", "age"))
    }
  }
})

test_that("a model can be updated although its data were the package's", {
  group <- group_cohort(cohort(), method = "lme4")
  smaller <- stats::update(group$fit, . ~ . - equation:age)
  expect_length(lme4::fixef(smaller), 4)
})
