skip_if_not_installed("metafor")

formulas <- list(~1, ~ ill + age, ~ ill * scale(age), ~ 0 + ill, ~ poly(age, 2), ~ log(age) + I(age^2))

test_that("metafor gives the numbers of the engine's meta to 1e-6", {
  skip_if_no_engine()
  data <- cohort()
  for (formula in formulas) {
    expect_same_numbers(group_cohort(data, formula, "metafor"), group_cohort(data, formula, "meta"))
  }
  expect_same_numbers(
    group_cohort(data, method = "metafor", estimator = "ML", knapp_hartung = FALSE, adjust = "holm", conf_level = 0.9),
    group_cohort(data, method = "meta", estimator = "ML", knapp_hartung = FALSE, adjust = "holm", conf_level = 0.9)
  )
})

test_that("metafor and meta have the same fitted values, residuals and leverages", {
  skip_if_no_engine()
  data <- cohort()
  ours <- group_cohort(data, method = "metafor")
  theirs <- group_cohort(data, method = "meta")
  shared <- c(
    "participant", "ill", "age", "module", "sparse_term", "observed", "std_error", "used", "fitted", "fitted_std_error",
    "residual", "std_residual", "hat", "cooks_distance"
  )
  expect_equal(names(ours$participants), names(theirs$participants))
  expect_equal(ours$participants[shared], theirs$participants[shared], tolerance = 1e-6)
})

test_that("rows at a zero that nobody has are said to be so, with the engine's words", {
  skip_if_no_engine()
  data <- cohort()
  shifted <- ~ (ill + scale(age)) * I((age - 40)^2 + 1900)
  for (formula in list(~ ill * age, shifted, ~ ill * scale(age), ~ ill + age, ~1)) {
    ours <- group_cohort(data, formula, "metafor")$messages
    expect_equal(ours, group_cohort(data, formula, "meta")$messages)
  }
  said <- group_cohort(data, ~ ill * age, "metafor")$messages
  expect_match(said, "rows of ill are effects where age is 0, which nobody has (2", fixed = TRUE)
})

test_that("a variance of zero and a far start are no trouble", {
  skip_if_no_engine()
  data <- cohort()
  data$table$std_error <- 10 * data$table$std_error
  expect_same_numbers(group_cohort(data, method = "metafor"), group_cohort(data, method = "meta"))
  data <- cohort(6)
  data$table[c("estimate", "std_error")] <- 1e-4 * data$table[c("estimate", "std_error")]
  expect_same_numbers(group_cohort(data, ~1, "metafor"), group_cohort(data, ~1, "meta"))
})

test_that("the same people are left out, with the same words", {
  skip_if_no_engine()
  data <- cohort()
  data$people$age[3] <- NA
  data$people <- data$people[-5, ]
  data$table$at_bound[c(7, 47)] <- TRUE
  data$table$std_error[50] <- NA
  data$table$estimate[12] <- NA
  ours <- warned(group_cohort(data, method = "metafor"))
  theirs <- warned(group_cohort(data, method = "meta"))
  expect_length(ours$said, 3)
  expect_equal(ours$said, theirs$said)
  expect_same_numbers(ours$value, theirs$value)
})

test_that("above the limit inference is withheld, as by the engine", {
  skip_if_no_engine()
  data <- cohort()
  data$table$at_bound[1:12] <- TRUE
  ours <- warned(group_cohort(data, method = "metafor"))
  theirs <- warned(group_cohort(data, method = "meta"))
  expect_equal(ours$said, theirs$said)
  expect_same_numbers(ours$value, theirs$value)
  expect_true(all(ours$value$glance$withheld))
  expect_true(all(is.na(tidy(ours$value, conf.int = TRUE)$conf.low)))
  expect_warning(
    suppressWarnings(group_cohort(data, method = "metafor"), classes = "spicestat_warning_exclusion"),
    "30 %", class = "spicestat_warning_identifiability"
  )
  lenient <- suppressWarnings(group_cohort(data, method = "metafor", max_unidentified = 0.5))
  expect_false(anyNA(tidy(lenient)$p.value))
})

test_that("all coefficients together have the numbers of multivariate_meta", {
  skip_if_no_engine()
  ours <- spice_group(example_fit, ~ diagnosis + age, method = "metafor", joint = TRUE)
  theirs <- spice_group(example_fit, ~ diagnosis + age, method = "multivariate_meta")
  # metafor's search for the covariance stops earlier
  expect_equal(tidy(ours), tidy(theirs), tolerance = 1e-4)
  expect_equal(tidy(ours, effects = "ran_pars")$estimate, tidy(theirs, effects = "ran_pars")$estimate, tolerance = 1e-3)
  expect_equal(ours$joint_covariance, theirs$joint_covariance, tolerance = 1e-4)
  expect_equal(ranef(ours)$participant, ranef(theirs)$participant, tolerance = 1e-3)
  expect_equal(c(AIC(ours), BIC(ours)), c(AIC(theirs), BIC(theirs)), tolerance = 1e-6)
})

test_that("$fit has metafor's own objects, by coefficient", {
  data <- cohort()
  group <- group_cohort(data, method = "metafor")
  expect_named(group$fit, c("x_rate:1", "beta:v"))
  own <- metafor::rma(
    estimate, std_error^2, mods = ~ ill + age, data = cbind(data$table[41:80, ], data$people), test = "knha"
  )
  expect_s3_class(group$fit[["beta:v"]], "rma.uni")
  expect_equal(c(group$fit[["beta:v"]]$beta), c(own$beta), tolerance = 1e-4)
  expect_equal(coef(group)[4:6], stats::setNames(c(group$fit[["beta:v"]]$beta), names(coef(group))[4:6]))
  updated <- stats::update(group$fit[["beta:v"]], mods = ~age)
  expect_equal(rownames(updated$beta), c("intrcpt", "age"))
  expect_equal(nrow(ranef(group)$participant), 40)
  expect_equal(
    tidy(group, effects = "ran_coefs")$estimate,
    unname(c(metafor::blup(group$fit[[1]])$pred, metafor::blup(group$fit[[2]])$pred))
  )
  joint <- group_cohort(data, method = "metafor", joint = TRUE)
  expect_s3_class(joint$fit, "rma.mv")
  expect_output(print(joint), "\\$fit: rma.mv")
  one <- group_cohort(data, method = "metafor", joint = TRUE, modules = "beta")
  expect_equal(tidy(one)$estimate, tidy(group)$estimate[4:6], tolerance = 1e-4)
})

test_that("a model is saved and read with its covariates and means", {
  data <- cohort()
  group <- group_cohort(data, method = "metafor")
  file <- tempfile(fileext = ".rds")
  saveRDS(group, file)
  again <- readRDS(file)
  expect_equal(tidy(again), tidy(group))
  expect_lt(file.size(file), 1e5)
})

test_that("easystats and broom read $fit", {
  fit <- group_cohort(cohort(), method = "metafor")$fit[["x_rate:1"]]
  if (requireNamespace("parameters", quietly = TRUE)) {
    expect_true("age" %in% as.data.frame(parameters::model_parameters(fit))$Parameter)
  }
  if (requireNamespace("broom", quietly = TRUE)) {
    expect_equal(generics::tidy(fit)$term, c("intercept", "illyes", "age"))
  }
})

test_that("settings are checked", {
  data <- cohort()
  expect_error(group_cohort(data, method = "metafor", links = list(beta = "log")), "estimator, knapp_hartung, joint",
    class = "spicestat_error_config"
  )
  expect_error(group_cohort(data, method = "metafor", estimator = "DL"), class = "spicestat_error_config")
  expect_error(group_cohort(data, method = "metafor", joint = NA), class = "spicestat_error_config")
  expect_error(group_cohort(data, method = "metafor", adjust = "fdr2"), "BH, BY", class = "spicestat_error_config")
  expect_error(group_cohort(data, method = "metafor", max_unidentified = 2), class = "spicestat_error_config")
  expect_error(group_cohort(data, method = "metafor", conf_level = 95), class = "spicestat_error_config")
  expect_error(group_cohort(data, method = "metafor", adjust = "maxT"), "joint", class = "spicestat_error_config")
  clash <- data
  clash$people$estimate <- 1:40
  expect_error(group_cohort(clash, ~estimate, "metafor"), "rename", class = "spicestat_error_covariate")
  expect_error(need_package("noSuchPackage", "this", NULL), "install.packages", class = "spicestat_error_install")
})

test_that("maxT takes into account that effects are estimated together", {
  skip_if_not_installed("mvtnorm")
  skip_if_no_engine()
  data <- cohort()
  ours <- tidy(group_cohort(data, method = "metafor", joint = TRUE, adjust = "maxT"))
  theirs <- tidy(group_cohort(data, method = "multivariate_meta", adjust = "maxT"))
  expect_equal(ours$p.adjusted, theirs$p.adjusted, tolerance = 0.02)
  expect_true(all(ours$p.adjusted >= ours$p.value - 1e-8))
})

test_that("all levels of a factor are one family of tests", {
  data <- cohort()
  data$people$dose <- factor(rep(c("none", "low", "high", "none"), 10), c("none", "low", "high"))
  for (method in c("metafor", if (spicestat_available()) "meta")) {
    table <- tidy(group_cohort(data, ~ dose + age, method, adjust = "holm"))
    for (term in c("dose", "age", "Intercept")) {
      own <- grepl(term, table$term)
      expect_identical(sum(own), if (term == "dose") 4L else 2L)
      expect_equal(table$p.adjusted[own], p.adjust(table$p.value[own], "holm"), tolerance = 1e-12)
    }
  }
})

test_that("what metafor cannot fit is skipped with its words", {
  data <- cohort()
  people <- group_people(data$table, data$table, ~age, data$people, "id", NULL, rlang::current_env())
  inputs <- group_inputs(data$table, NULL, people, NULL, NULL, TRUE, rlang::current_env())
  inputs$equations[["beta:v"]]$std_error[] <- Inf
  found <- suppressWarnings(fit_metafor_each(inputs, list(estimator = "REML", knapp_hartung = TRUE)))
  expect_named(found$fit, "x_rate:1")
  expect_equal(found$skipped$sparse_term, "v")
})

test_that("no Python is asked", {
  skip_on_cran()
  skip_if_not_installed_here()
  output <- run_without_python(c(
    "group <- spice_group(example_fit, ~ diagnosis + age, method = 'metafor')",
    "print(tidy(group)); print(autoplot(group)); cat('started:', reticulate::py_available(), '\\n')"
  ))
  expect_match(output, "started: FALSE", all = FALSE)
})

test_that("a fit, its tidy table and a formula as text give the same model", {
  group <- spice_group(example_fit, ~ diagnosis + age, method = "metafor")
  of_table <- spice_group(
    tidy(example_fit), "~ diagnosis + age",
    data = example_fit$people, method = "metafor"
  )
  expect_equal(tidy(of_table), tidy(group))
  expect_error(
    spice_group(tidy(example_fit), ~age, method = "metafor"), "no covariates were given",
    class = "spicestat_error_formula"
  )
})

test_that("numbers as ids and levels in an order of one's own are kept", {
  data <- cohort()
  data$people$id <- as.integer(1e5 * seq_len(40))
  data$table$participant <- rep(as.numeric(data$people$id), 2)
  data$people$ill <- factor(data$people$ill, c("yes", "no"))
  group <- group_cohort(data, method = "metafor")
  expect_equal(unique(tidy(group)$term), c("(Intercept)", "illno", "age"))
  expect_equal(tidy(group, effects = "ran_vals")$level[1], "100000")
  expect_equal(rownames(ranef(group)$participant)[2], "200000")
})
