test_that("a fit's trials get the probability of their choice and a residual", {
  skip_if_no_engine()
  table <- augment(example_fit, example_trials)
  expect_equal(table[names(example_trials)], example_trials)
  expect_equal(setdiff(names(table), names(example_trials)), c(".fitted", ".resid", ".pred_0", ".pred_1"))
  expect_equal(table$.fitted, ifelse(table$choice == 1, table$.pred_1, table$.pred_0))
  expect_equal(table[c(".pred_0", ".pred_1")], predict(example_fit))
  # logLik() is of everybody's own estimates
  own <- predict(example_fit, by = "ml")
  chosen <- ifelse(example_trials$choice == 1, own$.pred_1, own$.pred_0)
  expect_equal(sum(log(chosen), na.rm = TRUE), as.numeric(logLik(example_fit)), tolerance = 1e-6)
  expect_equal(table$.resid^2, -2 * log(table$.fitted))
  expect_equal(augment(example_fit)$.fitted, table$.fitted)
})

test_that("other trials are passed as such", {
  skip_if_no_engine()
  few <- example_trials[1:50, ]
  expect_error(augment(example_fit, few), "newdata", class = "spicestat_error_data")
  table <- augment(example_fit, newdata = few)
  expect_equal(names(table), c(names(few), ".fitted", ".pred_0", ".pred_1"))
})
