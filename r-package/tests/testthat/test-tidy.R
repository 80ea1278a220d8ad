test_that("a fit's table has broom's columns and one row per coefficient", {
  table <- tidy(example_fit)
  expect_s3_class(table, "tbl_df")
  expect_equal(names(table), c(
    "effect", "component", "group", "level", "term", "estimate", "std.error",
    "present", "inclusion.prob", "n.trials", "converged", "at.bound"
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

test_that("a group model's table has broom's columns", {
  table <- tidy(example_group, conf.int = TRUE)
  expect_equal(names(table), c(
    "effect", "component", "sparse.term", "group", "level", "term", "estimate", "std.error",
    "statistic", "df", "p.value", "p.adjusted", "conf.low", "conf.high"
  ))
  expect_true(all(table$effect == "fixed"))
  expect_false("conf.low" %in% names(tidy(example_group)))
  expect_true(all(tidy(example_group, effects = "ran_pars")$effect == "ran_pars"))
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
  table <- tidy(group, conf.int = TRUE, conf.level = 0.5)
  expect_true(all(is.na(table$conf.low)))
  expect_match(format(group), "withheld", all = FALSE)
})

test_that("glance gives one row per fit and per joint group model, with dots", {
  expect_equal(nrow(glance(example_fit)), 1)
  expect_equal(nrow(glance(example_group)), 1)
  expect_false(any(grepl("_", c(names(glance(example_fit)), names(glance(example_group))))))
})
