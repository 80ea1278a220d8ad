test_that("coef has one row per participant and the estimates", {
  wide <- coef(example_fit)
  long <- tidy(example_fit)
  expect_equal(nrow(wide), length(unique(long$level)))
  who <- long$level == "p02"
  expect_equal(unlist(wide[2, -1], use.names = FALSE), long$estimate[who])
  expect_equal(names(wide)[-1], paste(long$component, long$term, sep = ":")[who])
})

test_that("the diagonal of vcov is the squared standard error", {
  table <- tidy(example_fit)
  table <- table[table$level == "p01", ]
  known <- !is.na(table$std.error)
  expect_equal(unname(diag(vcov(example_fit, "p01")))[known], table$std.error[known]^2, tolerance = 1e-6)
  expect_error(vcov(example_fit), class = "spicestat_error_config")
  expect_error(vcov(example_fit, "nobody"), class = "spicestat_error_config")
})

test_that("a group model's vcov has the squared standard errors", {
  expect_equal(sqrt(unname(diag(vcov(example_group)))), tidy(example_group)$std.error, tolerance = 1e-6)
})

test_that("summary counts who has a term", {
  table <- summary(example_fit)
  long <- tidy(example_fit)
  expect_equal(sum(table$n.present), sum(long$present))
})

test_that("logLik knows its degrees of freedom", {
  row <- glance(example_fit)
  expect_equal(AIC(logLik(example_fit)), row$AIC)
  expect_equal(BIC(logLik(example_fit)), row$BIC)
})

test_that("nobs, confint and tables agree with tidy", {
  expect_equal(nobs(example_fit), sum(tidy(example_fit)$n.trials[!duplicated(tidy(example_fit)$level)]))
  expect_equal(nobs(example_group), 24)
  expect_equal(unname(coef(example_group)), tidy(example_group)$estimate)
  expect_equal(unname(confint(example_group)[, 1]), tidy(example_group, conf.int = TRUE)$conf.low,
    tolerance = 1e-6
  )
  expect_equal(dim(confint(example_group, names(coef(example_group))[2])), c(1L, 2L))
  expect_equal(as_tibble(example_fit), tidy(example_fit))
  expect_equal(class(as.data.frame(example_group)), "data.frame")
})

test_that("printing shows what was fitted, in lines that fit a terminal", {
  lines <- format(example_fit)
  expect_match(lines[1], "24 participants")
  expect_match(lines, "per choice", all = FALSE)
  expect_lte(max(nchar(c(lines, format(example_group)))), 100)
  expect_output(expect_identical(print(example_group), example_group), "diagnosis")
})
