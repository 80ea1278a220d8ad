test_that("a fit's table has broom's columns and one row per coefficient", {
  table <- tidy(example_fit)
  expect_s3_class(table, "tbl_df")
  expect_equal(names(table), c(
    "effect", "component", "group", "level", "term", "estimate", "std.error",
    "present", "inclusion.prob", "n.trials", "converged", "at.bound",
    "pooled", "pooled.sd", "shared"
  ))
  expect_equal(nrow(table), nrow(example_fit$coefficients))
  expect_type(table$level, "character")
  expect_true(all(is.na(table$std.error[!table$present])))
})

test_that("intervals have the asked level", {
  table <- tidy(example_fit, conf.int = TRUE, conf.level = 0.9)
  half <- stats::qnorm(0.95) * table$std.error
  expect_equal(table$conf.high - table$estimate, half)
  expect_equal(names(table)[8:9], c("conf.low", "conf.high"))
  for (level in list(0, 1, 95, "0.9", c(0.9, 0.95), NA)) {
    expect_error(tidy(example_fit, conf.int = TRUE, conf.level = level), class = "spicestat_error_config")
  }
})

test_that("a fit has participants' coefficients and no other effects", {
  expect_equal(tidy(example_fit, effects = "ran_coefs"), tidy(example_fit))
  expect_error(tidy(example_fit, effects = "fixed"), "spice_group", class = "spicestat_error_config")
})

# columns that are ours
added <- c("component", "sparse.term", "p.adjusted")

test_that("a group model's columns and their order are those of broom.mixed", {
  skip_if_not_installed("broom.mixed")
  skip_if_not_installed("lmerTest")
  live <- lmerTest::lmer(Reaction ~ Days + (1 | Subject), lme4::sleepstudy)
  # lme4 has no standard errors of standard deviations
  group <- example_group
  group$coefficients$std_error[group$coefficients$effect == "ran_pars"] <- NA
  for (effects in list("fixed", "ran_pars", "ran_vals", "ran_coefs", c("ran_pars", "fixed"), c("fixed", "ran_vals"))) {
    for (conf_int in c(FALSE, TRUE)) {
      ours <- setdiff(names(tidy(group, effects = effects, conf.int = conf_int)), added)
      theirs <- suppressWarnings(suppressMessages(
        names(generics::tidy(live, effects = effects, conf.int = conf_int, conf.method = "Wald"))
      ))
      # of these only we have errors
      if (identical(effects, "ran_coefs")) ours <- setdiff(ours, "std.error")
      # Wald intervals of standard deviations are left out there
      if (identical(effects, "ran_pars")) ours <- intersect(ours, c(theirs, "unexpected"))
      expect_equal(ours, theirs, info = paste(effects, conf_int))
    }
  }
})

test_that("a group model's tables are tibbles with the effects that were asked for", {
  table <- tidy(example_group, conf.int = TRUE)
  expect_s3_class(table, "tbl_df")
  expect_equal(names(table), c(
    "effect", "component", "sparse.term", "term", "estimate", "std.error", "statistic", "df", "p.value", "p.adjusted",
    "conf.low", "conf.high"
  ))
  for (effects in c("fixed", "ran_pars", "ran_vals", "ran_coefs")) {
    expect_true(all(tidy(example_group, effects = effects)$effect == effects))
  }
  both <- tidy(example_group, effects = c("ran_pars", "fixed"))
  expect_equal(unique(both$effect), c("ran_pars", "fixed"))
  expect_error(tidy(example_group, effects = "random"))
  expect_error(tidy(example_group, conf.int = TRUE, conf.level = 95), class = "spicestat_error_config")
})

test_that("a participant's coefficient is what the covariates predict and the deviation", {
  coefficients <- tidy(example_group, effects = "ran_coefs")
  deviations <- tidy(example_group, effects = "ran_vals")
  expect_equal(coefficients$level, deviations$level)
  expect_equal(coefficients$estimate, augment(example_group)$.fitted + deviations$estimate, tolerance = 1e-8)
  group <- example_group
  group$ran_vals <- NULL
  expect_error(tidy(group, effects = "ran_vals"), "no deviations", class = "spicestat_error_config")
})

test_that("a group model's intervals at its own level are those of the engine", {
  own <- example_group$coefficients$conf_level[[1]]
  expect_equal(
    tidy(example_group, conf.int = TRUE, conf.level = own), tidy(example_group, conf.int = TRUE),
    tolerance = 1e-6
  )
  narrow <- tidy(example_group, conf.int = TRUE, conf.level = 0.5)
  wide <- tidy(example_group, conf.int = TRUE)
  expect_true(all(narrow$conf.high < wide$conf.high))
})

test_that("withheld intervals stay withheld at another level", {
  group <- example_group
  group$coefficients[c("conf_low", "conf_high", "p_value", "p_adjusted")] <- NA_real_
  group$glance$withheld <- TRUE
  table <- tidy(group, conf.int = TRUE, conf.level = 0.5)
  expect_true(all(is.na(table$conf.low)))
  expect_match(format(group), "withheld", all = FALSE)
})

test_that("glance gives one row per fit and per joint group model, with dots", {
  expect_equal(nrow(glance(example_fit)), 1)
  expect_equal(nrow(glance(example_group)), 1)
  expect_false(any(grepl("_", c(names(glance(example_fit)), names(glance(example_group))))))
})

test_that("columns of glance that a method does not fill come last", {
  row <- glance(example_group)
  empty <- vapply(row, function(column) all(is.na(column)), NA)
  expect_false(is.unsorted(empty))
  expect_equal(names(row)[1:4], c("nobs", "df.residual", "logLik", "AIC"))
  expect_setequal(names(row), names(with_broom_names(example_group$glance)))
})

test_that("participants' own coefficients have the intervals of the caterpillar plot", {
  table <- tidy(example_group, effects = "ran_coefs", conf.int = TRUE)
  shown <- group_caterpillar_table(example_group, stats::qnorm(0.975))
  expect_false(anyNA(table$std.error))
  expect_equal(table$conf.low, shown$low)
  expect_equal(table$conf.high, shown$high)
  wide <- tidy(example_group, effects = "ran_coefs", conf.int = TRUE, conf.level = 0.99)
  expect_true(all(wide$conf.high > table$conf.high))
})
